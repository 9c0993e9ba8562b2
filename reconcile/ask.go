package reconcile

import (
	"cmp"
	"context"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// row is a row of text columns, valid until the next one.
type row [][]byte

func (r row) text(i int) string { return string(r[i]) }

func (r row) flag(i int) bool { return len(r[i]) == 1 && r[i][0] == 't' }

func (r row) number(i int) (int, error) { return strconv.Atoi(string(r[i])) }

// flags are booleans as concat puts them together.
func flags(text string) (list [9]bool) {
	for i := range min(len(text), len(list)) {
		list[i] = text[i] == 't'
	}
	return list
}

// list reads an array of strings.
func (r row) list(i int) (list []string, err error) {
	for element, err := range elements(r[i]) {
		if err != nil {
			return nil, err
		}
		list = append(list, string(element))
	}
	return list, nil
}

// question is a query, and who takes the rows of its answer.
type question struct {
	sql    string
	params []string
	take   func(row) error
}

// prepared are the queries that a session has prepared, by text.
type prepared struct {
	known map[string]*pgconn.StatementDescription
	count int  // also those that failed
	stays bool // the next transaction has the same session
}

// preparedKey is where a connection has them.
const preparedKey = "reconcile.prepared"

// preparedBy returns what a connection has.
func preparedBy(conn *pgconn.PgConn) *prepared {
	have, ok := conn.CustomData()[preparedKey].(*prepared)
	if !ok {
		have = &prepared{known: make(map[string]*pgconn.StatementDescription)}
		conn.CustomData()[preparedKey] = have
	}
	return have
}

// name is what the next query is prepared as: without one where a pooler gives each transaction another session.
func (p *prepared) name() string {
	if !p.stays {
		return ""
	}
	p.count++
	return "q" + strconv.Itoa(p.count)
}

// ask sends questions at once. Each is prepared the first time, so that the next look sends no more than its name, and is
// not told again what columns the answer has.
func (o *observer) ask(ctx context.Context, questions ...question) error {
	have := preparedBy(o.conn)
	p := o.conn.StartPipeline(ctx)
	statements := make([]*pgconn.StatementDescription, len(questions))
	for i, q := range questions {
		if statements[i] = have.known[q.sql]; statements[i] == nil {
			statements[i] = &pgconn.StatementDescription{Name: have.name()}
			p.SendPrepare(statements[i].Name, q.sql, nil)
		}
		values := make([][]byte, len(q.params))
		for j, param := range q.params {
			values[j] = []byte(param)
		}
		p.SendQueryStatement(statements[i], values, nil, nil)
	}
	err := p.Sync()
	for answered := 0; err == nil && answered < len(questions); {
		var results any
		results, err = p.GetResults()
		switch r := results.(type) {
		case *pgconn.StatementDescription:
			if have.stays {
				have.known[questions[answered].sql] = &pgconn.StatementDescription{Name: statements[answered].Name, Fields: r.Fields}
			}
		case *pgconn.ResultReader:
			for err == nil && r.NextRow() {
				err = questions[answered].take(r.Values())
			}
			_, closed := r.Close()
			err = cmp.Or(err, closed)
			answered++
		case nil:
			err = cmp.Or(err, io.ErrUnexpectedEOF)
		}
	}
	return cmp.Or(err, p.Close())
}

// run runs statements that return nothing.
func run(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}
