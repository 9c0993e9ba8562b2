package integration

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// BenchmarkCatalog runs the queries of testdata/bench/catalog.sql as they are written and as the proxy sends
// them, in turns, in a cluster of 1,063 roles in 50 databases, and reports how long the server says that each
// took: the least and the median of its turns, in ms. As they are written they show all roles, else those of one
// database. A line more there is a query more.
//
// On 2 cores of an Intel Xeon that others used too, PostgreSQL 15, medians of 20 turns, as written and as sent: \du 2.8
// and 1.4 ms, \dp 0.89 and 1.2, pg_dumpall's list of roles 0.31 and 0.48, role_table_grants 3.0 and 3.7, pg_tables 0.21
// and 0.36; looking up one role 0.03 and 0.04, has_table_privilege 0.006 and 0.011.
func BenchmarkCatalog(b *testing.B) {
	manyRoles(b)
	var took float64
	at := direct(scoped()).observe(b, "orders", func(message string) {
		if m := duration.FindStringSubmatch(message); m != nil {
			took, _ = strconv.ParseFloat(m[1], 64)
		}
	})
	via := start(b, scoped(), permissive(b)).connect(b, "orders", "postgres")
	queries, err := os.ReadFile("testdata/bench/catalog.sql")
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range strings.Split(strings.TrimSpace(string(queries)), ";\n") {
		name, written, _ := strings.Cut(strings.TrimPrefix(q, "-- "), "\n")
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			texts := []string{strings.ReplaceAll(written, prefix, "orders_"), sent(b, via, strings.ReplaceAll(written, prefix, ""))}
			times := make([][]float64, len(texts))
			for b.Loop() {
				for i, sql := range texts {
					if err := at.Exec(b.Context(), sql).Close(); err != nil {
						b.Fatal(err)
					}
					times[i] = append(times[i], took)
				}
			}
			median := func(list []float64) float64 { return list[len(list)/2] }
			for i, what := range []string{"written", "sent"} {
				slices.Sort(times[i])
				b.ReportMetric(times[i][0], what+"-least-ms")
				b.ReportMetric(median(times[i]), what+"-median-ms")
			}
			b.ReportMetric(times[1][0]/times[0][0], "ratio-of-least")
			b.ReportMetric(median(times[1])/median(times[0]), "ratio-of-medians")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// prefix stands in the queries before the name of a role of the database: the client does not say it.
const prefix = "{orders_}"

// duration is what the server says of a statement with log_duration.
var duration = regexp.MustCompile(`^duration: ([0-9.]+) ms`)

// observe connects, and has the server tell how long each statement took.
func (e endpoint) observe(b *testing.B, database string, hear func(message string)) *pgconn.PgConn {
	b.Helper()
	cfg, err := pgconn.ParseConfig(e.dsn(database, "postgres") + " client_min_messages=log log_duration=on")
	if err != nil {
		b.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { hear(n.Message) }
	c, err := pgconn.ConnectConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.WithoutCancel(b.Context())) })
	return c
}

// sent returns what the proxy makes of a query: what the server has prepared.
func sent(b *testing.B, via *pgx.Conn, query string) (text string) {
	b.Helper()
	if _, err := via.PgConn().Prepare(b.Context(), "measured", query, nil); err != nil {
		b.Fatal(err)
	}
	err := via.QueryRow(b.Context(), "SELECT statement FROM pg_prepared_statements WHERE name = 'measured'", pgx.QueryExecModeSimpleProtocol).Scan(&text)
	if err == nil {
		err = via.PgConn().Deallocate(b.Context(), "measured")
	}
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// manyRoles makes 50 databases with 20 roles each, and 100 tables in one with owners and access lists.
func manyRoles(b *testing.B) {
	b.Helper()
	var script strings.Builder
	for d := range 50 {
		name := fmt.Sprintf("db%d", d)
		if d == 0 {
			name = "orders"
		}
		database(b, scoped(), name)
		fmt.Fprintf(&script, "\\c %s\n", name)
		for r := range 20 {
			fmt.Fprintf(&script, "CREATE ROLE r%d;\n", r)
		}
	}
	script.WriteString("\\c orders\nALTER ROLE r8 RENAME TO r_8;\n")
	for i := range 100 {
		fmt.Fprintf(&script, "CREATE TABLE t%d (a int); ALTER TABLE t%[1]d OWNER TO r%d; GRANT SELECT ON t%[1]d TO r%d, r%d;\n", i, i%5, i%5+1, i%5+2)
	}
	start(b, scoped(), permissive(b)).psql(b, "postgres", "postgres", script.String())
	b.Cleanup(func() {
		direct(scoped()).psql(b, "postgres", "postgres", "DROP DATABASE orders WITH (FORCE); DROP ROLE app_admin")
	})
	direct(scoped()).psql(b, "orders", "postgres", "CREATE ROLE app_admin; ANALYZE")
}
