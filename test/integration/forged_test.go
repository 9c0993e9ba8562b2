package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
)

// forgeries are messages that a server does not send, or not there: each type that there is, and some that are not, with
// bodies that are short, long, and not what they should be, and with lengths that are not true.
func forgeries() (all [][]byte) {
	bodies := []string{
		"", "\x00", "\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff", "I", strings.Repeat("\x00\x01", 40),
		"SFATAL\x00C57P01\x00Mforged\x00\x00", "SERROR\x00C42704\x00Mforged", "\x00\x01forged\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00",
		"\x7f\xff", "\x00\x05\x7f\xff\xff\xff", "orders_a\x00orders_a\x00",
	}
	for typ := range 256 {
		known := strings.IndexByte("RKZTDCEINSAGHWdcs123ntvV", byte(typ)) >= 0
		switch {
		case known:
			for _, b := range bodies {
				all = append(all, message(byte(typ), uint32(4+len(b)), b))
			}
			for _, lie := range []uint32{0, 3, 1 << 30, 1<<31 - 1, 1<<32 - 1} {
				all = append(all, message(byte(typ), lie, bodies[6]))
			}
		case typ%16 == 1:
			all = append(all, message(byte(typ), 4, ""))
		}
	}
	return all
}

// impatience is how long a client waits for a server that lies, of which it cannot know whether it has said all.
const impatience = 300 * time.Millisecond

// TestForged puts messages into what a server says, at the boundaries of its messages. Whatever the session comes to, the
// proxy does not fail, keeps nothing of it, and serves others.
func TestForged(t *testing.T) {
	forged := forgeries()
	for i, s := range breakable {
		name := fmt.Sprintf("orders%d", i) // a database for each: they run at the same time, as most of it is waiting
		database(t, scoped(), name)
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m, upstream := tamper(t, scoped())
			metrics, await := gauge(t)
			via := start(t, scoped(), permissive(t), quiet, upstream, metrics)
			undisturbed := bystander(t, via, name)
			setUp := via.open(t, name, "postgres", "application_name", "bystander")
			setUp.query("CREATE TABLE c (a text); CREATE ROLE enrols; DROP ROLE enrols")
			look := inspect(t, scoped(), name)
			all := encoded(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", name))
			for _, x := range s.talk {
				all = append(all, encoded(x.say...)...)
			}
			all = append(all, encoded(&pgproto3.Terminate{})...)
			run := func(f fault, wait time.Duration) (lines []string) {
				t.Helper()
				m.set(f)
				d := via.dial(t)
				d.write(all) // at once, whatever comes, and no more: who waits for what a liar says may wait for ever
				d.waitFor(wait)
				_ = d.hearUntil(func(pgproto3.BackendMessage) bool { return false }) // to the end, whatever that is
				d.conn.Close()
				// A proxy that waits for the answer to a question of its own waits as long as its server lets it.
				look.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + here)
				look.ended()
				look.exec(tidy)
				return d.take()
			}
			if got := run(fault{}, *patience); got[len(got)-1] != "ready I" {
				t.Fatalf("without a fault: %q", got)
			}
			at := slices.DeleteFunc(places(theServer, m.sent(theServer)), func(p place) bool { return p.past > 0 })
			pairs := len(forged) * len(at)
			step := pairs / 25
			if *everyFault > 0 {
				step = *everyFault
			}
			for n := i; n < pairs; n += step {
				place, f := at[n/len(forged)], forged[n%len(forged)]
				for _, line := range run(fault{from: theServer, after: place.after, snap: true, forge: slices.Clone(f)}, impatience) {
					if strings.Contains(line, "FATAL XX000") {
						t.Errorf("after %d bytes, %q: %s", place.after, f, line)
					}
				}
			}
			t.Logf("%d places, %d messages: every %d. of %d", len(at), len(forged), step, pairs)
			m.set(fault{})
			await(2)
			undisturbed()
		})
	}
}

// misplaced are messages that a client may send at any time, and ought to only at some.
var misplaced = []struct {
	name string
	send []byte
}{
	{"Bind of nothing", encoded(&bind{PreparedStatement: "nosuch"})},
	{"Execute of nothing", encoded(&pgproto3.Execute{Portal: "nosuch"})},
	{"Describe of no statement", encoded(&pgproto3.Describe{ObjectType: 'S', Name: "nosuch"})},
	{"Describe of no portal", encoded(&pgproto3.Describe{ObjectType: 'P', Name: "nosuch"})},
	{"Describe of neither", encoded(&pgproto3.Describe{ObjectType: 'X'})},
	{"Close of nothing", encoded(&pgproto3.Close{ObjectType: 'S', Name: "nosuch"})},
	{"Close of neither", encoded(&pgproto3.Close{ObjectType: 'X'})},
	{"Sync", encoded(&pgproto3.Sync{})},
	{"two Syncs", encoded(&pgproto3.Sync{}, &pgproto3.Sync{})},
	{"Flush", encoded(&flush{})},
	{"CopyData", encoded(&copyData{Data: []byte("x\n")})},
	{"CopyDone", encoded(&pgproto3.CopyDone{})},
	{"CopyDone twice", encoded(&pgproto3.CopyDone{}, &pgproto3.CopyDone{})},
	{"CopyFail", encoded(&pgproto3.CopyFail{Message: "no"})},
	{"Query", encoded(&query{String: "CREATE ROLE reader"})},
	{"empty Query", encoded(&query{})},
	{"COPY", encoded(&query{String: "COPY c FROM STDIN"})},
	{"Parse", encoded(&parse{Query: "CREATE ROLE reader"})},
	{"Parse of a named one, twice", encoded(&parse{Name: "twice", Query: "CREATE ROLE reader"}, &parse{Name: "twice", Query: "SELECT 1"})},
	{"Parse, Describe without Bind", encoded(&parse{Query: "SELECT $1::int"}, &pgproto3.Describe{ObjectType: 'P'})},
	{"a whole statement, and COPY", encoded(pipeline(statement("CREATE ROLE reader"), statement("COPY c FROM STDIN"))...)},
	{"FunctionCall", encoded(&pgproto3.FunctionCall{Function: 1})},
	{"password", message('p', 9, "none\x00")},
	{"a message of the server", message('T', 6, "\x00\x00")},
	{"Terminate", encoded(&pgproto3.Terminate{})},
}

func encoded(messages ...pgproto3.FrontendMessage) (b []byte) {
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			panic(err) // a message of the table above
		}
	}
	return b
}

// TestMisplaced sends messages out of order, in each state of a session, directly and through the proxy.
func TestMisplaced(t *testing.T) {
	database(t, plain(), "orders")
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t), quiet)
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE TABLE c (a text)")
	}
	for _, s := range []struct {
		name  string
		enter []pgproto3.FrontendMessage
	}{
		{"idle", nil},
		{"in a transaction", []pgproto3.FrontendMessage{&query{String: "BEGIN"}}},
		{"in a failed transaction", []pgproto3.FrontendMessage{&query{String: "BEGIN; CREATE ROLE reader; SELECT 1/0"}}},
		{"in a pipeline", statement("CREATE ROLE clerk")},
		{"in a failed pipeline", pipeline(statement("CREATE ROLE clerk"), statement("GRANT nobody TO clerk"))},
		{"in COPY", []pgproto3.FrontendMessage{&query{String: "COPY c FROM STDIN"}}},
		{"in COPY, in a pipeline", statement("COPY c FROM STDIN")},
		{"after a COPY that failed", []pgproto3.FrontendMessage{&query{String: "COPY nosuch FROM STDIN"}}},
	} {
		for _, m := range misplaced {
			t.Run(s.name+"/"+m.name, func(t *testing.T) {
				end := encoded(&pgproto3.Sync{}, &query{String: "ROLLBACK"}, &pgproto3.Sync{},
					&query{String: "DROP ROLE IF EXISTS reader, clerk"}, &query{String: "SELECT 'the end'"})
				heard := func(e endpoint) []string {
					d := e.open(t, "orders", "postgres")
					defer d.conn.Close()
					d.write(slices.Concat(encoded(s.enter...), m.send, end))
					if err := d.hearUntil(func(m pgproto3.BackendMessage) bool { return describe(m) == `row "the end"` }); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("no answer after %q", d.lines)
					}
					withoutPositions(d)
					// The proxy ends such a session at once, whatever is on its way, and in COPY in other words.
					if n := len(d.lines); n > 0 && strings.HasPrefix(d.lines[n-1], "FATAL ") {
						return []string{d.lines[n-1][:len("FATAL 08P01")]}
					}
					if m.name == "Terminate" { // nor does it matter what comes of a pipeline that nobody waits for
						return nil
					}
					return d.take()
				}
				if diff := cmp.Diff(heard(direct(plain())), heard(via)); diff != "" {
					t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
				}
			})
		}
		if diff := cmp.Diff(memberships(t, plain(), ""), memberships(t, scoped(), "orders_")); diff != "" {
			t.Errorf("%s: roles, direct (-) and through the proxy (+):\n%s", s.name, diff)
		}
	}
}
