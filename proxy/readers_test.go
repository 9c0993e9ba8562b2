package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// reading is a proxy of one event loop, or of goroutines, whose only reader of long texts is busy until the test frees it.
type reading struct {
	t       *testing.T
	cluster *pgtest.Cluster
	server  *Server
	config  *pgconn.Config
	stop    func()
	free    func()
	states  [2]atomic.Int32 // of texts when one was last read: how many waited, and were read
}

// longCreate is a long text that makes a role, and briefCreate a shorter one.
var (
	longCreate  = "CREATE ROLE long" + strings.Repeat(" ", longestBrief)
	briefCreate = "CREATE ROLE brief" + strings.Repeat(" ", longText)
)

// longFault is one at which the proxy has a fault.
var longFault = strings.Replace(longCreate, "long", "fault", 1)

// eachDriver runs a test with either driver.
func eachDriver(t *testing.T, test func(*reading)) {
	t.Helper()
	cluster := pgtest.Shared(t)
	for name, goroutines := range map[string]bool{"event loop": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) {
			database := "reading_" + strings.ReplaceAll(name, " ", "_")
			cluster.CreateDatabase(t, database)
			test(newReading(t, cluster, database, goroutines))
		})
	}
}

func newReading(t *testing.T, cluster *pgtest.Cluster, database string, goroutines bool) *reading {
	t.Helper()
	s, err := New(Options{
		Listen: []string{"127.0.0.1:0"}, Upstream: testUpstream(t, cluster.DSN("sslmode=disable")), Goroutines: goroutines, Processors: 1,
		Settings: Settings{Policy: policy.Default(), Grace: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{t: t, cluster: cluster, server: s}
	analyze := s.analyze
	s.analyze = func(sql string, o rewrite.Options) (*rewrite.Analysis, *rewrite.Error) {
		if sql == longFault {
			panic("a fault")
		}
		if len(sql) >= longText {
			waiting, read := s.readers.look()
			r.states[0].Store(int32(waiting))
			r.states[1].Store(int32(read))
		}
		return analyze(sql, o)
	}
	t.Cleanup(func() { cluster.DropRoles(t, "^(pgscope_db_)?"+database) })
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := s.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { r.stop() })
	s.readers.turns <- struct{}{}
	r.free = sync.OnceFunc(func() { <-s.readers.turns })
	t.Cleanup(func() { r.free() })
	if r.config, err = pgconn.ParseConfig("postgres://postgres@" + s.Addresses()[0] + "/" + database + "?sslmode=disable"); err != nil {
		t.Fatal(err)
	}
	return r
}

// connect returns a session.
func (r *reading) connect() *pgconn.PgConn {
	r.t.Helper()
	c, err := pgconn.ConnectConfig(r.t.Context(), r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close(context.WithoutCancel(r.t.Context())) }) // the test may have broken it
	return c
}

// send lets a session send a text, and returns when that waits for its reader. What comes of it is said later.
func (r *reading) send(c *pgconn.PgConn, sql string) <-chan error {
	r.t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), sql).ReadAll()
		result <- err
	}()
	r.await(1)
	return result
}

// await waits until so many texts wait.
func (r *reading) await(texts int) {
	r.t.Helper()
	r.until(func() bool {
		waiting, read := r.server.readers.look()
		return waiting == texts && read == 0
	})
}

func (r *reading) until(true func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("waited in vain")
		}
	}
}

// ended waits until the proxy has no session any more.
func (r *reading) ended() {
	r.t.Helper()
	r.until(func() bool {
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		return len(r.server.sessions) == 0
	})
}

// made reports whether the long text was run.
func (r *reading) made() bool { return r.has("long") }

func (r *reading) has(role string) bool {
	r.t.Helper()
	return strings.Contains(r.cluster.Psql(r.t, "postgres", "SELECT rolname FROM pg_roles"), r.config.Database+"_"+role+"\n")
}

// exec runs a text to its end.
func (r *reading) exec(c *pgconn.PgConn, sql string) {
	r.t.Helper()
	if _, err := c.Exec(r.t.Context(), sql).ReadAll(); err != nil {
		r.t.Fatalf("%.100s: %v", sql, err)
	}
}

func code(err error) string {
	var told *pgconn.PgError
	if !errors.As(err, &told) {
		return ""
	}
	return told.Code
}

// TestLongTextIsReadApart: while a long text is read, the other sessions of its event loop go on, role statements and
// logins too, and whoever looks at the sessions need not wait. What the server has to say to its own session comes.
func TestLongTextIsReadApart(t *testing.T) {
	eachDriver(t, func(r *reading) {
		told := make(chan struct{}, 1)
		r.config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { told <- struct{}{} }
		c, other := r.connect(), r.connect()
		r.exec(c, "LISTEN news")
		result := r.send(c, longCreate)
		r.exec(other, "SELECT 1; NOTIFY news")
		r.exec(other, "CREATE ROLE short; SET ROLE short; RESET ROLE")
		r.exec(r.connect(), "SELECT 1")
		states := make(map[string]int)
		if n, _ := r.server.look(states); n != 3 || states["active"] != 1 {
			t.Errorf("%d sessions: %v", n, states)
		}
		r.server.each(func(x *session) { x.expire(time.Now(), Timeouts{Idle: time.Nanosecond}) })
		if r.made() {
			t.Error("the long text has not waited")
		}
		r.until(func() bool { return len(told) == 1 })
		r.free()
		if err := <-result; err != nil || !r.made() {
			t.Errorf("error %v, made: %v", err, r.made())
		}
		r.exec(c, "DROP ROLE long; DROP ROLE short")
	})
}

// TestBriefTexts: those do not wait behind longer ones, but for each other.
func TestBriefTexts(t *testing.T) {
	eachDriver(t, func(r *reading) {
		long := r.send(r.connect(), longCreate)
		c := r.connect()
		r.exec(c, briefCreate)
		if waiting, read := r.states[0].Load(), r.states[1].Load(); waiting != 1 || read != 1 || r.made() || !r.has("brief") {
			t.Errorf("%d texts waited, %d were read; the long one is made: %v, the brief one: %v", waiting, read, r.made(), r.has("brief"))
		}
		r.exec(c, "DROP ROLE brief")

		r.server.readers.brief <- struct{}{}
		brief := make(chan error, 1)
		go func() {
			_, err := c.Exec(context.Background(), briefCreate).ReadAll()
			brief <- err
		}()
		r.await(2)
		if r.has("brief") {
			t.Error("the brief text has not waited")
		}
		r.free()
		if err := errors.Join(<-long, <-brief); err != nil {
			t.Error(err)
		}
		<-r.server.readers.brief
		r.exec(c, "DROP ROLE long; DROP ROLE brief")
	})
}

// TestLongTextInAPipeline: what is sent behind a long text comes after it, and what fails before it keeps it from being
// run.
func TestLongTextInAPipeline(t *testing.T) {
	// The first is not answered before the long text has come, which else would not be read if the first has failed.
	const lock = "SELECT pg_advisory_xact_lock(1)"
	for name, first := range map[string]string{"succeeds": lock, "fails": "SELECT 1 / length(pg_advisory_xact_lock(1)::text)"} {
		t.Run(name, func(t *testing.T) {
			eachDriver(t, func(r *reading) {
				c, other := r.connect(), r.connect()
				r.exec(other, "BEGIN; "+lock)
				p := c.StartPipeline(t.Context())
				for _, sql := range []string{first, longCreate, "SELECT rolname FROM pg_roles WHERE rolname = 'long'"} {
					p.SendQueryParams(sql, nil, nil, nil, nil)
				}
				if err := p.Sync(); err != nil {
					t.Fatal(err)
				}
				r.await(1)
				r.exec(other, "COMMIT")
				var said []string
				next := func() (more bool) {
					switch result, err := p.GetResults(); result := result.(type) {
					case *pgconn.ResultReader:
						read := result.Read()
						said = append(said, read.CommandTag.String()+code(read.Err))
					case *pgconn.PipelineSync:
						return false
					default:
						said = append(said, code(err))
					}
					return true
				}
				if name == "fails" {
					next() // while the text is held
				}
				r.free()
				for next() {
				}
				want := map[string]string{"succeeds": "SELECT 1, CREATE ROLE, SELECT 1", "fails": "22012"}[name]
				if got := strings.Join(said, ", "); got != want || r.made() != (name == "succeeds") {
					t.Errorf("got %s, want %s; made: %v", got, want, r.made())
				}
				if err := p.Close(); err != nil && name == "succeeds" {
					t.Error(err)
				}
				r.exec(c, "DROP ROLE IF EXISTS long")
			})
		})
	}
}

// TestEndsWhileALongTextIsRead: of the text, of its session, of the proxy. Nothing waits for the reader but who wants
// the result.
func TestEndsWhileALongTextIsRead(t *testing.T) {
	for name, test := range map[string]struct {
		code string // that the client hears
		made bool
		end  func(r *reading, c *pgconn.PgConn)
	}{
		"a cancel request": {"57014", false, func(r *reading, c *pgconn.PgConn) {
			if err := c.CancelRequest(r.t.Context()); err != nil {
				r.t.Error(err)
			}
			r.free()
			r.await(0)
		}},
		"another's cancel request": {"", true, func(r *reading, c *pgconn.PgConn) {
			if err := r.connect().CancelRequest(r.t.Context()); err != nil {
				r.t.Error(err)
			}
			r.free()
		}},
		"the client leaves": {"", false, func(r *reading, c *pgconn.PgConn) {
			if err := c.Conn().Close(); err != nil {
				r.t.Error(err)
			}
			r.ended()
			r.free()
			r.await(0)
		}},
		"the server ends the session": {"57P01", false, func(r *reading, c *pgconn.PgConn) {
			r.cluster.Psql(r.t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", c.PID()))
			r.ended()
			r.free()
			r.await(0)
		}},
		"the proxy stops": {"", true, func(r *reading, c *pgconn.PgConn) {
			stopped := make(chan struct{})
			go func() { r.stop(); close(stopped) }()
			r.until(func() (leaving bool) {
				r.server.each(func(s *session) {
					s.mu.Lock()
					defer s.mu.Unlock()
					leaving = s.leaving
				})
				return leaving
			})
			r.free()
			<-stopped
		}},
		"the proxy has no time to stop": {"57P01", false, func(r *reading, c *pgconn.PgConn) {
			if err := r.server.Reload(Settings{Policy: policy.Default(), Grace: time.Nanosecond}); err != nil {
				r.t.Error(err)
			}
			r.stop()
			r.free()
			r.await(0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			eachDriver(t, func(r *reading) {
				c := r.connect()
				result := r.send(c, longCreate)
				test.end(r, c)
				if err := <-result; code(err) != test.code || r.made() != test.made {
					t.Errorf("error %v, made: %v", err, r.made())
				}
			})
		})
	}
}

// TestFaultWhileALongTextIsRead: it is the end of the text's session, which is told, and of no other.
func TestFaultWhileALongTextIsRead(t *testing.T) {
	eachDriver(t, func(r *reading) {
		other := r.connect()
		result := r.send(r.connect(), longFault)
		r.free()
		if err := <-result; code(err) != codeInternalError {
			t.Errorf("error %v", err)
		}
		r.exec(other, "SELECT 1")
	})
}
