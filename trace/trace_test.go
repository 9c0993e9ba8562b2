package trace

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInComment(t *testing.T) {
	const parent = "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01"
	for sql, want := range map[string]string{
		"":                    "",
		"DROP ROLE a":         "",
		"DROP ROLE a /":       "",
		"DROP ROLE a /*":      "",
		"DROP ROLE a /* x */": "",
		"DROP ROLE a /*traceparent='" + parent + "'*/":                               parent,
		"/*traceparent='" + parent + "'*/ DROP ROLE a":                               parent,
		"DROP /* x */ ROLE a /*db='x',traceparent='" + parent + "',tracestate='y'*/": parent,
		"DROP ROLE a -- traceparent='" + parent + "'":                                "",
		"DROP ROLE a /*traceparent='" + parent:                                       parent,
		"DROP ROLE \"traceparent='" + parent + "'\"":                                 "",
	} {
		if got := InComment(sql); got != want {
			t.Errorf("%s: %q", sql, got)
		}
	}
}

// TestOff: without a tracer nothing is done, and nothing is needed for that.
func TestOff(t *testing.T) {
	ctx := t.Context()
	var off *Tracer
	if n := testing.AllocsPerRun(100, func() {
		within, span := off.Begin(ctx, Work{Name: "login"})
		_, child := Child(within, "connect")
		child.End(nil)
		span.Was("tls", time.Time{}, time.Time{})
		span.Set()
		span.End(nil)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if err := off.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestBadText: a text that is no UTF-8 does not cost the others of its batch.
func TestBadText(t *testing.T) {
	got := make(chan int64, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.ContentLength }))
	defer s.Close()
	tracer, err := New(t.Context(), Options{Endpoint: s.URL, Ratio: 1, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Begin(t.Context(), Work{Name: "x"}, Text("user.name", "caf\xe9"), Text("db.query.text", strings.Repeat("é", maxText)), Texts("kinds", []string{"\xff"}))
	span.Fail("\xe9")
	span.End(nil)
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := <-got; n < maxText || n > 2*maxText {
		t.Errorf("%d bytes", n)
	}
}

// TestCollectorRefuses: the reason is told, and no header is.
func TestCollectorRefuses(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=s3cret")
	elsewhere := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if elsewhere++; r.URL.Path == "/v1/traces" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	defer s.Close()
	failed := make(chan error, 1)
	tracer, err := New(t.Context(), Options{Endpoint: s.URL, Ratio: 1, Failed: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Begin(t.Context(), Work{Name: "x"})
	span.End(nil)
	_ = tracer.Close(t.Context()) // what it says is what Failed is told
	if err := <-failed; !strings.Contains(err.Error(), "307 Temporary Redirect") || strings.Contains(err.Error(), "s3cret") || elsewhere != 1 {
		t.Errorf("%d requests: %v", elsewhere, err)
	}
}

func TestNewRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS": "s3cret", "OTEL_EXPORTER_OTLP_CERTIFICATE": bad, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": bad + "x",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, value)
			if _, err := New(context.Background(), Options{Endpoint: "http://127.0.0.1:4318"}); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want one that does not show the value", err)
			}
		})
	}
}
