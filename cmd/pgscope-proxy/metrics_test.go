package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// metricNames finds the metrics in an expression of Prometheus, or in a text with some.
var metricNames = regexp.MustCompile(`\b(?:pgscope|process|go)_[a-z0-9_]+`)

// TestMetrics holds the metrics to the conventions, and the dashboard and the alert rules to the metrics that there are.
func TestMetrics(t *testing.T) {
	dir, server := t.TempDir(), pgtest.Shared(t).DSN()
	manifest := filepath.Join(dir, "access.yaml")
	if err := os.WriteFile(manifest, []byte("roles: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := serveCommand(t, "--upstream", server, "--admin-dsn", server, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
		"--audit-file", filepath.Join(dir, "audit.log"), "--manifest", manifest, "--pool", "session")
	text := get(t, "http://"+log.until("ready").HTTP+"/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pgscope_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	known := make(map[string]bool)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			known[metricNames.FindString(line)] = true
		}
	}
	const folder = "../../packaging/monitoring/"
	for _, file := range []string{"dashboard.json", "alerts.yaml"} {
		content, err := os.ReadFile(folder + file)
		if err != nil {
			t.Fatal(err)
		}
		named := metricNames.FindAllString(string(content), -1)
		if len(named) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range named {
			if !known[name] {
				t.Errorf("%s: the program has no metric %s", file, name)
			}
		}
	}
	dashboard, err := os.ReadFile(folder + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if strings.HasPrefix(name, "pgscope_") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") &&
			!strings.Contains(string(dashboard), name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	if !json.Valid(dashboard) {
		t.Error("the dashboard is not JSON")
	}
	documented(t, text)
}

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `(pgscope_[a-z_]+)(?:\\{([a-z]+)\\})?` \\| (.*) \\|$")
	metricType = regexp.MustCompile(`(?m)^# TYPE (pgscope_\S+)`)
	labelled   = regexp.MustCompile(`(?m)^(pgscope_[a-z_]+)\{([a-z]+)="([^"]*)"\}`)
)

// documented holds the tables of metrics in docs to the metrics, with their labels' values.
func documented(t *testing.T, metrics string) {
	t.Helper()
	const folder = "../../docs/"
	type row struct{ label, text string }
	rows := make(map[string]row)
	for _, page := range []string{"operations.md", "reconciler.md"} {
		content, err := os.ReadFile(folder + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricRow.FindAllStringSubmatch(string(content), -1) {
			rows[m[1]] = row{m[2], m[3]}
		}
	}
	have := make(map[string]bool)
	for _, m := range metricType.FindAllStringSubmatch(metrics, -1) {
		have[m[1]] = true
		if _, ok := rows[m[1]]; !ok {
			t.Errorf("%s: no table in docs has it", m[1])
		}
	}
	for name := range rows {
		if !have[name] {
			t.Errorf("%s: docs have it, the program has not", name)
		}
	}
	for _, m := range labelled.FindAllStringSubmatch(metrics, -1) {
		name, label, value := m[1], m[2], m[3]
		if !have[name] { // a bucket of a histogram
			continue
		}
		if r := rows[name]; r.label != label || label != "version" && !regexp.MustCompile(`\b`+regexp.QuoteMeta(value)+`\b`).MatchString(r.text) {
			t.Errorf("%s: docs do not have %s %q", name, label, value)
		}
	}
}
