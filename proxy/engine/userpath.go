package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// userPath keeps "$user" in the search_path of a session whose role has another name on the server: there it would be the
// schema that is called as the cluster calls the role. It is replaced before the client may begin; what brings the
// session's default back (RESET, DISCARD ALL) brings "$user" back, and it is replaced again before the client's next
// message. What a transaction does to the setting, and undoes, the server keeps apart by itself.
type userPath struct {
	standard string // the session's default, with "$user" in it; empty where there is nothing to keep
	replaced string // the same with the short name
	lost     bool   // the standard may have come back
	asked    bool   // the server was asked to replace it
	other    bool   // the client was told that the search_path is another one
}

// told returns what the client is told of the search_path, which the server reports from
// PostgreSQL 18 on; false for nothing.
func (p *userPath) told(path string) (string, bool) {
	if path != p.standard && !slices.Equal(scope.SplitPath(path), scope.SplitPath(p.replaced)) {
		p.other = true
		return path, true
	}
	news := p.other
	p.other = false
	return p.standard, news
}

// bringsDefaults are the tags of the statements after which settings may have the session's defaults.
var bringsDefaults = map[string]bool{"RESET": true, "DISCARD ALL": true}

// watches reports whether a CommandComplete of that length may have one of these tags.
func (p *userPath) watches(size int) bool {
	return p.standard != "" && (size == len("RESET\x00") || size == len("DISCARD ALL\x00"))
}

// completed takes note of a tag.
func (p *userPath) completed(tag string) { p.lost = p.lost || bringsDefaults[tag] }

// keepUserPath asks the server to replace "$user" again, where that can be done between two messages of the
// client, and reports whether the client must wait: for that, or until nothing else is awaited. It could be
// a COPY, which takes nothing but data.
func (e *Engine) keepUserPath(next byte, out *Out) bool {
	p := &e.userPath
	if !p.lost || e.pending.unsynced || e.pending.skipping || e.pending.copyIn || e.status == wire.TxFailed {
		return false
	}
	switch next {
	case wire.CopyData, wire.CopyDone, wire.CopyFail, wire.Terminate:
		return false
	}
	if e.pending.first().awaits != none {
		e.crowded = true
		return true
	}
	p.lost = false
	q := keepPath{userPath: *p, login: e.cfg.Login}
	sql, params := q.SQL()
	p.asked = e.ask(sql, params, out) == nil // else the name cannot be written now: it stays as it is
	return p.asked
}

// userPathKept takes the answer. Where the transaction has failed meanwhile, it is asked for again after it.
func (e *Engine) userPathKept() {
	e.userPath.asked = false
	e.userPath.lost = e.question.failure != nil && e.status == wire.TxFailed
}

// keepPath replaces the search_path if it is the session's default, and the role the one that has logged in.
type keepPath struct {
	userPath
	login scope.Cluster
}

func (q keepPath) SQL() (sql string, params []string) {
	return `SELECT pg_catalog.set_config('search_path', $1, false)` +
		` WHERE pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) $2::pg_catalog.text` +
		` AND current_user OPERATOR(pg_catalog.=) $3::pg_catalog.name`, []string{q.replaced, q.standard, string(q.login)}
}
