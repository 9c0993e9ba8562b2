package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestProtocol holds each conversation directly and through the proxy. Everything that is heard must be the same.
func TestProtocol(t *testing.T) {
	const setup = `CREATE ROLE reader; CREATE ROLE writer LOGIN; CREATE TABLE t (a int, b text);
		INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 5) i;
		CREATE VIEW v AS SELECT * FROM t; CREATE TABLE later (a int REFERENCES unique_t DEFERRABLE INITIALLY DEFERRED)`
	via := both(t)
	for _, e := range []endpoint{direct(plain()), via} {
		d := e.open(t, "orders", "postgres")
		for _, line := range d.query("CREATE TABLE unique_t (a int PRIMARY KEY); " + setup) {
			if strings.HasPrefix(line, "ERROR") {
				t.Fatalf("setup: %s", line)
			}
		}
	}
	for _, user := range sessionUsers(t, via) {
		for _, c := range conversations {
			t.Run(user+"/"+c.name, func(t *testing.T) { compareAs(t, via, user, c.talk) })
		}
	}
}

type (
	parse    = pgproto3.Parse
	bind     = pgproto3.Bind
	portal   = pgproto3.Describe
	execute  = pgproto3.Execute
	flush    = pgproto3.Flush
	query    = pgproto3.Query
	copyData = pgproto3.CopyData
)

// conversations leave nothing behind that another would see.
var conversations = []struct {
	name string
	talk func(*dialogue)
}{
	{"simple", func(d *dialogue) {
		for _, sql := range []string{
			"SELECT a, b FROM t ORDER BY a", "", ";", "-- nothing", "SELECT 1; SELECT 2; ; SELECT 'three'", "SELECT nosuch FROM t",
			"INSERT INTO t VALUES (6, 'six')", "DELETE FROM t WHERE a = 6", "SELECT 1; SELECT 1/0; SELECT 2",
			"BEGIN", "SELECT 1/0", "SELECT 1", "ROLLBACK", "SET application_name TO 'x'", "SELECT NULL, ''",
		} {
			d.say(&query{String: sql})
			d.ready(1)
		}
	}},
	{"several simple at once", func(d *dialogue) {
		d.say(&query{String: "SELECT 1"}, &query{String: "GRANT reader TO writer"}, &query{String: "SELECT 1/0"},
			&query{String: "REVOKE reader FROM writer"}, &query{String: "SELECT 2"})
		d.ready(5)
	}},
	{"role statement first, in the middle, last", func(d *dialogue) {
		for _, sql := range []string{
			"CREATE ROLE one; SELECT 1; SELECT 2", "SELECT 1; GRANT one TO reader; SELECT 2", "SELECT 1; SELECT 2; DROP ROLE one",
			"CREATE ROLE one; SELECT 1/0", "SELECT 1/0; CREATE ROLE one", "CREATE ROLE one; DROP ROLE one; DROP ROLE one",
			"BEGIN; CREATE ROLE one; COMMIT; DROP ROLE one", "CREATE ROLE one; ROLLBACK; DROP ROLE one",
			"BEGIN; CREATE ROLE one; SELECT 1/0", "DROP ROLE one", "COMMIT", "DROP ROLE one",
		} {
			d.say(&query{String: sql})
			d.ready(1)
		}
	}},
	{"extended", func(d *dialogue) {
		d.say(pipeline(statement("SELECT b FROM t WHERE a = $1", "2"), syncPoint())...)
		d.say(pipeline(statement("GRANT reader TO writer"), syncPoint())...)
		d.say(pipeline(statement(""), syncPoint())...)
		d.say(pipeline(statement("REVOKE reader FROM writer"), syncPoint())...)
		d.say(pipeline(statement("GRANT reader TO nobody"), syncPoint())...)
		d.say(pipeline(statement("SELECT 1; SELECT 2"), syncPoint())...)
		d.say(pipeline(statement("GRANT reader TO writer; SELECT 2"), syncPoint())...)
		d.ready(7)
	}},
	{"named statement reused", func(d *dialogue) {
		d.say(
			&parse{Name: "g", Query: "GRANT reader TO writer"}, &pgproto3.Describe{ObjectType: 'S', Name: "g"}, &pgproto3.Sync{},
			&bind{PreparedStatement: "g"}, &execute{}, &bind{PreparedStatement: "g", DestinationPortal: "p"}, &execute{Portal: "p"},
			&pgproto3.Sync{},
			&parse{Name: "g", Query: "SELECT 1"}, &pgproto3.Sync{}, // exists
			&pgproto3.Close{ObjectType: 'S', Name: "g"}, &parse{Name: "g", Query: "REVOKE reader FROM writer"}, &pgproto3.Sync{},
			&bind{PreparedStatement: "g"}, &execute{}, &pgproto3.Sync{},
			&pgproto3.Close{ObjectType: 'S', Name: "g"}, &bind{PreparedStatement: "g"}, &execute{}, &pgproto3.Sync{},
		)
		d.ready(5)
	}},
	{"prepared while the role is missing", func(d *dialogue) {
		d.say(&parse{Name: "g", Query: "GRANT passing TO writer"}, &bind{PreparedStatement: "g"}, &execute{}, &pgproto3.Sync{})
		d.say(pipeline(statement("CREATE ROLE passing"), syncPoint())...)
		d.say(&bind{PreparedStatement: "g"}, &execute{}, &pgproto3.Sync{})
		d.say(pipeline(statement("DROP ROLE passing"), syncPoint())...)
		d.say(&bind{PreparedStatement: "g"}, &execute{}, &pgproto3.Sync{})
		d.ready(5)
	}},
	{"the unnamed statement and portal outlive a role statement", func(d *dialogue) {
		d.say(
			&parse{Query: "SELECT a FROM t ORDER BY a"}, &bind{}, &execute{MaxRows: 2},
			&parse{Name: "g", Query: "GRANT reader TO writer"}, &bind{PreparedStatement: "g", DestinationPortal: "g"}, &execute{Portal: "g"},
			&execute{MaxRows: 2}, &pgproto3.Sync{},
			&bind{}, &execute{}, &pgproto3.Sync{},
			&query{String: "REVOKE reader FROM writer"}, &bind{}, &pgproto3.Sync{},
		)
		d.ready(4)
	}},
	{"simple inside a pipeline", func(d *dialogue) {
		d.say(pipeline(statement("SELECT 1"), []pgproto3.FrontendMessage{
			&parse{Name: "s", Query: "SELECT 2"}, &query{String: "SELECT 3"},
			&bind{PreparedStatement: "s"}, &execute{}, &parse{Name: "g", Query: "GRANT reader TO writer"},
		}, syncPoint())...)
		d.say(pipeline(statement("SELECT 1/0"), []pgproto3.FrontendMessage{
			&query{String: "SELECT 3"}, &parse{Query: "GRANT reader TO writer"}, &query{String: "GRANT reader TO writer"},
		}, syncPoint(), []pgproto3.FrontendMessage{&query{String: "SELECT 4"}})...)
		d.ready(4)
	}},
	{"simple inside a pipeline, in a failed transaction", func(d *dialogue) {
		d.say(&query{String: "BEGIN"})
		d.say(append(statement("SELECT 1"), &query{String: "SELECT 1/0"}, &query{String: "GRANT reader TO writer"}, &query{String: "ROLLBACK"})...)
		d.ready(4)
	}},
	{"prepared before a role was made, or renamed", func(d *dialogue) {
		var run []pgproto3.FrontendMessage
		for name, sql := range []string{
			"SELECT relacl FROM pg_class WHERE relname = 't'", "SELECT oid::regrole FROM pg_roles WHERE rolname ~ '^late'", "SELECT current_user",
		} {
			d.say(&parse{Name: fmt.Sprint(name), Query: sql}, &pgproto3.Sync{})
			d.ready(1)
			run = append(run, &bind{PreparedStatement: fmt.Sprint(name)}, &execute{}, &pgproto3.Sync{})
		}
		for _, sql := range []string{
			"CREATE ROLE late", "GRANT SELECT ON t TO late", "SET ROLE late", "RESET ROLE", "BEGIN", "ALTER ROLE late RENAME TO later", "ROLLBACK",
			"ALTER ROLE late RENAME TO latest", "REVOKE SELECT ON t FROM latest", "DROP ROLE latest", "BEGIN; SELECT 1/0", "ROLLBACK",
		} {
			d.say(append([]pgproto3.FrontendMessage{&query{String: sql}}, run...)...)
			d.ready(4)
		}
		d.say(&query{String: "DEALLOCATE ALL"})
		d.ready(1)
	}},
	{"prepared and declared by SQL, executed by the protocol", func(d *dialogue) {
		const shown = "SELECT relacl, relowner::regrole, current_user FROM pg_class WHERE relname = 't'"
		for _, sql := range []string{"GRANT SELECT ON t TO reader", "PREPARE q AS " + shown, "BEGIN", "DECLARE c CURSOR FOR " + shown} {
			d.query(sql)
		}
		d.say(
			&pgproto3.Describe{ObjectType: 'S', Name: "q"}, &bind{PreparedStatement: "q", DestinationPortal: "p"}, &execute{Portal: "p"},
			&execute{Portal: "c", MaxRows: 1}, &execute{Portal: "c"}, &bind{PreparedStatement: "q"}, &execute{}, &pgproto3.Sync{},
			&execute{Portal: "nosuch"}, &bind{PreparedStatement: "q"}, &pgproto3.Sync{}, &bind{PreparedStatement: "q"}, &pgproto3.Sync{},
			&query{String: "ROLLBACK"}, &bind{PreparedStatement: "nosuch"}, &execute{}, &pgproto3.Sync{},
			&query{String: "REVOKE SELECT ON t FROM reader"}, &query{String: "DEALLOCATE ALL"},
		)
		d.ready(7)
	}},
	{"deallocated, and prepared by SQL", func(d *dialogue) {
		d.query("GRANT SELECT ON t TO reader")
		const shown = " relacl FROM pg_class WHERE relname = 't'"
		simple := func(list ...string) (messages []pgproto3.FrontendMessage) {
			for _, sql := range list {
				messages = append(messages, &query{String: sql})
			}
			return messages
		}
		named := func(name string) []pgproto3.FrontendMessage {
			return []pgproto3.FrontendMessage{&bind{PreparedStatement: name}, &execute{}}
		}
		all := func(messages []pgproto3.FrontendMessage) { // of which some may be skipped, also what ends them
			d.say(append(slices.Clip(messages), &pgproto3.Sync{}, &query{})...)
			until[*pgproto3.EmptyQueryResponse](d)
			d.ready(1)
		}
		ends := func(m pgproto3.FrontendMessage) bool {
			switch m.(type) {
			case *query, *pgproto3.Sync:
				return true
			default:
				return false
			}
		}
		for _, deallocate := range [][]pgproto3.FrontendMessage{
			simple("DEALLOCATE q"), simple(`DEALLOCATE PREPARE "q"`), simple("deallocate all"), simple("DISCARD ALL"), simple("DISCARD PLANS"),
			simple("DEALLOCATE nosuch"), simple(`DEALLOCATE "Q"`), simple("BEGIN", "DEALLOCATE q", "ROLLBACK"),
			simple("SELECT 1; /* ; */ DEALLOCATE q; SELECT 1/0"), simple("SELECT 1/0; DEALLOCATE q"), simple("BEGIN; SELECT 1/0; DEALLOCATE q", "ROLLBACK"),
			simple("BEGIN; SELECT 1/0", "DEALLOCATE q", "ROLLBACK"), simple("DEALLOCATE r; DEALLOCATE nosuch; DEALLOCATE q"),
			simple("DO 'BEGIN END'; DEALLOCATE r; DEALLOCATE q"), simple("DEALLOCATE q; DEALLOCATE r", "DEALLOCATE q"),
			pipeline(statement("DEALLOCATE q"), syncPoint()), pipeline(statement("SELECT 1/0"), statement("DEALLOCATE q"), syncPoint()),
			pipeline(statement("DEALLOCATE q"), statement("SELECT 1/0"), syncPoint()), pipeline(statement("DEALLOCATE ALL"), syncPoint()),
			pipeline(named("deallocates"), syncPoint()), pipeline(named("deallocates"), named("deallocates"), syncPoint()),
			{&parse{Query: "DEALLOCATE q"}, &pgproto3.Sync{}},
			pipeline(statement("DEALLOCATE q"), simple("SELECT 1/0"), syncPoint()),
			pipeline(statement("SELECT 1/0"), simple("DEALLOCATE q")),
		} {
			for _, again := range [][]pgproto3.FrontendMessage{
				simple("PREPARE q AS SELECT 1," + shown), pipeline(statement("PREPARE q AS SELECT 1,"+shown), syncPoint()),
				{&parse{Name: "q", Query: "SELECT 1, 2," + shown}, &pgproto3.Sync{}},
				nil,
			} {
				talk := pipeline(
					[]pgproto3.FrontendMessage{
						&parse{Name: "deallocates", Query: "DEALLOCATE q"}, &parse{Name: "q", Query: "SELECT" + shown},
						&parse{Name: "r", Query: "SELECT" + shown}, &pgproto3.Sync{},
					},
					deallocate, again, named("q"), syncPoint(), named("r"), syncPoint(), simple("DEALLOCATE ALL"),
				)
				all(talk)
				for len(talk) > 0 {
					n := 1 + slices.IndexFunc(talk, ends)
					all(talk[:n])
					talk = talk[n:]
				}
			}
		}
		all(simple("REVOKE SELECT ON t FROM reader"))
	}},
	{"transactions that are committed later", func(d *dialogue) {
		const shown = "SELECT relacl, relowner::regrole FROM pg_class WHERE relname = 't'"
		for _, sql := range []string{
			"BEGIN; CREATE ROLE late; GRANT SELECT ON t TO late", "PREPARE TRANSACTION 'made'", shown, "COMMIT PREPARED 'made'", shown,
			"BEGIN; ALTER ROLE late RENAME TO later", "PREPARE TRANSACTION 'renamed'", shown, "COMMIT PREPARED 'renamed'", shown,
			"BEGIN; REVOKE SELECT ON t FROM later; DROP ROLE later", "PREPARE TRANSACTION 'dropped'", shown, "ROLLBACK PREPARED 'dropped'", shown,
			"REVOKE SELECT ON t FROM later", "DROP ROLE later",
		} {
			d.say(&query{String: sql})
			d.ready(1)
		}
	}},
	{"portals by rows", func(d *dialogue) {
		d.say(
			&query{String: "BEGIN"},
			&parse{Name: "s", Query: "SELECT a, b FROM t ORDER BY a"},
			&bind{PreparedStatement: "s", DestinationPortal: "p", ResultFormatCodes: []int16{1, 0}},
			&portal{ObjectType: 'P', Name: "p"}, &execute{Portal: "p", MaxRows: 2}, &flush{},
		)
		until[*pgproto3.PortalSuspended](d)
		d.say(&query{String: "GRANT reader TO writer"})
		d.say(&execute{Portal: "p", MaxRows: 2}, &flush{})
		until[*pgproto3.PortalSuspended](d)
		d.say(
			&execute{Portal: "p"}, &execute{Portal: "p"}, &pgproto3.Close{ObjectType: 'P', Name: "p"}, &execute{Portal: "p"},
			&pgproto3.Sync{}, &query{String: "ROLLBACK"},
		)
		d.ready(2)
	}},
	{"flush", func(d *dialogue) {
		for _, sql := range []string{"SELECT 1", "GRANT reader TO writer", "REVOKE reader FROM writer"} {
			d.say(append(statement(sql), &flush{})...)
			until[*pgproto3.CommandComplete](d)
		}
		d.say(append(statement("GRANT nobody TO writer"), &flush{})...)
		until[*pgproto3.ErrorResponse](d)
		d.say(append(statement("GRANT reader TO writer"), &flush{}, &pgproto3.Sync{})...)
		d.ready(1)
	}},
	{"binary", func(d *dialogue) {
		d.say(
			&parse{Query: "SELECT $1 + 1, $2, $3, $4", ParameterOIDs: []uint32{23, 17, 25, 23}}, &pgproto3.Describe{ObjectType: 'S'},
			&bind{
				ParameterFormatCodes: []int16{1, 1, 0, 1},
				Parameters:           [][]byte{int4(41), {0, 1, 2, 0xff}, []byte("GRANT reader TO é"), nil},
				ResultFormatCodes:    []int16{1},
			},
			&portal{ObjectType: 'P'}, &execute{}, &pgproto3.Sync{},
		)
		d.ready(1)
	}},
	{"function calls", func(d *dialogue) {
		const int4pl, int4div = 177, 154
		for _, f := range []pgproto3.FunctionCall{
			{Function: int4pl, ArgFormatCodes: []uint16{1}, Arguments: [][]byte{int4(2), int4(3)}, ResultFormatCode: 1},
			{Function: int4div, ArgFormatCodes: []uint16{1}, Arguments: [][]byte{int4(2), int4(0)}, ResultFormatCode: 1},
			{Function: int4pl, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte("7"), nil}, ResultFormatCode: 0},
		} {
			d.say(&f)
		}
		d.say(&query{String: "GRANT reader TO writer"}, &query{String: "REVOKE reader FROM writer"})
		d.ready(5)
	}},
	{"copy in", func(d *dialogue) {
		d.say(&query{String: "BEGIN; COPY t FROM STDIN; GRANT reader TO writer; SELECT count(*) FROM t"})
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("7\tseven\n8\tei")}, &copyData{Data: []byte("ght\n")}, &flush{}, &pgproto3.Sync{}, &pgproto3.CopyDone{})
		d.ready(1)
		d.say(&query{String: "ROLLBACK"})
		d.ready(1)
	}},
	{"copy in fails at the server", func(d *dialogue) {
		d.say(&query{String: "COPY t FROM STDIN; GRANT reader TO writer"})
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("x\tbad\n")}, &copyData{Data: []byte("9\tgood\n")}, &pgproto3.CopyDone{})
		d.ready(1)
		d.say(&copyData{Data: []byte("late")}, &pgproto3.CopyDone{}, &query{String: "SELECT count(*) FROM t"})
		d.ready(1)
	}},
	{"copy in fails at the client", func(d *dialogue) {
		d.say(&query{String: "COPY t FROM STDIN"})
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("9\tnine\n")}, &pgproto3.CopyFail{Message: "no more"}, &query{String: "SELECT count(*) FROM t"})
		d.ready(2)
	}},
	{"copy in, extended, as libpq does", func(d *dialogue) {
		d.say(&query{String: "BEGIN"})
		// libpq sends Sync before it knows that this is a COPY, and once more after CopyDone.
		d.say(append(statement("COPY t FROM STDIN"), &pgproto3.Sync{})...)
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("7\tseven\n")}, &pgproto3.CopyDone{}, &pgproto3.Sync{})
		d.ready(1)
		d.say(pipeline(statement("GRANT reader TO writer"), syncPoint())...)
		d.say(&query{String: "ROLLBACK"})
		d.ready(2)
	}},
	{"copy in, extended, fails", func(d *dialogue) {
		d.say(append(statement("COPY t FROM STDIN"), &pgproto3.Sync{})...)
		until[*pgproto3.CopyInResponse](d)
		d.say(&copyData{Data: []byte("x\tbad\n")}, &pgproto3.CopyDone{}, &pgproto3.Sync{})
		d.ready(1)
		d.say(pipeline(statement("GRANT reader TO nobody"), syncPoint())...)
		d.say(append(statement("COPY t FROM STDIN"), &pgproto3.Sync{})...)
		until[*pgproto3.CopyInResponse](d)
		d.say(&pgproto3.CopyFail{Message: "no more"}, &pgproto3.Sync{})
		d.ready(1)
	}},
	{"copy in fails before it reads, and Sync was sent at once", func(d *dialogue) {
		copyToView := append(statement("COPY v FROM STDIN"), &pgproto3.Sync{})
		d.say(&parse{Name: "g", Query: "GRANT reader TO writer"}, &parse{Name: "r", Query: "REVOKE reader FROM nobody"}, &pgproto3.Sync{})
		d.ready(1)
		d.say(copyToView...)
		d.ready(1)
		d.say(&query{String: "SELECT 1"})
		d.ready(1)
		d.say(pipeline(copyToView, []pgproto3.FrontendMessage{&bind{PreparedStatement: "g"}, &execute{}}, syncPoint())...)
		d.ready(2)
		d.say(pipeline(copyToView, []pgproto3.FrontendMessage{&pgproto3.CopyDone{}}, syncPoint(),
			[]pgproto3.FrontendMessage{&bind{PreparedStatement: "r"}, &execute{}}, syncPoint(), []pgproto3.FrontendMessage{&query{String: "GRANT reader TO nobody"}})...)
		d.ready(4)
		d.say(&query{String: "REVOKE reader FROM writer"})
		d.ready(1)
	}},
	{"copy out", func(d *dialogue) {
		d.say(&query{String: "COPY t TO STDOUT; COPY (SELECT 1/(a-3) FROM t) TO STDOUT"})
		d.say(append(statement("COPY t TO STDOUT (FORMAT binary)"), &pgproto3.Sync{})...)
		d.say(pipeline(statement("GRANT reader TO nobody"), syncPoint())...)
		d.ready(3)
	}},
	{"notices", func(d *dialogue) {
		d.say(&query{String: `DO $$ BEGIN RAISE WARNING 'orders_reader'; RAISE NOTICE 'reader'; END $$`},
			&query{String: "DROP ROLE IF EXISTS nobody, none_either"}, &query{String: "GRANT reader TO writer"},
			&query{String: "GRANT reader TO writer"}, &query{String: "REVOKE reader FROM writer; COMMIT"})
		d.ready(5)
	}},
	{"errors and their positions", func(d *dialogue) {
		for _, sql := range []string{
			"CREATE POLICY p ON t TO reader, writer USING (nosuch = 1)", "/* é */ GRANT SELECT (nosuch) ON t TO reader",
			"GRANT nonsense ON t TO reader", "ALTER TABLE nosuch OWNER TO reader", "DROP ROLE reader, nobody",
			"CREATE ROLE reader", "GRANT reader TO reader", "SET ROLE nobody", "ALTER ROLE reader RENAME TO writer",
		} {
			d.say(&query{String: sql})
			d.say(pipeline(statement(sql), syncPoint())...)
			d.ready(2)
		}
	}},
	{"an error of Sync", func(d *dialogue) {
		d.say(pipeline(statement("INSERT INTO later VALUES (1)"), statement("GRANT reader TO writer"), syncPoint(),
			statement("SELECT 1"), syncPoint())...)
		d.ready(2)
	}},
	{"set role", func(d *dialogue) {
		d.say(&query{String: "SET ROLE reader"}, &query{String: "SELECT * FROM t"}, &query{String: "CREATE ROLE mine"},
			&query{String: "RESET ROLE"}, &query{String: "SET SESSION AUTHORIZATION writer"}, &query{String: "SET ROLE reader"},
			&query{String: "RESET SESSION AUTHORIZATION"})
		d.ready(7)
	}},
	{"search path", func(d *dialogue) { // which the server reports from 18 on
		for _, sql := range []string{
			"RESET search_path", "SET search_path = pg_temp", "RESET search_path", "BEGIN", "RESET ALL", "SET LOCAL search_path = pg_temp", "COMMIT",
			"SET search_path = pg_temp", "DISCARD ALL", "SET search_path = public, app", "RESET search_path", "BEGIN", "RESET search_path", "ROLLBACK",
			"SHOW server_version",
		} {
			d.say(&query{String: sql})
			d.ready(1)
		}
	}},
	{"authorization of a role that the same string makes", func(d *dialogue) {
		d.say(&query{String: "CREATE ROLE fresh; SET SESSION AUTHORIZATION fresh"}, &query{String: "RESET SESSION AUTHORIZATION"},
			&query{String: "DROP ROLE fresh"})
		d.ready(3)
	}},
	{"20,000 statements in a pipeline", func(d *dialogue) {
		const n = 20_000 // more messages than the proxy lets a client run ahead
		b := encode(d.t, pipeline(statement("GRANT reader TO writer"), statement("SELECT 1"))...)
		one := encode(d.t, statement("SELECT 1")...)
		b = append(b, bytes.Repeat(one, n)...)
		b = append(b, encode(d.t, pipeline(statement("REVOKE reader FROM writer"), syncPoint())...)...)
		sent := make(chan error, 1)
		go func() {
			_, err := d.conn.Write(b)
			sent <- err
		}()
		d.ready(1)
		if err := <-sent; err != nil {
			d.t.Fatal(err)
		}
		d.lines = append(d.lines[:20], fmt.Sprint(len(d.lines)))
	}},
	{"end", func(d *dialogue) {
		d.say(&query{String: "SELECT 1"}, &pgproto3.Terminate{})
		d.toTheEnd()
	}},
}

// TestPgconn has a driver use what it knows of the protocol.
func TestPgconn(t *testing.T) {
	c := both(t).connect(t, "orders", "postgres").PgConn()
	ctx := t.Context()
	check := func(what, want string, tag pgconn.CommandTag, err error) {
		t.Helper()
		if err != nil || tag.String() != want {
			t.Errorf("%s: %q, %v; want %q", what, tag, err, want)
		}
	}
	results, err := c.Exec(ctx, "CREATE ROLE reader; CREATE TABLE t (a int, b text)").ReadAll()
	if err != nil || len(results) != 2 {
		t.Fatalf("two statements in a string: %d results, error %v", len(results), err)
	}
	r := c.ExecParams(ctx, "GRANT SELECT ON t TO reader", nil, nil, nil, nil).Read()
	check("ExecParams", "GRANT", r.CommandTag, r.Err)
	d, err := c.Prepare(ctx, "p", "INSERT INTO t VALUES ($1, $2)", nil)
	if err != nil || len(d.ParamOIDs) != 2 {
		t.Fatalf("Prepare: description %+v, error %v; want 2 parameters", d, err)
	}
	r = c.ExecPrepared(ctx, "p", [][]byte{int4(1), []byte("one")}, []int16{1, 0}, nil).Read()
	check("ExecPrepared", "INSERT 0 1", r.CommandTag, r.Err)
	if _, err := c.Prepare(ctx, "g", "REVOKE SELECT ON t FROM reader", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r = c.ExecPrepared(ctx, "g", nil, nil, nil).Read()
		check("ExecPrepared", "REVOKE", r.CommandTag, r.Err)
	}
	tag, err := c.CopyFrom(ctx, strings.NewReader(strings.Repeat("2\ttwo\n", 10_000)), "COPY t FROM STDIN")
	check("CopyFrom", "COPY 10000", tag, err)
	var out bytes.Buffer
	tag, err = c.CopyTo(ctx, &out, "COPY t TO STDOUT")
	check("CopyTo", "COPY 10001", tag, err)
	if want := "1\tone\n" + strings.Repeat("2\ttwo\n", 10_000); out.String() != want {
		t.Errorf("CopyTo: %d bytes, want %d", out.Len(), len(want))
	}
	var failure *pgconn.PgError
	if _, err = c.CopyFrom(ctx, strings.NewReader("x\n"), "COPY t FROM STDIN"); !errors.As(err, &failure) || failure.Code != "22P02" {
		t.Errorf("CopyFrom: %v, want 22P02", err)
	}
	if _, err = c.CopyFrom(ctx, iotest.ErrReader(io.ErrUnexpectedEOF), "COPY t FROM STDIN"); !errors.As(err, &failure) || failure.Code != "57014" {
		t.Errorf("CopyFrom: %v, want 57014", err)
	}
	r = c.ExecParams(ctx, "DROP ROLE reader", nil, nil, nil, nil).Read()
	check("after all that", "DROP ROLE", r.CommandTag, r.Err)
}

// TestNegotiation compares what the server and the proxy say of protocol versions and options.
func TestNegotiation(t *testing.T) {
	via := both(t)
	for _, c := range []struct {
		name    string
		version uint32
		params  []string
	}{
		{"3.0", pgproto3.ProtocolVersion30, nil},
		{"3.0 with an option", pgproto3.ProtocolVersion30, []string{"_pq_.nosuch", "1"}},
		{"3.2", pgproto3.ProtocolVersion32, nil},
		{"3.2 with an option", pgproto3.ProtocolVersion32, []string{"_pq_.nosuch", "1"}},
		{"3.9999", 3<<16 | 9999, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			hear := func(e endpoint) []string {
				d := e.dial(t)
				d.say(startup(c.version, append([]string{"user", "postgres", "database", "orders"}, c.params...)...))
				if d.hear(1) == nil {
					d.say(&query{String: "CREATE ROLE reader; DROP ROLE reader"})
					d.ready(1)
				}
				return d.take()
			}
			if diff := cmp.Diff(hear(direct(plain())), hear(via)); diff != "" {
				t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
			}
		})
	}
}

// TestUnknownProtocol asks for a version that the server does not have either.
func TestUnknownProtocol(t *testing.T) {
	d := both(t).dial(t)
	d.say(startup(4<<16, "user", "postgres", "database", "orders"))
	d.toTheEnd()
	d.wants("FATAL 0A000: unsupported frontend protocol 4.0: server supports 3.0 to 3.2")
}

// TestEncryptionRequests are answered with no where there is no encryption; the session goes on without.
func TestEncryptionRequests(t *testing.T) {
	via := both(t)
	d := via.dial(t)
	for _, request := range []pgproto3.FrontendMessage{&pgproto3.GSSEncRequest{}, &pgproto3.SSLRequest{}} {
		d.say(request)
		answer := make([]byte, 1)
		if _, err := io.ReadFull(d.conn, answer); err != nil || answer[0] != 'N' {
			t.Fatalf("%T: %q, %v", request, answer, err)
		}
	}
	d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
	d.ready(1)

	d = via.dial(t)
	d.say(&pgproto3.SSLRequest{})
	if _, err := io.ReadFull(d.conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d.say(&pgproto3.SSLRequest{})
	d.toTheEnd()
	d.wants("FATAL 0A000: unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2")
}

// TestNotify sends a notification to a session that is idle.
func TestNotify(t *testing.T) {
	via := both(t)
	listener, speaker := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	listener.query("CREATE ROLE reader; LISTEN news")
	speaker.query("NOTIFY news, 'orders_reader'")
	until[*pgproto3.NotificationResponse](listener)
	listener.wants(`notification news "orders_reader"`)
	// One that arrives while the proxy asks the server about a name.
	speaker.query("NOTIFY news, 'two'")
	listener.say(&query{String: "DROP ROLE reader"})
	until[*pgproto3.NotificationResponse](listener)
	if !strings.Contains(strings.Join(listener.take(), "\n"), `notification news "two"`) {
		t.Error("the second notification is lost")
	}
}

// TestCancel cancels a query in the two ways of clients.
func TestCancel(t *testing.T) {
	via := both(t)
	t.Run("by the driver", func(t *testing.T) {
		config, err := pgconn.ParseConfig(via.dsn("orders", "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: *patience}
		}
		c, err := pgconn.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.Exec(ctx, "SELECT pg_sleep(600)").ReadAll()
			done <- err
		}()
		awaitSome(t, scoped(), asleep)
		cancel()
		var failure *pgconn.PgError
		if err := <-done; !errors.As(err, &failure) || failure.Code != "57014" {
			t.Errorf("%v, want 57014", err)
		}
		r := c.ExecParams(t.Context(), "SELECT 1", nil, nil, nil, nil).Read()
		if r.Err != nil {
			t.Errorf("after the cancel: %v", r.Err)
		}
	})
	t.Run("by a packet", func(t *testing.T) {
		d := via.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
		d.ready(1)
		d.take()
		d.say(&query{String: "CREATE ROLE reader; SELECT pg_sleep(600)"})
		awaitSome(t, scoped(), asleep)
		c := via.dial(t)
		c.say(&pgproto3.CancelRequest{ProcessID: d.key.ProcessID, SecretKey: d.key.SecretKey})
		c.toTheEnd()
		d.ready(1)
		if last := d.lines[len(d.lines)-2]; !strings.HasPrefix(last, "ERROR 57014") {
			t.Errorf("%q, want 57014", d.lines)
		}
		if got := d.query("SELECT 1"); got[len(got)-1] != "ready I" {
			t.Errorf("after the cancel: %q", got)
		}
	})
	t.Run("with a wrong key", func(t *testing.T) {
		d := via.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
		d.ready(1)
		c := via.dial(t)
		c.say(&pgproto3.CancelRequest{ProcessID: d.key.ProcessID, SecretKey: []byte("nope")})
		c.toTheEnd()
		if got := d.query("SELECT 1"); got[1] != `row "1"` {
			t.Errorf("after a cancel request with a wrong key: %q", got)
		}
	})
}

// TestReplication speaks the replication protocol.
func TestReplication(t *testing.T) {
	via := both(t)
	t.Run("physical", func(t *testing.T) {
		for _, e := range []endpoint{direct(plain()), via} {
			d := e.open(t, "", "postgres", "replication", "true")
			got := d.query("IDENTIFY_SYSTEM")
			if len(got) != 4 || !strings.HasPrefix(got[1], "row ") || got[2] != "done IDENTIFY_SYSTEM" {
				t.Errorf("IDENTIFY_SYSTEM: %q", got)
			}
		}
	})
	t.Run("logical", func(t *testing.T) {
		d := via.open(t, "orders", "postgres", "replication", "database")
		d.query("CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
		d.query(`CREATE_REPLICATION_SLOT pgscope_test TEMPORARY LOGICAL pgoutput`)
		d.say(&query{String: `START_REPLICATION SLOT pgscope_test LOGICAL 0/0 (proto_version '1', publication_names 'p')`})
		until[*pgproto3.CopyBothResponse](d)
		via.open(t, "orders", "postgres").query("INSERT INTO t VALUES (42)")
		insert := func(m pgproto3.BackendMessage) bool {
			c, ok := m.(*pgproto3.CopyData)
			return ok && c.Data[0] == 'w' && c.Data[25] == 'I' && bytes.HasSuffix(c.Data, []byte("42"))
		}
		if err := d.hearUntil(insert); err != nil {
			t.Fatal(err)
		}
		// Standby status update that wants a reply.
		status := append(binary.BigEndian.AppendUint64([]byte{'r'}, 1), make([]byte, 24)...)
		d.say(&copyData{Data: append(status, 1)})
		if err := d.hearUntil(func(m pgproto3.BackendMessage) bool {
			c, ok := m.(*pgproto3.CopyData)
			return ok && c.Data[0] == 'k'
		}); err != nil {
			t.Fatal(err)
		}
		d.say(&pgproto3.CopyDone{})
		d.ready(1)
		d.take()
		d.say(&query{String: "CREATE ROLE reader"})
		d.ready(1)
		d.wants("done CREATE ROLE", "ready I")
		if got := memberships(t, scoped(), "orders_"); !slices.Contains(got, "reader") {
			t.Errorf("roles of the database: %q", got)
		}
		d.conn.Close() // a database with an active slot cannot be dropped
		awaitNone(t, scoped(), "datname = 'orders' AND backend_type = 'walsender'")
	})
}

// TestSocket uses Unix sockets on both legs.
func TestSocket(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t), onSockets(t))
	const script = "CREATE ROLE reader;\nDROP ROLE reader;\n"
	if got, want := via.psql(t, "orders", "postgres", script),
		"CREATE ROLE reader;\nCREATE ROLE\nDROP ROLE reader;\nDROP ROLE\n"; got != want {
		t.Errorf("psql prints %q, want %q", got, want)
	}
}

// TestLargeMessages passes messages that are larger than anything the proxy may keep.
func TestLargeMessages(t *testing.T) {
	via := both(t)
	d := via.open(t, "orders", "postgres")
	d.query("CREATE ROLE reader")
	const size = 64 << 20
	before := allocated()

	// Up: a parameter. The client side of this test sends it in pieces, too.
	d.say(&parse{Query: "SELECT length($1)", ParameterOIDs: []uint32{17}})
	head := encode(t, &bind{ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{}}})
	lengthAt := len(head) - 2 - 4
	binary.BigEndian.PutUint32(head[1:], uint32(len(head)-1+size))
	binary.BigEndian.PutUint32(head[lengthAt:], size)
	d.write(head[:lengthAt+4])
	piece := make([]byte, 64<<10)
	for range size / len(piece) {
		d.write(piece)
	}
	d.write(head[lengthAt+4:])
	d.say(&execute{}, &pgproto3.Sync{})
	d.ready(1)
	d.wants("ParseComplete", "BindComplete", fmt.Sprintf(`row "%d"`, size), "done SELECT 1", "ready I")

	// Down: a row.
	d.say(&query{String: fmt.Sprintf("SELECT repeat('x', %d)", size)})
	for typ := byte(0); typ != 'Z'; {
		head := make([]byte, 5)
		if _, err := io.ReadFull(d.conn, head); err != nil {
			t.Fatal(err)
		}
		typ = head[0]
		body := int64(binary.BigEndian.Uint32(head[1:]) - 4)
		if typ == 'D' && body != 2+4+size {
			t.Errorf("a row of %d bytes", body)
		}
		if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(d.conn, body), piece); err != nil {
			t.Fatal(err)
		}
	}
	if grown := allocated() - before; grown > size/8 {
		t.Errorf("%d bytes were allocated for two messages of %d", grown, size)
	}

	// A statement that is read whole is bounded.
	d.take()
	d.say(&query{String: "GRANT reader TO postgres --" + strings.Repeat("x", size)})
	d.ready(1)
	if len(d.lines) != 2 || !strings.HasPrefix(d.lines[0], "ERROR 54000: statement is too long") || d.lines[1] != "ready I" {
		t.Errorf("a statement that is too long: %q", d.lines)
	}
}

// onlyWriter hides all but Write: io.Discard would take buffers of its own.
type onlyWriter struct{ io.Writer }

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
