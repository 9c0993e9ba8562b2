package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// BenchmarkCatalog runs queries of the catalogs of a cluster with 1,000 roles in 50 databases directly and through the
// proxy, in turns, and reports how many times longer they take. Directly they show all roles, through the proxy those of one
// database.
func BenchmarkCatalog(b *testing.B) {
	database(b, scoped(), "orders")
	var script strings.Builder
	for d := range 50 {
		name := "orders"
		if d > 0 {
			name = fmt.Sprintf("db%d", d)
			database(b, scoped(), name)
		}
		fmt.Fprintf(&script, "\\c %s\n", name)
		for r := range 20 {
			fmt.Fprintf(&script, "CREATE ROLE r%d;\n", r)
		}
	}
	via := start(b, scoped(), permissive(b))
	via.psql(b, "postgres", "postgres", script.String())
	script.Reset()
	for i := range 100 {
		fmt.Fprintf(&script, "CREATE TABLE t%d (a int); ALTER TABLE t%[1]d OWNER TO r%d; GRANT SELECT ON t%[1]d TO r%d, r%d;\n", i, i%20, (i+1)%20, (i+2)%20)
	}
	via.psql(b, "orders", "postgres", script.String())
	b.Cleanup(func() { direct(scoped()).psql(b, "postgres", "postgres", "DROP DATABASE orders WITH (FORCE)") })
	direct(scoped()).psql(b, "orders", "postgres", "ANALYZE")
	at, through := direct(scoped()).connect(b, "orders", "postgres"), via.connect(b, "orders", "postgres")
	queries, err := os.ReadFile("testdata/bench/catalog.sql")
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range strings.Split(strings.TrimSpace(string(queries)), ";\n") {
		name, sql, _ := strings.Cut(strings.TrimPrefix(q, "-- "), "\n")
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			var took [2]time.Duration
			for b.Loop() {
				for i, c := range []*pgx.Conn{at, through} {
					began := time.Now()
					if err := c.PgConn().Exec(b.Context(), sql).Close(); err != nil {
						b.Fatal(err)
					}
					took[i] += time.Since(began)
				}
			}
			b.ReportMetric(float64(took[0].Microseconds())/float64(b.N), "direct-µs")
			b.ReportMetric(float64(took[1].Microseconds())/float64(b.N), "proxy-µs")
			b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
		})
	}
}
