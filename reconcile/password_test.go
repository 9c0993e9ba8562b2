package reconcile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// A password is set once, logs in, and is nowhere in clear. Passwords that SASLprep changes, or does not allow, too: the
// server's own verifier of the same password is found equal.
func TestPasswords(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{
		HBA:    []string{"local all all trust", "host all postgres all trust", "host all all all scram-sha-256"},
		Config: map[string]string{"log_statement": "all", "log_min_error_statement": "debug5"},
	})
	b := &bench{t, cluster, "postgres"}
	psql := filepath.Join(cluster.BinDir, "psql")
	if _, err := os.Stat(psql); err != nil { // fetched servers come without clients
		if psql, err = exec.LookPath("psql"); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "password")
	for i, password := range []string{"plain secret", "ünï\u00adcode", "ﬁ\u00a0lig", "bell\u0007\u00e9", "\u0627\u0031", "日本", "Ⅸ"} {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := role("user")
		r.Login, r.Password = true, &access.Password{FromFile: file}
		o := b.options(&access.Desired{Roles: []access.Role{r}})
		if got := b.apply(o); len(got.Made) == 0 || strings.Contains(got.Plan.Changes[0].SQL, password) {
			t.Errorf("%q: %v", password, got.Plan.Changes)
		}
		b.settled(o)
		login := exec.Command(psql, "-X", "-c", "SELECT 1", cluster.DSN("user=postgres_user")) // libpq: not every client has SASLprep
		login.Env = append(os.Environ(), "PGPASSWORD="+password, "PGCLIENTENCODING=UTF8")
		if out, err := login.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", password, err, out)
		}
		if i == 0 && strings.Contains(cluster.Log(), password) {
			t.Error("the password is in the server's log")
		}
		// What the server makes of it.
		b.sql(`SET log_statement TO none; SET log_min_error_statement TO panic; ALTER ROLE postgres_user PASSWORD '` + password + `'`)
		b.settled(o)
	}
}

// A password is hashed as often as the server does it.
func TestPasswordIterations(t *testing.T) {
	b := newBench(t, "rec_rounds")
	want := "4096"
	if b.major() >= 16 {
		want = "5000"
		b.sql(`ALTER DATABASE rec_rounds SET scram_iterations TO ` + want)
	}
	t.Setenv("REC_ROUNDS", "secret")
	o := b.options(b.manifest(`roles: [{name: user, login: true, password: {from_env: REC_ROUNDS}}]`))
	b.apply(o)
	b.settled(o)
	if got := b.sql(`SELECT split_part(split_part(rolpassword, ':', 1), '$', 2) FROM pg_authid WHERE rolname = 'rec_rounds_user'`); got != want+"\n" {
		t.Errorf("%s, want %s", got, want)
	}
}

// An environment variable that is not there is told of, and nothing is done.
func TestNoPassword(t *testing.T) {
	b := newBench(t, "rec_nopass")
	r := role("user")
	r.Password = &access.Password{FromEnv: "RECONCILE_TEST_NO_SUCH_VARIABLE"}
	if _, err := Run(t.Context(), b.options(&access.Desired{Roles: []access.Role{r}})); err == nil || !strings.Contains(err.Error(), "RECONCILE_TEST_NO_SUCH_VARIABLE") {
		t.Errorf("%v", err)
	}
}
