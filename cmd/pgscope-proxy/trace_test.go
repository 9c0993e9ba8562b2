package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// collector takes spans as an OpenTelemetry collector does.
type collector struct {
	t      *testing.T
	server *httptest.Server

	mu    sync.Mutex
	raw   []byte // all that was sent
	spans []*wire.Span
	names map[string]bool // service.name
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t, names: make(map[string]bool)}
	c.server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.server.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data wire.TracesData
	if err = errors.Join(err, proto.Unmarshal(body, &data)); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("api-key") != "a b" {
		c.t.Errorf("%s, api-key %q: %v", r.URL.Path, r.Header.Get("api-key"), err)
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	for _, resource := range data.ResourceSpans {
		c.names[attribute(resource.Resource.Attributes, "service.name")] = true
		for _, s := range resource.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
}

// tree writes the spans that are within no other of ours, in the order of time, each with what is
// within it, their attributes as far as keys names them, and whether they failed. A parent that is the
// client's is named by its last digits.
func (c *collector) tree(keys ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(c.spans, func(a, b *wire.Span) int {
		return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano)
	})
	ours := make(map[string]bool)
	for _, s := range c.spans {
		ours[string(s.SpanId)] = true
	}
	var b strings.Builder
	var within func(parent, indent string)
	write := func(s *wire.Span, indent string) {
		b.WriteString(indent + s.Name)
		if len(s.ParentSpanId) > 0 && !ours[string(s.ParentSpanId)] {
			fmt.Fprintf(&b, " (under %.2s…%s)", hex.EncodeToString(s.TraceId), hex.EncodeToString(s.ParentSpanId)[14:])
		}
		for _, k := range keys {
			if v := attribute(s.Attributes, k); v != "" {
				b.WriteString(" | " + v)
			}
		}
		if s.Status.GetCode() == wire.Status_STATUS_CODE_ERROR {
			b.WriteString(" ✗")
		}
		b.WriteString("\n")
		within(string(s.SpanId), indent+"  ")
	}
	within = func(parent, indent string) {
		for _, s := range c.spans {
			if parent == "" && !ours[string(s.ParentSpanId)] || parent != "" && string(s.ParentSpanId) == parent {
				write(s, indent)
			}
		}
	}
	within("", "")
	return b.String()
}

// attribute returns an attribute that is a text.
func attribute(list []*common.KeyValue, key string) string {
	for _, a := range list {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// TestTraces follows sessions of a proxy by what it tells a collector.
func TestTraces(t *testing.T) {
	c := pgtest.Shared(t)
	const database = "traced"
	t.Cleanup(func() { c.DropRoles(t, "^(pgscope_db_)?traced") })
	c.CreateDatabase(t, database)
	to := newCollector(t)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("rules: [{action: deny, statement: [drop role]}, {action: allow}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "serve", "--upstream", c.DSN(), "--admin-dsn", c.DSN(), "--policy", policy,
		"--listen", "127.0.0.1:0", "--http-listen=", "--trace-endpoint", to.server.URL, "--trace-service", "traced")
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b")
	p := start(t, cmd)
	url := "postgres://postgres@" + p.log.until("ready").Listen + "/" + database + "?sslmode=disable"

	conn := connect(t, url+"&options=-c%20pgscope.traceparent%3D00-aa000000000000000000000000000000-00000000000000a1-01")
	run := func(sql, code string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		var failed *pgconn.PgError
		if errors.As(err, &failed) && failed.Code == code || err == nil && code == "" {
			return
		}
		t.Errorf("%s: %v", sql, err)
	}
	run("SELECT 1", "")
	run("CREATE ROLE clerk LOGIN PASSWORD 'hunter2'", "")
	run("DROP ROLE clerk /*db_driver='pgx',traceparent='00-bb000000000000000000000000000000-00000000000000b1-01'*/", "42501")
	run("GRANT clerk TO nobody", "42704")
	run("CREATE ROLE broken PASSWORD 'hunter2", "42601")
	tried := "" // a server whose grammar is newer than the proxy's is asked what is wrong
	if c.Major >= "18" {
		tried = "  server\n"
	}
	run("ALTER ROLE clerk PASSWORD 'hunter2' /*traceparent='00-cc000000000000000000000000000000-00000000000000c1-00'*/", "") // not sampled
	if _, err := conn.Exec(t.Context(), "SHOW pgscope.traceparent"); err == nil {
		t.Error("the server got the traceparent")
	}
	_ = conn.Close(t.Context())
	if conn, err := pgx.Connect(t.Context(), strings.Replace(url, "postgres@", "stranger@", 1)); err == nil {
		t.Error("a stranger logged in")
		_ = conn.Close(t.Context())
	}
	p.stop() // and it delivers what is left

	if diff := cmp.Diff(`login (under aa…a1) | postgres
  resolve user
  authenticate client
  log in to server
    connect to server
create role (under aa…a1) | postgres | CREATE ROLE clerk LOGIN PASSWORD '***' | allow | 00000
  decide
  server
drop role (under bb…b1) | postgres | DROP ROLE clerk /*db_driver='pgx',traceparent='00-bb000000000000000000000000000000-00000000000000b1-01'*/ | deny | 42501 ✗
  decide
  server
grant role (under aa…a1) | postgres | GRANT clerk TO nobody | allow | 42704 ✗
  decide
  server
role statement (under aa…a1) | postgres | (not shown: it cannot be read) | refuse | 42601 ✗
  decide
`+tried+`login | 28000 ✗
  resolve user
  authenticate client
  log in to server ✗
    connect to server
`, to.tree("pgscope.role", "db.query.text", "pgscope.decision", "db.response.status_code")); diff != "" {
		t.Errorf("spans (-want +got)\n%s", diff)
	}
	if !to.names["traced"] || len(to.names) != 1 {
		t.Errorf("the services are %v", to.names)
	}
	if strings.Contains(string(to.raw), "hunter2") {
		t.Error("a secret was told")
	}
}

// TestTracesOfReconciler: a run is a trace, with what took its time.
func TestTracesOfReconciler(t *testing.T) {
	c := pgtest.Shared(t)
	const database = "traced_kept"
	t.Cleanup(func() { c.DropRoles(t, "^(pgscope_db_)?traced_kept") })
	c.CreateDatabase(t, database)
	to := newCollector(t)
	manifest := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(manifest, []byte("roles: [{name: clerk}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "serve", "--upstream", c.DSN(), "--admin-dsn", c.DSN(),
		"--manifest", manifest, "--reconcile-database", database, "--reconcile-interval", "1h",
		"--listen", "127.0.0.1:0", "--http-listen=", "--trace-endpoint", to.server.URL)
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b")
	p := start(t, cmd)
	p.log.until("reconciled")
	p.stop()
	const look = "  observe\n  plan\n"
	want := "reconcile | traced_kept | in step\n" + look + "  apply\n" + look
	got := to.tree("db.namespace", "pgscope.outcome")
	for strings.Contains(got, look+look) { // it looks again where another transaction has ended meanwhile
		got = strings.Replace(got, look+look, look, 1)
	}
	if !strings.HasPrefix(got, want) {
		t.Errorf("spans:\n%s\nwant:\n%s", got, want)
	}
}

// TestNoCollector: where nobody takes the spans, the log says so, and nothing else is wrong.
func TestNoCollector(t *testing.T) {
	c := pgtest.Shared(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "serve", "--upstream", c.DSN(),
		"--listen", "127.0.0.1:0", "--http-listen=", "--trace-endpoint", "http://127.0.0.1:9") // discard: nobody listens
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=10")
	p := start(t, cmd)
	conn := connect(t, "postgres://postgres@"+p.log.until("ready").Listen+"/postgres?sslmode=disable")
	for range 10 {
		if _, err := conn.Exec(t.Context(), "SET ROLE NONE"); err != nil {
			t.Fatal(err)
		}
	}
	p.log.until("spans were not delivered")
	if _, err := conn.Exec(t.Context(), "SET ROLE NONE"); err != nil {
		t.Error(err)
	}
	_ = conn.Close(t.Context())
	p.stop()
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
