package pgtest

import (
	"archive/zip"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFetch fetches from a repository whose servers are three shell scripts (testdata/server.txz) that say
// "PostgreSQL 17.5" and make an empty data directory.
func TestFetch(t *testing.T) {
	archive, err := os.ReadFile("testdata/server.txz")
	if err != nil {
		t.Fatal(err)
	}
	var downloads atomic.Int32
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "-17.") || !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r)
			return
		}
		downloads.Add(1)
		jar := zip.NewWriter(w)
		if f, err := jar.Create("postgres.txz"); err != nil {
			t.Error(err)
		} else if _, err := f.Write(archive); err != nil {
			t.Error(err)
		}
		if err := jar.Close(); err != nil {
			t.Error(err)
		}
	}))
	defer repository.Close()
	t.Setenv(MirrorEnv, repository.URL)
	t.Setenv("TMPDIR", t.TempDir()) // the library leaves its log there
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := acct.tempDir(t.Context(), "/tmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(cache); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(filepath.Join(cache, ".fetch", "interrupted"), 0o755); err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			in, err := fetch(t.Context(), acct, cache, "17")
			if want := (install{bin: filepath.Join(cache, "17", "bin"), major: "17"}); err != nil || in != want {
				t.Errorf("got %v %v, want %v", in, err, want)
			}
		})
	}
	wg.Wait()
	if n := downloads.Load(); n != 1 {
		t.Errorf("downloaded %d times", n)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx   context.Context
		major string
		want  string
	}{
		{t.Context(), "16", "no version found matching 16"},
		{t.Context(), "9", "not among the versions to be had: [14 15 16 17 18]"},
		{cancelled, "16", "context canceled"},
	} {
		if _, err := fetch(c.ctx, acct, cache, c.major); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.major, err, c.want)
		}
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 2 { // the lock and the server
		t.Errorf("in the cache: %v %v", left, err)
	}
}

// Who has no home has no cache, and needs none where a server is installed.
func TestFindWithoutHome(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	installed, err := find(t.Context(), acct, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", installed.bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if in, err := find(t.Context(), account{}, installed.major); err != nil || in.major != installed.major {
		t.Errorf("got %v %v, want %v", in, err, installed)
	}
	_, err = find(t.Context(), account{}, "9")
	if err == nil || !strings.Contains(err.Error(), "no PostgreSQL 9 on this machine") || !strings.Contains(err.Error(), "HOME") {
		t.Errorf("got %v", err)
	}
}
