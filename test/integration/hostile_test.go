package integration

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// message returns a message that may lie about its length.
func message(typ byte, length uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, length), body...)
}

// packet returns a packet of the kind that begins a connection, and lying one that claims another length.
func packet(code uint32, body string) []byte { return lying(uint32(8+len(body)), code, body) }

func lying(length, code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, length)
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

const (
	version3 = 3 << 16
	cancel   = 1234<<16 | 5678
)

// TestHostileStart sends what is no startup packet. The connection is closed, after an error that a client can read or
// without a word.
func TestHostileStart(t *testing.T) {
	database(t, scoped(), "orders")
	metrics, await := gauge(t)
	via := start(t, scoped(), quiet, metrics)
	undisturbed := bystander(t, via, "orders")
	for name, c := range map[string]struct {
		send []byte
		want string // SQLSTATE; empty: without a word
	}{
		"nothing":                    {nil, ""},
		"zeros":                      {make([]byte, 10<<10), ""},
		"4 GB":                       {lying(1<<32-1, version3, "user\x00postgres\x00\x00"), ""},
		"length 7":                   {lying(7, version3, ""), ""},
		"20 KB":                      {packet(version3, strings.Repeat("a\x00", 10<<10)), ""},
		"cut short":                  {lying(100, version3, "user\x00post"), ""},
		"HTTP":                       {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ""},
		"TLS":                        {[]byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"), ""},
		"protocol 1.0":               {packet(1<<16, ""), "0A000"},
		"protocol 9.0":               {packet(9<<16, ""), "0A000"},
		"no terminator":              {packet(version3, "user\x00postgres\x00"), "08P01"},
		"no value":                   {packet(version3, "user\x00\x00"), "08P01"},
		"no user":                    {packet(version3, "database\x00orders\x00\x00"), "28000"},
		"two users":                  {packet(version3, "user\x00a\x00user\x00postgres\x00\x00"), "08P01"},
		"cancel without a key":       {packet(cancel, ""), ""},
		"cancel with a large key":    {packet(cancel, strings.Repeat("k", 304)), ""},
		"cancel of nobody":           {packet(cancel, "\x00\x00\x00\x01none"), ""},
		"a query instead":            {message('Q', 13, "SELECT 1\x00"), ""},
		"unknown database":           {packet(version3, "user\x00postgres\x00database\x00no\x00\x00"), "3D000"},
		"a setting that is not one":  {packet(version3, "user\x00postgres\x00database\x00orders\x00a\x00b\x00\x00"), "42704"},
		"a setting that is not text": {packet(version3, "user\x00postgres\x00database\x00orders\x00\xff\x00\xfe\x00\x00"), "42704"},
	} {
		t.Run(name, func(t *testing.T) {
			d := via.dial(t)
			d.write(c.send)
			_ = d.tcp().CloseWrite() // the proxy may have closed first
			expectEnd(t, d, c.want)
		})
	}
	await(1)
	undisturbed()
}

// expectEnd expects an error of that SQLSTATE and the connection's end.
func expectEnd(t *testing.T, d *dialogue, sqlstate string) {
	t.Helper()
	d.toTheEnd()
	if n := len(d.lines); sqlstate == "" && n > 0 || sqlstate != "" && (n == 0 || !strings.HasPrefix(d.lines[n-1], "FATAL "+sqlstate+": ")) {
		t.Errorf("heard %q, want %q", d.lines, sqlstate)
	}
}

// TestHostileSession sends what is no message of a session: the session ends, or goes on after an error.
func TestHostileSession(t *testing.T) {
	database(t, scoped(), "orders")
	metrics, await := gauge(t)
	via := start(t, scoped(), quiet, permissive(t), metrics)
	undisturbed := bystander(t, via, "orders")
	const goesOn = "the session goes on after "
	for name, c := range map[string]struct {
		send []byte
		want string // SQLSTATE; empty: without a word
	}{
		"length 3":             {message('Q', 3, ""), "08P01"},
		"length 0":             {message('S', 0, ""), "08P01"},
		"negative length":      {message('Q', 1<<32-1, "SELECT 1\x00"), "08P01"},
		"2 GB of a query":      {message('Q', 1<<31-1, "SELECT 1\x00"), goesOn + "54000"},
		"1 GB of a row":        {message('d', 1<<30-2, "SELECT 1\x00"), ""},
		"unknown type":         {message('z', 4, ""), "08P01"},
		"type 0":               {make([]byte, 1<<10), "08P01"},
		"type of the server":   {message('Z', 5, "I"), "08P01"},
		"a password":           {message('p', 8, "abc\x00"), "08P01"},
		"query without end":    {message('Q', 12, "SELECT 1"), "08P01"},
		"query with two ends":  {message('Q', 14, "SELECT 1\x00\x00"), "08P01"},
		"half a query":         {message('Q', 100, "GRANT mine"), ""},
		"half a header":        {[]byte("Q\x00"), ""},
		"parse without end":    {message('P', 14, "g\x00SELECT 1"), "08P01"},
		"parse without name":   {message('P', 12, "SELECT 1"), "08P01"},
		"bind without name":    {message('B', 5, "p"), "08P01"},
		"execute without name": {message('E', 5, "p"), "08P01"},
		"not UTF-8":            {message('Q', 25, "GRANT \xff TO postgres;\x00"), goesOn + "0A000"},
	} {
		t.Run(name, func(t *testing.T) {
			d := via.open(t, "orders", "postgres")
			// A session that has a rewritten statement looks into messages that otherwise pass.
			d.say(&parse{Name: "g", Query: "GRANT mine TO postgres"}, &pgproto3.Sync{})
			d.ready(1)
			d.take()
			d.write(c.send)
			if sqlstate, ok := strings.CutPrefix(c.want, goesOn); ok {
				d.ready(1)
				if !strings.HasPrefix(d.lines[0], "ERROR "+sqlstate+": ") {
					t.Errorf("heard %q, want %s", d.lines, sqlstate)
				}
				d.conn.Close()
				return
			}
			_ = d.tcp().CloseWrite() // the proxy may have closed first
			expectEnd(t, d, c.want)
		})
	}
	await(1)
	undisturbed()
}

// TestFlood has many clients come at once that say little, or the beginning of much, and wait. The proxy keeps of each
// what it has said, and others come and go.
func TestFlood(t *testing.T) {
	database(t, scoped(), "orders")
	via, pid, _ := startChild(t, scoped())
	undisturbed := bystander(t, via, "orders")
	before := resident(t, pid)
	strangers := [][]byte{
		nil,
		{0},
		lying(9_999, version3, "user\x00"), lying(9_999, version3, strings.Repeat("a\x00", 4<<10)),
		packet(1234<<16|5679, ""), packet(version3, "user\x00postgres\x00database\x00nosuch\x00\x00"),
	}
	members := [][]byte{
		message('Q', 1<<31-1, strings.Repeat("x", 1<<20)), message('P', 32<<20, "\x00GRANT a TO b;"+strings.Repeat(" ", 1<<20)),
		message('B', 1<<30, strings.Repeat("\x00", 1<<20)), message('d', 1<<30, strings.Repeat("x", 1<<20)),
	}
	const many, few = 600, 24
	var waiting []*dialogue
	for i := range many {
		d := via.dial(t)
		d.write(strangers[i%len(strangers)])
		waiting = append(waiting, d)
	}
	for i := range few {
		d := via.open(t, "orders", "postgres")
		d.write(members[i%len(members)])
		waiting = append(waiting, d)
	}
	for range 10 {
		if got := via.open(t, "orders", "postgres").query("GRANT SELECT ON pg_class TO postgres; SELECT 1"); got[len(got)-1] != "ready I" {
			t.Errorf("another session hears %q", got)
		}
	}
	const each = 100 << 10 // of a stranger; of a member, what it has sent, in a buffer that has grown for it
	grown, most := resident(t, pid)-before, many*each+few*(4<<20)
	t.Logf("%d strangers and %d sessions: %d kB", many, few, grown>>10)
	if grown > most {
		t.Errorf("%d kB more, at most %d", grown>>10, most>>10)
	}
	undisturbed()
	for _, d := range waiting {
		d.conn.Close()
	}
}

// resident is the resident memory of a process, in bytes. Where the system does not tell, there is nothing to compare.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	var kilobytes int
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestSlow: whoever takes longer for a login than there is time for is cut off, however steadily it sends.
func TestSlow(t *testing.T) {
	metrics, await := gauge(t)
	via := start(t, scoped(), quiet, metrics, withLimits(proxy.Limits{}, proxy.Timeouts{Login: 500 * time.Millisecond}))
	d := via.dial(t)
	d.write(lying(9_999, version3, ""))
	var err error
	for sent := 0; err == nil && sent < 9_000; sent++ {
		_, err = d.conn.Write([]byte("a"))
		<-time.After(time.Millisecond) // this is what a slow client does
	}
	if err == nil {
		t.Error("9,000 bytes were taken, one in a millisecond, and 500 of those are all that there is")
	}
	await(0)
}

// TestStrangeTexts sends texts that cannot be mapped. Each is refused, and the session goes on.
func TestStrangeTexts(t *testing.T) {
	database(t, scoped(), "orders")
	d := start(t, scoped(), permissive(t)).open(t, "orders", "postgres")
	d.query("CREATE ROLE reader; CREATE TABLE t (a int)")
	before := memberships(t, scoped(), "")
	for _, c := range []struct{ name, sql, want string }{
		{"unparsable", "GRANT GRANT TO reader", "42601"},
		{"unparsable among others", "SELECT 1; CREATE ROLE; SELECT 2", "42601"},
		{"unparsable after a role statement", "CREATE ROLE lost; ALTER ROLE lost NONSENSE", "42601"},
		{"no such option", "CREATE ROLE lost NOSUCHOPTION", "42601"},
		{"no such value", "ALTER ROLE reader CONNECTION LIMIT 'x'", "42601"},
		{"unended string", "COMMENT ON ROLE reader IS 'x", "42601"},
		{"unended comment", "GRANT reader TO /* postgres", "42601"},
		{"name too long", "CREATE ROLE " + strings.Repeat("x", 60), "42622"},
		{"name far too long", "CREATE ROLE " + strings.Repeat("x", 5000), "42622"},
		{"name too long to be there", "GRANT " + strings.Repeat("x", 64) + " TO reader", "42704"},
		{"PostgreSQL's name", "CREATE ROLE pg_mine", "42939"},
		{"this project's name", "CREATE ROLE pgscope_mine", "42939"},
		{"renamed to PostgreSQL's name", "ALTER ROLE reader RENAME TO pg_mine", "42939"},
		{"the marker", "GRANT pgscope_db_orders TO reader", "42704"},
		{"a marker is dropped", "DROP ROLE pgscope_db_orders", "42704"},
		{"public", `CREATE ROLE "public"`, "42939"},
		{"a role that is there", "CREATE ROLE postgres", "42710"},
		{"MD5 password", "ALTER ROLE reader PASSWORD 'md5a3556571e93b0d20722ba62be61e8c2d'", "0A000"},
		{"all roles", "ALTER ROLE ALL SET work_mem = '1MB'", "42501"},
		{"too deep", "GRANT reader TO postgres; SELECT " + strings.Repeat("(", 20_000), "54001"},
		{"too many names", "GRANT reader TO x" + manyNames(10_001), "54000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, say := range []func(){
				func() { d.say(&query{String: c.sql}) },
				func() { d.say(pipeline(statement(c.sql), syncPoint())...) },
			} {
				say()
				d.ready(1)
				got := d.take()
				failed := false
				for _, line := range got {
					failed = failed || strings.HasPrefix(line, "ERROR "+c.want+": ") || strings.HasPrefix(line, "ERROR 42601: cannot insert multiple commands")
				}
				if !failed || got[len(got)-1] != "ready I" {
					t.Errorf("heard %.300q, want %s", got, c.want)
				}
			}
		})
	}
	after := memberships(t, scoped(), "")
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("roles before %q and after %q", before, after)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(", r")
		b.WriteString(strings.Repeat("x", i/1000))
		b.WriteString(string(rune('a' + i%10)))
		b.WriteString(string(rune('a' + i/10%10)))
		b.WriteString(string(rune('a' + i/100%10)))
	}
	return b.String()
}
