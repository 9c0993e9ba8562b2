package integration

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

var everyFault = flag.Int("every-fault", 0, "each fault at every n-th place, instead of one at some, in turns")

// exchange is what a client says, and the beginning of the line of the message that ends the answer.
type exchange struct {
	say   []pgproto3.FrontendMessage
	until string
}

func ask(sql string) exchange {
	return exchange{[]pgproto3.FrontendMessage{&query{String: sql}}, "ready"}
}

// breakable are the sessions that faults happen to. Each has the roles and the rows of table c that may be left of it, from
// none to all: what is made together is there together, or not at all.
var breakable = []struct {
	name   string
	talk   []exchange
	states []string
}{
	{"simple", []exchange{ask("SELECT 1"), ask("SELECT nosuch"), ask("SELECT 1; SELECT 'two'; SELECT 3")}, []string{" 0"}},
	{"extended", []exchange{
		{pipeline(statement("SELECT $1::text", "one"), syncPoint()), "ready"},
		{pipeline(statement("SELECT nosuch"), statement("SELECT 2"), syncPoint()), "ready"},
		{pipeline(statement("CREATE ROLE a"), syncPoint()), "ready"},
	}, []string{" 0", "a 0"}},
	{"pipeline", []exchange{{
		pipeline(statement("CREATE ROLE a"), statement("CREATE ROLE b IN ROLE a"), statement("SELECT 1"), syncPoint(),
			statement("CREATE ROLE lost"), statement(refused), statement("SELECT 2"), syncPoint(),
			[]pgproto3.FrontendMessage{&flush{}}), "ready",
	}, {pipeline(statement("GRANT SELECT ON c TO a, b"), syncPoint()), "ready"}, {nil, "ready"}}, []string{" 0", "a,b 0"}},
	{"copy in", []exchange{
		{[]pgproto3.FrontendMessage{&query{String: "COPY c FROM STDIN"}}, "CopyInResponse"},
		{[]pgproto3.FrontendMessage{&copyData{Data: []byte("one\ntw")}, &copyData{Data: []byte("o\n")}, &pgproto3.CopyDone{}}, "ready"},
		{[]pgproto3.FrontendMessage{&query{String: "COPY c FROM STDIN"}}, "CopyInResponse"},
		{[]pgproto3.FrontendMessage{&copyData{Data: []byte("lost\n")}, &pgproto3.CopyFail{Message: "no more"}}, "ready"},
	}, []string{" 0", " 2"}},
	{"copy out", []exchange{ask("COPY (SELECT repeat('x', i) FROM generate_series(1, 5) i) TO STDOUT"), ask("SELECT 1")}, []string{" 0"}},
	{"roles", []exchange{
		ask("CREATE ROLE a; CREATE ROLE b IN ROLE a; GRANT SELECT ON c TO b; GRANT pg_monitor TO a"),
		ask(refused), ask("SELECT rolname FROM pg_roles WHERE rolname IN ('a', 'b') ORDER BY 1"),
		ask("DROP OWNED BY a, b; DROP ROLE a, b"),
	}, []string{" 0", "a,b 0"}},
	{"transaction", []exchange{
		ask("BEGIN"), ask("CREATE ROLE a"), ask("SAVEPOINT s"), ask("CREATE ROLE a"), ask("ROLLBACK TO s"), ask("CREATE ROLE b"),
		ask("SET LOCAL ROLE b"), ask("SELECT current_user"), ask("RESET ROLE"), ask("INSERT INTO c VALUES ('x')"), ask("COMMIT"),
	}, []string{" 0", "a,b 1"}},
}

// breakages are what happens at a place of a session.
var breakages = []struct {
	name     string
	survived bool
	fault    fault
}{
	{"closed", false, fault{end: endings[0]}},
	{"reset", false, fault{end: endings[1]}},
	{"far half closed", false, fault{end: endings[2]}},
	{"near half closed", false, fault{end: endings[3]}},
	{"delayed", true, fault{delay: 2 * time.Millisecond}},
}

// lost matches what the proxy, or the server in the middle of a COPY, says of a connection that has broken.
var lost = regexp.MustCompile("^(FATAL 08|ERROR 08006: unexpected EOF on client connection)")

// place is where something can happen: so many bytes after the boundary of messages that comes after so many bytes, or
// exactly there.
type place struct {
	from        source
	after, past int
	exact       bool
}

// places lists the boundaries of the messages in a stream, and three places inside each: in the header, and in the body.
func places(from source, stream []byte) (all []place) {
	b := borders{untyped: from == theProxy}
	for at := b.next(stream, 0); at < len(stream); at = b.next(nil, at+1) {
		for _, past := range []int{0, 1, 3, 7} {
			all = append(all, place{from, at, past, false})
		}
	}
	return all
}

// perform plays a session up to its end or to the end of its connection. What was heard is in d.
func perform(d *dialogue, talk []exchange) error {
	d.t.Helper()
	open := exchange{[]pgproto3.FrontendMessage{startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders")}, "ready"}
	for _, x := range append([]exchange{open}, talk...) {
		_, failed := d.conn.Write(encode(d.t, x.say...))
		err := d.hearUntil(func(m pgproto3.BackendMessage) bool { return strings.HasPrefix(describe(m), x.until) })
		if errors.Is(err, os.ErrDeadlineExceeded) {
			d.t.Fatalf("no answer after %q", d.lines)
		}
		if err := errors.Join(failed, err); err != nil {
			return err
		}
	}
	return nil
}

// inspector looks at what is left of a session, and takes it away.
type inspector struct {
	t    *testing.T
	conn *pgx.Conn
}

func inspect(t *testing.T, c *pgtest.Cluster, database string) inspector {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), direct(c).dsn(database, "postgres")+" application_name=bystander")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return inspector{t, conn}
}

// left waits for the end of the other sessions, and returns which roles and how many rows there are.
func (i inspector) left() (state string) {
	i.t.Helper()
	var half string
	err := i.conn.QueryRow(i.t.Context(), `SELECT
		coalesce((SELECT string_agg(substr(rolname, 8), ',' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^orders_'), '') || ' ' ||
			(SELECT count(*) FROM c),
		coalesce((SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname ~ '^orders_' AND
			NOT EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid AND roleid = 'pgscope_db_orders'::regrole)), '')`).Scan(&state, &half)
	if err != nil {
		i.t.Fatal(err)
	}
	if half != "" {
		i.t.Errorf("roles without the marker: %s", half)
	}
	return state
}

func (i inspector) exec(sql string) {
	i.t.Helper()
	if _, err := i.conn.Exec(i.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		i.t.Fatal(err)
	}
}

// ended waits until no other session is left, but the bystander's.
func (i inspector) ended() {
	i.t.Helper()
	i.await(none(here))
}

func (i inspector) await(condition string) {
	i.t.Helper()
	i.exec(pgtest.Awaiting(condition))
}

// here is the condition of sessions in the inspector's database that are not a bystander's.
const here = `datname = current_database() AND application_name <> 'bystander'`

const tidy = `DO $$ DECLARE r name; BEGIN
	TRUNCATE c;
	FOR r IN SELECT rolname FROM pg_roles WHERE starts_with(rolname, current_database() || '_') LOOP
		EXECUTE format('DROP OWNED BY %I; DROP ROLE %1$I', r);
	END LOOP;
END $$`

// chosen are places of all over the list: all of them for the whole table, else so many as a test has time for.
func chosen(all []place) []place {
	const enough = 40
	number := min(enough, len(all))
	if *everyFault > 0 {
		number = len(all) / *everyFault
	}
	list := make([]place, number)
	for i := range list {
		list[i] = all[i*len(all)/number]
	}
	return list
}

// breakAll lets something happen at each place, and returns the table of the outcomes that check finds.
func breakAll(all []place, check func(name string, at place, survived bool, f fault) (outcome string)) string {
	outcomes := make(map[string]int)
	for n, at := range chosen(all) {
		for i, b := range breakages {
			if *everyFault > 0 || i == n%len(breakages) {
				b.fault.from, b.fault.after, b.fault.snap, b.fault.past = at.from, at.after, !at.exact, at.past
				outcomes[b.name+": "+check(b.name, at, b.survived, b.fault)]++
			}
		}
	}
	var table []string
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		table = append(table, fmt.Sprintf("%s %d", o, outcomes[o]))
	}
	return fmt.Sprintf("%d places, %d tried: %s", len(all), len(chosen(all)), strings.Join(table, ", "))
}

// TestBreak lets something happen to a connection of a session of each kind, on each leg, at each message boundary and
// inside of messages. The session is as without the fault, or it ends early: then its client has heard the beginning
// of what it would have heard, nothing twice, and, if it can still be told, why it ends. Nothing is left half made,
// and no session and no connection stays behind.
func TestBreak(t *testing.T) {
	database(t, scoped(), "orders")
	server, upstream := tamper(t, scoped())
	metrics, await := gauge(t)
	via := start(t, scoped(), permissive(t), quiet, upstream, metrics)
	client, around := tamperAt(t, via)
	undisturbed := bystander(t, via, "orders")
	setUp := via.open(t, "orders", "postgres", "application_name", "bystander")
	setUp.query("CREATE TABLE c (a text); CREATE ROLE enrols; DROP ROLE enrols")
	look := inspect(t, scoped(), "orders")
	for _, leg := range []struct {
		name string
		m    *tamperer
		via  endpoint
	}{{"server's leg", server, via}, {"client's leg", client, around}} {
		for _, s := range breakable {
			t.Run(leg.name+"/"+s.name, func(t *testing.T) {
				look.t = t
				run := func(f fault) (lines []string, state string, err error) {
					t.Helper()
					leg.m.set(f)
					d := leg.via.dial(t)
					err = perform(d, s.talk)
					if err != nil {
						d.toTheEnd()
					}
					d.conn.Close()
					look.ended()
					state = look.left()
					look.exec(tidy)
					return d.take(), state, err
				}
				lines, state, err := run(fault{})
				if err != nil || !slices.Contains(s.states, state) {
					t.Fatalf("without a fault: %v, left %q", err, state)
				}
				all := append(places(theServer, leg.m.sent(theServer)), places(theProxy, leg.m.sent(theProxy))...)
				check := func(name string, at place, survived bool, f fault) (outcome string) {
					t.Helper()
					got, left, err := run(f)
					complaint := func(what string) {
						t.Helper()
						t.Errorf("%s at %+v: %s: %v, left %q, heard (-whole +got):\n%s", name, at, what, err, left, cmp.Diff(lines, got))
					}
					switch {
					case !slices.Contains(s.states, left):
						complaint("something is half made")
					case err == nil && (left != state || !slices.Equal(got, lines)):
						complaint("the session is complete, but not the same")
					case err == nil:
						return "complete"
					case survived:
						complaint("this ends no session")
					}
					told := false
					for len(got) > 0 && lost.MatchString(got[len(got)-1]) { // by the server, then by the proxy
						told, got = true, got[:len(got)-1]
					}
					if len(got) > len(lines) || !slices.Equal(got, lines[:len(got)]) {
						complaint("an answer is lost or doubled")
					}
					switch {
					case told:
						return "told"
					case leg.m == server && at.past == 0:
						complaint("the client does not know why")
					}
					return "closed"
				}
				check("byte by byte", place{}, true, fault{step: 1})
				t.Log(breakAll(all, check))
			})
		}
	}
	server.set(fault{})
	await(2)
	undisturbed()
}
