package integration

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// grace is the option of how long a proxy waits for transactions when it stops.
func grace(d time.Duration) func(*proxy.Options) {
	return func(o *proxy.Options) { o.Grace = d }
}

// TestStopIdle stops a proxy that would wait for transactions longer than this test does. Sessions at rest end at once,
// whatever they did before.
func TestStopIdle(t *testing.T) {
	database(t, scoped(), "orders")
	for name, before := range map[string]func(*dialogue){
		"at the beginning":  func(*dialogue) {},
		"after a query":     func(d *dialogue) { d.query("CREATE ROLE a; DROP ROLE a") },
		"after an error":    func(d *dialogue) { d.query("GRANT nobody TO nobody") },
		"after a pipeline":  func(d *dialogue) { d.say(pipeline(statement("CREATE ROLE b"), syncPoint())...); d.ready(1) },
		"after a COMMIT":    func(d *dialogue) { d.query("BEGIN"); d.query("COMMIT") },
		"after LISTEN":      func(d *dialogue) { d.query("LISTEN news") },
		"after a late copy": lateCopy,
	} {
		t.Run(name, func(t *testing.T) {
			via, stop := run(t, scoped(), permissive(t), grace(2**patience))
			t.Cleanup(stop)
			d := via.open(t, "orders", "postgres")
			before(d)
			d.take()
			go stop()
			d.toTheEnd()
			d.wants(shutDown)
		})
	}
}

// lateCopy has a COPY fail that the client believes in: what it sends for it has no answer.
func lateCopy(d *dialogue) {
	d.say(&query{String: "COPY nosuch FROM STDIN"}, &copyData{Data: []byte("1\n")}, &pgproto3.CopyDone{})
	d.ready(1)
}

// TestStopInTransaction stops a proxy while a transaction is open: it may go on, and be committed.
func TestStopInTransaction(t *testing.T) {
	database(t, scoped(), "orders")
	via, stop := run(t, scoped(), permissive(t), grace(2**patience))
	t.Cleanup(stop)
	d, idle := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	d.query("BEGIN; CREATE ROLE reader")
	ended := make(chan struct{})
	go func() {
		stop()
		close(ended)
	}()
	idle.toTheEnd()
	idle.wants(shutDown)
	if c, err := net.Dial("tcp", via.address()); err == nil {
		t.Error("a proxy that stops takes a new connection")
		c.Close()
	}
	select {
	case <-ended:
		t.Error("the proxy has ended before its last session")
	default:
	}
	if diff := cmp.Diff([]string{"done GRANT ROLE", "ready T"}, d.query("GRANT reader TO postgres")); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	d.say(&query{String: "COMMIT"})
	d.toTheEnd()
	d.wants("done COMMIT", "ready I", shutDown)
	<-ended
	if got := strings.Join(memberships(t, scoped(), "orders_"), " "); got != "reader" {
		t.Errorf("roles after the commit: %q", got)
	}
}

// TestStopInPipeline stops a proxy in the midst of a pipeline, which is a transaction too: it may go on up to its Sync.
func TestStopInPipeline(t *testing.T) {
	database(t, scoped(), "orders")
	via, stop := run(t, scoped(), permissive(t), grace(2**patience))
	t.Cleanup(stop)
	d, idle := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	d.say(append(statement("CREATE TABLE kept ()"), &flush{})...)
	until[*pgproto3.CommandComplete](d)
	d.take()
	go stop()
	idle.toTheEnd()
	d.say(&pgproto3.Sync{})
	d.toTheEnd()
	d.wants("ready I", shutDown)
	if got := strings.TrimSpace(scoped().Psql(t, "orders", "SELECT to_regclass('kept')")); got != "kept" {
		t.Errorf("the table is not there: %q", got)
	}
}

// TestStopWithCancelOnItsWay stops a proxy that has not delivered a cancel request yet. It still does: the statement may be what
// it would wait for.
func TestStopWithCancelOnItsWay(t *testing.T) {
	database(t, scoped(), "orders")
	m, e := tamperAt(t, direct(scoped()))
	via, stop := run(t, scoped(), permissive(t), grace(2**patience), upstreamAt(t, e.dsn("postgres", "postgres")+" sslmode=prefer"))
	t.Cleanup(stop)
	d, idle := via.open(t, "orders", "postgres"), via.open(t, "orders", "postgres")
	d.say(&query{String: "SELECT pg_sleep(600)"})
	awaitSome(t, scoped(), asleep)
	arrived, goesOn := make(chan struct{}), make(chan struct{})
	m.set(fault{from: theServer, end: func(asks, _ *net.TCPConn) error {
		close(arrived)
		<-goesOn
		_, err := asks.Write([]byte("N")) // no TLS
		return err
	}})
	via.dial(t).say(&pgproto3.CancelRequest{ProcessID: d.key.ProcessID, SecretKey: d.key.SecretKey})
	<-arrived
	m.set(fault{})
	go stop()
	idle.toTheEnd()
	close(goesOn)
	d.toTheEnd()
	if got := d.take(); len(got) < 3 || !strings.HasPrefix(got[len(got)-3], "ERROR 57014") {
		t.Errorf("heard %q", got)
	}
}

// TestStopBusy stops a proxy whose sessions do not come to an end: they are ended after the grace period, and what the
// server does for them is cancelled.
func TestStopBusy(t *testing.T) {
	database(t, scoped(), "orders")
	via, stop := run(t, scoped(), permissive(t), grace(100*time.Millisecond))
	t.Cleanup(stop)
	all, _ := inEachState(t, scoped(), via, "postgres")
	stop()
	for name, d := range all {
		d.toTheEnd()
		if n := len(d.lines); n == 0 || !strings.HasPrefix(d.lines[n-1], shutDown) {
			t.Errorf("%s: %q", name, d.lines)
		}
	}
	awaitNone(t, scoped(), others)
}

// TestStopDuringLogin stops a proxy while clients have not said who they are, and while the server has not answered.
func TestStopDuringLogin(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	upstream, err := proxy.NewUpstream(reach(t, silent.Addr().String()).dsn("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	via, stop := run(t, scoped(), quiet, grace(2**patience), func(o *proxy.Options) { o.Upstream = upstream })
	t.Cleanup(stop)
	mute, waiting := via.dial(t), via.dial(t)
	waiting.say(startup(pgproto3.ProtocolVersion30, "user", "postgres", "database", "orders"))
	server, err := silent.Accept() // the proxy has read the packet
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stop()
	mute.toTheEnd()
	mute.wants() // nobody has said hello
	waiting.toTheEnd()
	waiting.wants(shutDown)
}
