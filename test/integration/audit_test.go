package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
	"github.com/pgscope/pgscope-proxy/trace"
)

// audited runs a proxy with an audit log. records ends it, and returns what the log has.
func audited(t *testing.T, change ...func(*proxy.Options)) (e endpoint, records func() []audit.Record) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _, err := audit.Open(audit.Options{File: path, Failed: func(err error) { t.Errorf("audit: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	e, stop := run(t, scoped(), append(change, func(o *proxy.Options) { o.Audit = l })...)
	t.Cleanup(stop)
	return e, func() (list []audit.Record) {
		stop()
		if _, err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var c audit.Chain
		if err := c.Read(path, bytes.NewReader(text)); err != nil || c.Err() != nil {
			t.Error(err, c.Err())
		}
		for line := range bytes.Lines(text) {
			var r audit.Record
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		return list
	}
}

// brief is a record in one line.
func brief(r audit.Record) string {
	text := fmt.Sprintf("%s %s %s: %s → %s", r.Decision, r.Rule, r.Result, r.Statement, r.Sent)
	if r.Of > 0 {
		text += fmt.Sprintf(" (%d of %d)", r.Number, r.Of)
	}
	return text
}

const policyOfTests = `
rules:
  - {name: watched, role: "watched*", action: warn, message: this role is watched, hint: Ask first.}
  - {name: forbidden, role: forbidden, action: deny}
  - {name: not-mallory, statement: connect, user: mallory, action: deny}
  - {action: allow}
`

func withPolicy(t testing.TB, rules string) func(*proxy.Options) {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Policy = p }
}

func TestAudit(t *testing.T) {
	database(t, scoped(), "orders")
	e, records := audited(t, withPolicy(t, policyOfTests))
	c := e.connect(t, "orders", "postgres").PgConn()
	simple := func(sql string) { _, _ = c.Exec(t.Context(), sql).ReadAll() } // the record tells how it ended
	simple("CREATE ROLE a PASSWORD 'canary'")
	simple("CREATE ROLE a")
	simple("SELECT 1")
	simple("CREATE ROLE watched; CREATE ROLE forbidden")
	simple("CREATE ROLE pg_mine")
	simple("BEGIN; DROP ROLE a")
	simple("ROLLBACK; CREATE ROLE b")
	if _, err := c.Prepare(t.Context(), "s", "DROP ROLE a", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is no such role
		c.ExecPrepared(t.Context(), "s", nil, nil, nil).Read()
	}
	if _, err := pgconn.Connect(t.Context(), e.dsn("orders", "mallory")); err == nil {
		t.Error("mallory is in")
	}
	var got []string
	for _, r := range records() {
		got = append(got, brief(r))
		if r.Database != "orders" || !strings.HasPrefix(r.Client, "127.0.0.1:") || r.Time.After(time.Now()) {
			t.Errorf("database, client or time of a record: %+v", r)
		}
	}
	want := []string{
		`allow rule 4 00000: CREATE ROLE a PASSWORD '***' → CREATE ROLE "orders_a" PASSWORD '***' IN ROLE "pgscope_db_orders"`,
		`allow rule 4 42710: CREATE ROLE a → CREATE ROLE "orders_a" IN ROLE "pgscope_db_orders"`,
		`warn watched 42501: CREATE ROLE watched → CREATE ROLE "orders_watched" IN ROLE "pgscope_db_orders" (1 of 2)`,
		`deny forbidden 42501: CREATE ROLE forbidden → SELECT pg_catalog.pgscope_refused_0() (2 of 2)`,
		`refuse  42939: CREATE ROLE pg_mine → SELECT pg_catalog.pgscope_refused_0()`,
		`allow rule 4 00000: BEGIN; DROP ROLE a → BEGIN; DROP ROLE "orders_a"`,
		`allow rule 4 00000: CREATE ROLE b → CREATE ROLE "orders_b" IN ROLE "pgscope_db_orders"`,
		`allow rule 4 00000: DROP ROLE a → DROP ROLE "orders_a"`,
		`allow rule 4 42704: DROP ROLE a → DROP ROLE "orders_a"`,
		`deny not-mallory 28000:  → `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

// TestAuditOfWhatFollows: roles that are renamed or dropped with their schema or database are in the record, by name.
func TestAuditOfWhatFollows(t *testing.T) {
	database(t, scoped(), "orders")
	e, records := audited(t, withPolicy(t, "rules: [{statement: [drop role, rename role], action: deny}, {action: allow}]"))
	for _, text := range []struct{ database, sql string }{
		{"orders", "CREATE SCHEMA s"},
		{"orders", "CREATE ROLE s.k"},
		{"orders", "CREATE ROLE app"},
		{"orders", "CREATE ROLE stays"},
		{"orders", "ALTER SCHEMA s RENAME TO s2"},
		{"orders", "BEGIN; DROP SCHEMA s2"},
		{"orders", "DROP SCHEMA IF EXISTS nosuch"},
		{"postgres", "ALTER DATABASE orders RENAME TO store"},
		{"postgres", "ALTER DATABASE store RENAME TO orders"},
	} {
		c := e.connect(t, text.database, "postgres")
		if _, err := c.Exec(t.Context(), text.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("%s: %v", text.sql, err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	scoped().Psql(t, "postgres", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_stays")
	c := e.connect(t, "postgres", "postgres")
	if _, err := c.Exec(t.Context(), "DROP DATABASE orders", pgx.QueryExecModeExec); err != nil {
		t.Error(err)
	}
	var got []string
	for _, r := range records() {
		if strings.HasPrefix(r.Statement, "CREATE") {
			continue
		}
		var what []string
		for _, a := range r.Actions {
			what = append(what, fmt.Sprint(a.Kind, " ", a.Role, " ", a.Cluster, " ", a.Grantee, a.Decision))
		}
		slices.Sort(what)
		got = append(got, fmt.Sprintf("%s %s %s: %s: %s", r.Database, r.Decision, r.Result, r.Statement, strings.Join(what, ", ")))
		if !strings.HasPrefix(r.Sent, "DO LANGUAGE plpgsql ") {
			t.Errorf("sent %q", r.Sent)
		}
	}
	want := []string{
		"orders allow 00000: ALTER SCHEMA s RENAME TO s2: rename role s.k orders_s_k orders_s2_k",
		"orders allow 00000: BEGIN; DROP SCHEMA s2: drop role s2.k orders_s2_k ",
		"postgres allow 00000: ALTER DATABASE orders RENAME TO store: rename role app orders_app store_app, " +
			"rename role s2.k orders_s2_k store_s2_k, rename role stays orders_stays store_stays",
		"postgres allow 00000: ALTER DATABASE store RENAME TO orders: rename role app store_app orders_app, " +
			"rename role s2.k store_s2_k orders_s2_k, rename role stays store_stays orders_stays",
		"postgres allow 00000: DROP DATABASE orders: drop role app orders_app , drop role s2.k orders_s2_k ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
	scoped().Psql(t, "postgres", "DROP TABLE kept")
}

// TestAuditOfPlainLogins: who comes without TLS where it is required is in the record.
func TestAuditOfPlainLogins(t *testing.T) {
	certified := pgtest.Start(t, pgtest.Options{TLS: true})
	e, records := audited(t, withTLS(t, certified), func(o *proxy.Options) { o.ClientTLS = proxy.TLSRequire })
	if _, err := pgconn.Connect(t.Context(), e.dsn("orders", "postgres")); !strings.HasPrefix(ending(err), "FATAL 28000") {
		t.Errorf("a login without TLS: error %v, want FATAL 28000", err)
	}
	list := records()
	if len(list) != 1 || list[0].Event != audit.Login || list[0].User != "postgres" || list[0].Database != "orders" || list[0].Result != "28000" {
		t.Errorf("records %+v, want one of a refused login", list)
	}
}

// TestAuditOfWhatIsCutOff: a session that ends before the server's answer leaves a record that says so.
func TestAuditOfWhatIsCutOff(t *testing.T) {
	database(t, scoped(), "orders")
	e, records := audited(t, permissive(t))
	holder := e.connect(t, "orders", "postgres")
	if _, err := holder.Exec(t.Context(), "BEGIN; CREATE ROLE a"); err != nil {
		t.Fatal(err)
	}
	c := e.connect(t, "orders", "postgres").PgConn()
	c.Frontend().Send(&pgproto3.Query{String: "CREATE ROLE a"})
	if err := c.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
	if err := c.Conn().Close(); err != nil {
		t.Fatal(err)
	}
	awaitNone(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
	var got []string
	for _, r := range records() {
		got = append(got, r.Result+" "+r.Statement)
	}
	if diff := cmp.Diff([]string{"00000 BEGIN; CREATE ROLE a", "unknown CREATE ROLE a"}, got); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

// TestWarnings: what the policy warns of reaches the client in front of the statement's own answer.
func TestWarnings(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), withPolicy(t, policyOfTests))
	c := e.connect(t, "orders", "postgres").PgConn()
	c.Frontend().SendParse(&pgproto3.Parse{Query: "SELECT 1"})
	for _, sql := range []string{"CREATE ROLE a", "CREATE ROLE watched"} {
		c.Frontend().SendParse(&pgproto3.Parse{Query: sql})
		c.Frontend().SendBind(&pgproto3.Bind{})
		c.Frontend().SendExecute(&pgproto3.Execute{})
	}
	c.Frontend().SendSync(&pgproto3.Sync{})
	c.Frontend().SendQuery(&pgproto3.Query{String: "SELECT 2; COMMENT ON ROLE watched IS 'x'"})
	if err := c.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for ready := 0; ready < 2; {
		m, err := c.Frontend().Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.NoticeResponse:
			got = append(got, m.Severity+" "+m.Code+" "+m.Message+" / "+m.Detail+" / "+m.Hint)
		case *pgproto3.CommandComplete:
			got = append(got, string(m.CommandTag))
		case *pgproto3.ParseComplete:
			got = append(got, "parsed")
		case *pgproto3.ReadyForQuery:
			ready++
			got = append(got, "ready")
		case *pgproto3.ErrorResponse:
			t.Fatal(m.Message)
		}
	}
	const warning = `WARNING 01000 this role is watched / Rule "watched" of test.yaml:3 warns of it. / Ask first.`
	want := []string{
		"parsed", "parsed", "CREATE ROLE", warning, "parsed", "CREATE ROLE", "ready",
		warning, "SELECT 1", "COMMENT", "ready",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPolicyChanges: what was prepared under one policy is executed under the next, and who may no longer be connected is
// told so.
func TestPolicyChanges(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "postgres", "CREATE ROLE bob LOGIN SUPERUSER")
	server, stop := serve(t, scoped(), permissive(t))
	t.Cleanup(stop)
	e := reach(t, server.Addresses()[0])
	c := e.connect(t, "orders", "postgres").PgConn()
	for name, sql := range map[string]string{"create": "CREATE ROLE a", "forbidden": "CREATE ROLE forbidden"} {
		if _, err := c.Prepare(t.Context(), name, sql, nil); err != nil {
			t.Fatal(err)
		}
	}
	bob := e.connect(t, "orders", "bob").PgConn()

	var o proxy.Options
	withPolicy(t, policyOfTests+"  - {statement: connect, user: bob, action: deny, hint: Go home.}")(&o)
	if err := server.Reload(o.Settings); err != nil {
		t.Fatal(err)
	}
	_, err := bob.ReceiveMessage(t.Context())
	if gone := (*pgconn.PgError)(nil); !errors.As(err, &gone) || gone.Severity != "FATAL" || gone.Code != "57P01" || gone.Hint != "Go home." {
		t.Errorf("a session that the new policy denies was told %v", err)
	}
	if r := c.ExecPrepared(t.Context(), "forbidden", nil, nil, nil).Read(); r.Err == nil || !strings.Contains(r.Err.Error(), "permission denied by policy") {
		t.Errorf("executed: %v", r.Err)
	}
	if r := c.ExecPrepared(t.Context(), "create", nil, nil, nil).Read(); r.Err != nil {
		t.Error(r.Err)
	}
	if diff := cmp.Diff([]string{"bob", "orders_a", "pgscope_db_orders"}, roles(t, scoped())); diff != "" {
		t.Errorf("roles (-want +got)\n%s", diff)
	}
}

// synced is a buffer for writers of several goroutines.
type synced struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

func (s *synced) Sync() error { return nil }

// TestNoSecretIsTold runs statements with a secret along every path, and looks for it in every output.
func TestNoSecretIsTold(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "orders", "CREATE EXTENSION postgres_fdw")
	const canary = "canary4711"
	var log synced
	metrics := prometheus.NewRegistry()
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &log, zap.DebugLevel))
	var spans synced
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(&spans, r.Body); err != nil {
			t.Error(err)
		}
	}))
	defer collector.Close()
	tracer, err := trace.New(t.Context(), trace.Options{Endpoint: collector.URL, Ratio: 1, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	e, records := audited(t, withPolicy(t, policyOfTests), func(o *proxy.Options) { o.Log, o.Metrics, o.Tracer = logger, metrics, tracer })
	c := e.connect(t, "orders", "postgres")
	for _, sql := range []string{
		"CREATE ROLE a LOGIN PASSWORD 'canary4711'",
		"CREATE ROLE a ENCRYPTED PASSWORD 'canary4711'", // exists
		"ALTER ROLE forbidden PASSWORD 'canary4711'",
		"ALTER ROLE watched PASSWORD 'canary4711'",
		"ALTER ROLE a PASSWORD E'canary4711' VALID UNTIL 'never'",
		"ALTER ROLE a PASSWORD canary4711",
		"ALTER ROLE a PASSWORD 'canary4711",
		"ALTER ROLE pg_monitor PASSWORD 'canary4711'",
		"DO $$ BEGIN ALTER ROLE a PASSWORD 'canary4711'; END $$",
		"DO $$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', 'canary4711'); END $$",
		"CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'a', password 'canary4711')",
		"ALTER USER MAPPING FOR a SERVER s OPTIONS (SET password 'canary4711')",
		"ALTER USER MAPPING FOR nobody SERVER s OPTIONS (SET password 'canary4711')",
		"CREATE ROLE b; CREATE SUBSCRIPTION s CONNECTION 'host=x password=canary4711' PUBLICATION p",
		"CREATE ROLE c; SELECT dblink_connect('dbname=x password=canary4711')",
		"GRANT a TO b /* password=canary4711 */",
		"GRANT a TO b -- token: canary4711",
		"SET standard_conforming_strings = off",
		`ALTER ROLE a PASSWORD 'it\'s canary4711'`,
	} {
		_, _ = c.PgConn().Exec(t.Context(), sql).ReadAll() // some fail
	}
	if _, err := c.Prepare(t.Context(), "s", "ALTER ROLE a PASSWORD 'canary4711'"); err != nil {
		t.Error(err)
	}
	if _, err := c.Exec(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	if _, err := pgx.Connect(t.Context(), e.dsn("orders", "mallory")+" password=canary4711"); err == nil {
		t.Error("mallory is in")
	}
	list := records()
	text, err := json.Marshal(list)
	if err != nil || len(list) < 15 {
		t.Errorf("%d records: %v", len(list), err)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	scrape := httptest.NewRecorder()
	promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}).ServeHTTP(scrape, httptest.NewRequest("GET", "/", nil))
	for output, content := range map[string]string{
		"audit": string(text), "log": log.String(), "metrics": scrape.Body.String(), "traces": spans.String(),
	} {
		if i := strings.Index(content, canary); i >= 0 || content == "" {
			t.Errorf("%s tells: %s", output, content[max(0, i-200):min(len(content), max(0, i)+100)])
		}
	}
}

// TestAuditOfWhatNamesStandFor: what is executed has a record, also where the server has not done what would
// have changed what its name stands for: it was skipped behind an error, or failed, or the name is one of
// which the server sees the beginning only.
func TestAuditOfWhatNamesStandFor(t *testing.T) {
	database(t, scoped(), "orders")
	long := strings.Repeat("n", 63)
	fails := []pgproto3.FrontendMessage{&parse{Query: "SELECT 1/0"}, &bind{}, &execute{}}
	run := func(name string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{&bind{PreparedStatement: name}, &execute{}, &pgproto3.Sync{}}
	}
	tooLong := func(role string) [][]pgproto3.FrontendMessage { // of which the server makes 63 bytes too
		portal := strings.Repeat("p", 1<<12)
		return [][]pgproto3.FrontendMessage{
			{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
			{&bind{PreparedStatement: "s", DestinationPortal: portal}, &execute{Portal: portal[:63]}, &pgproto3.Sync{}},
			run("s"),
		}
	}
	for _, c := range []struct {
		name string
		talk func(role string) [][]pgproto3.FrontendMessage // each ends with Sync
	}{
		{"Close is skipped", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				pipeline(fails, []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: "s"}}, syncPoint()), run("s"),
			}
		}},
		{"DEALLOCATE is skipped", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				pipeline(fails, statement("DEALLOCATE s"), syncPoint()), run("s"),
			}
		}},
		{"DEALLOCATE is not run", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &query{String: "SELECT 1/0; DEALLOCATE s"}, &pgproto3.Sync{}}, run("s"),
			}
		}},
		{"DEALLOCATE, and PREPARE of another", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				run("s"),
				{&query{String: "DEALLOCATE s; PREPARE s AS SELECT 1"}, &pgproto3.Sync{}},
				run("s"),
			}
		}},
		{"DEALLOCATE in another mode", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				run("s"),
				{&query{String: "SET pgscope.mode = off"}},
				{&query{String: "DEALLOCATE s; PREPARE s AS SELECT 1"}, &pgproto3.Sync{}},
				run("s"),
			}
		}},
		{"Parse is skipped", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				{&bind{PreparedStatement: "nosuch"}, &parse{Query: "SELECT 1"}, &pgproto3.Sync{}},
				run(""),
			}
		}},
		{"Parse fails", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&parse{Name: "s", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}},
				{&parse{Name: "s", Query: "SELECT 1"}, &pgproto3.Sync{}},
				run("s"),
			}
		}},
		{"Bind fails", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{
				{&query{String: "BEGIN"}, &parse{Name: "s", Query: "CREATE ROLE " + role}, &bind{PreparedStatement: "s", DestinationPortal: "p"}, &pgproto3.Sync{}},
				{&query{String: "SAVEPOINT a"}, &parse{Query: "SELECT 1"}, &bind{DestinationPortal: "p"}, &pgproto3.Sync{}},
				{&query{String: "ROLLBACK TO a"}, &execute{Portal: "p"}, &pgproto3.Sync{}},
				{&query{String: "COMMIT"}, &pgproto3.Sync{}},
			}
		}},
		{"a message that is too long", tooLong},
		{"a long name", func(role string) [][]pgproto3.FrontendMessage {
			return [][]pgproto3.FrontendMessage{{&parse{Name: long + "one", Query: "CREATE ROLE " + role}, &pgproto3.Sync{}}, run(long + "two")}
		}},
	} {
		for _, atOnce := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", c.name, atOnce), func(t *testing.T) {
				e, records := audited(t, permissive(t), func(o *proxy.Options) { o.MaxStatement = 1 << 10 })
				d := e.open(t, "orders", "postgres")
				role := fmt.Sprintf("made_%v", atOnce)
				d.query("DROP ROLE IF EXISTS " + role)
				talk := c.talk(role)
				if atOnce {
					d.say(pipeline(talk...)...)
				}
				for _, messages := range talk {
					if !atOnce {
						d.say(messages...)
					}
					for _, m := range messages {
						switch m.(type) {
						case *query, *pgproto3.Sync:
							d.ready(1)
						}
					}
				}
				if !slices.Contains(roles(t, scoped()), "orders_"+role) {
					t.Fatalf("not made: %q", d.lines)
				}
				d.say(&pgproto3.Terminate{})
				madeOnce(t, records())
			})
		}
	}
}

// TestAuditBehindCopy: a COPY that fails before it reads leaves a Sync to be answered that another would have ignored,
// and what is behind that is executed, and has a record.
func TestAuditBehindCopy(t *testing.T) {
	database(t, scoped(), "orders")
	scoped().Psql(t, "orders", `CREATE TABLE plain (a int); CREATE VIEW v AS SELECT 1 AS a; CREATE TABLE slow (a int);
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RAISE division_by_zero; END';
		CREATE TRIGGER fails BEFORE INSERT ON slow FOR EACH STATEMENT EXECUTE FUNCTION fail()`)
	run := []pgproto3.FrontendMessage{&bind{PreparedStatement: "s"}, &execute{}, &pgproto3.Sync{}}
	copyTo := func(table string) []pgproto3.FrontendMessage {
		return pipeline(statement("COPY "+table+" FROM STDIN"), syncPoint())
	}
	copied := []pgproto3.FrontendMessage{&pgproto3.CopyDone{}, &pgproto3.Sync{}}
	for name, c := range map[string]struct {
		atOnce, later []pgproto3.FrontendMessage // what is said, and what when it is known that it is a COPY
		ready         int
	}{
		"at once":                        {pipeline(copyTo("v"), run), nil, 2},
		"at once, with CopyDone":         {pipeline(copyTo("v"), copied, run), nil, 3},
		"at once, and other Syncs":       {pipeline(copyTo("v"), copied, syncPoint(), run, syncPoint()), nil, 5},
		"while it is copied":             {copyTo("slow"), run, 2},
		"when all is copied":             {copyTo("slow"), pipeline(copied, run), 3},
		"when all is copied, Sync again": {copyTo("slow"), pipeline(syncPoint(), copied, run), 4},
		"behind a Query":                 {pipeline([]pgproto3.FrontendMessage{&query{String: "COPY v FROM STDIN"}}, syncPoint(), run), nil, 3},
		"behind a COPY that succeeds":    {copyTo("plain"), pipeline(syncPoint(), copied, run, syncPoint()), 3},
	} {
		t.Run(name, func(t *testing.T) {
			e, records := audited(t, permissive(t))
			d := e.open(t, "orders", "postgres")
			d.query("DROP ROLE IF EXISTS made")
			d.say(&parse{Name: "s", Query: "CREATE ROLE made"}, &pgproto3.Sync{})
			d.ready(1)
			d.say(c.atOnce...)
			if c.later != nil {
				until[*pgproto3.CopyInResponse](d)
				d.say(c.later...)
			}
			d.ready(c.ready)
			if !slices.Contains(roles(t, scoped()), "orders_made") {
				t.Fatalf("not made: %q", d.lines)
			}
			if got := d.query("DROP ROLE made"); got[0] != "done DROP ROLE" {
				t.Errorf("then it hears %q", got)
			}
			d.say(&pgproto3.Terminate{})
			madeOnce(t, records())
		})
	}
}

// madeOnce wants one record of a role that was made.
func madeOnce(t *testing.T, records []audit.Record) {
	t.Helper()
	made := 0
	for _, r := range records {
		if strings.HasPrefix(r.Statement, "CREATE ROLE") && r.Result == "00000" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d records", made)
	}
}
