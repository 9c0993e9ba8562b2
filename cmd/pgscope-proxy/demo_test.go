package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestDemo plays the story as users see it, and as they do on a machine without psql.
func TestDemo(t *testing.T) {
	t.Run("psql", func(t *testing.T) {
		var out bytes.Buffer
		if code := execute(t.Context(), []string{"demo", "--once"}, &out, &out); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, &out)
		}
		if strings.Contains(out.String(), "Your turn") {
			t.Error("stays up without a terminal")
		}
	})
	t.Run("without", func(t *testing.T) {
		var out bytes.Buffer
		c := pgtest.Start(t, pgtest.Options{})
		options, err := demoProxy(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		err = whileServing(t.Context(), options, func(server *proxy.Server) error {
			_, port, _ := strings.Cut(server.Addresses()[0], ":")
			stage := demoStage{
				printer: &printer{w: &out},
				proxy:   fmt.Sprintf("host=127.0.0.1 port=%s sslmode=disable", port),
				server:  fmt.Sprintf("host=127.0.0.1 port=%d sslmode=disable", c.Port),
			}
			return stage.play(t.Context())
		})
		if err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
	})
}
