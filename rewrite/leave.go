package rewrite

import (
	"slices"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
)

// leaves are the statements that a failed transaction takes, too: they end it, or go back to a savepoint.
var leaves = map[pg.TransactionStmtKind]bool{
	pg.TransactionStmtKind_TRANS_STMT_COMMIT: true, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK: true,
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO: true, pg.TransactionStmtKind_TRANS_STMT_PREPARE: true,
}

// Leave cuts a text in two behind its first statement that leaves a transaction: before the statements with roles, about
// which a failed transaction cannot be asked, and which go by what another goes back to. In rest, blanks stand in the
// place of first, so that positions in it are those of the text. false where the text is not of that kind.
func (a *Analysis) Leave() (first, rest string, ok bool) {
	sql := a.source.client
	if a.leave == 0 || sql != a.source.text || a.source.charset != charset.UTF8 && !charset.ASCII(sql[:a.leave]) {
		return "", "", false
	}
	first = sql[:a.leave]
	return first, strings.Repeat(" ", utf8.RuneCountInString(first)) + sql[a.leave:], true
}

// leavesAt returns the byte behind the first such statement, and its semicolon; 0 where there is none, or where some of
// the text does not parse: then the server may take none of it.
func leavesAt(pieces []piece) int {
	if slices.ContainsFunc(pieces, func(p piece) bool { return p.tree == nil }) {
		return 0
	}
	for _, p := range pieces {
		for _, raw := range p.tree.GetStmts() {
			end := p.base + int(raw.StmtLocation+raw.StmtLen)
			if leaves[raw.Stmt.GetTransactionStmt().GetKind()] && raw.StmtLen > 0 && end < len(p.tokens.sql) && p.tokens.sql[end] == ';' {
				return end + 1
			}
		}
	}
	return 0
}
