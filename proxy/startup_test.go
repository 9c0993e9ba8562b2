package proxy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func TestOptionsWithoutRoles(t *testing.T) {
	set := func(role string) engine.StartRole { return engine.StartRole{Role: role, Set: true} }
	for _, c := range []struct {
		options, kept string
		role          engine.StartRole
	}{
		{options: "", kept: ""},
		{options: " -c  geqo=off ", kept: " -c  geqo=off "},
		{options: "-c role=x", role: set("x")},
		{options: "-crole=x", role: set("x")},
		{options: "--role=x", role: set("x")},
		{options: "--ROLE=x -c Role=y", role: set("y")},
		{options: `-c role=a\ b\\c`, role: set(`a b\c`)},
		{options: `-c geqo=off -c role=x -c search_path=a,\ b`, kept: `-c geqo=off -c search_path=a,\ b`, role: set("x")},
		{options: "-c role=", role: set("")},
		{options: "-ic role=x", kept: "-i", role: set("x")},
		{options: "-icrole=x -e", kept: "-i -e", role: set("x")},
		{options: "-c my.role=x -c geqo=role=x", kept: "-c my.role=x -c geqo=role=x"},
		{options: "-h -crole=x", kept: "-h -crole=x"},
		{options: "-- -c role=x", kept: "-- -c role=x"},
		{options: "x -c role=x", kept: "x -c role=x"},
		{options: "-c", kept: "-c"},
		{options: "-c role", kept: "-c role"},
		{options: `-c role=x\`, role: set("x")},
		{
			options: "--session-authorization=y -c session_authorization=z",
			role:    engine.StartRole{Authorization: "z", Authorized: true},
		},
	} {
		var role engine.StartRole
		if got := walkOptions(c.options, takeRole(&role)); got != c.kept || role != c.role {
			t.Errorf("%q: %q, %+v; want %q, %+v", c.options, got, role, c.kept, c.role)
		}
	}
}

// TestOptionsOnTheServer: what the proxy takes for a role is the role that the server sets, and of what is left the
// server makes the same. The words are put together in all ways of two, and some of three.
func TestOptionsOnTheServer(t *testing.T) {
	c := pgtest.Shared(t)
	t.Cleanup(func() { c.DropRoles(t, "^options_") })
	c.Psql(t, "postgres", "CREATE ROLE options_a; CREATE ROLE options_b")
	begin := func(options string) string {
		config, err := pgconn.ParseConfig(c.DSN())
		if err != nil {
			t.Fatal(err)
		}
		config.RuntimeParams["options"] = options
		conn, err := pgconn.ConnectConfig(t.Context(), config)
		if err != nil {
			return "refused"
		}
		defer func() { _ = conn.Close(t.Context()) }() // the answer is there
		const sql = "SELECT current_setting('role') || ' ' || current_setting('geqo') || ' ' || coalesce(current_setting('my.x', true), '')"
		rows, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return string(rows[0].Rows[0][0])
	}
	words := []string{
		"-c", "-crole=options_a", "--role=options_b", "--ROLE=options_a", "role=options_a", `ro\le=options_b`, "-c role=options_a", "-ic", "-iecrole=options_b",
		"-c-", "-", "--", "---role=options_a", "x", "-cgeqo=off", "--my.x=role=options_a", "-S", "-S 100", "-c my.x=-crole=options_a", "-B", `-c\ role=options_b`, `\-crole=options_a`,
	}
	var texts []string
	random := rand.New(rand.NewPCG(1, 2))
	for _, a := range words {
		texts = append(texts, a)
		for _, b := range words {
			texts = append(texts, a+" "+b)
		}
		texts = append(texts, a+"\t "+words[random.IntN(len(words))]+" "+words[random.IntN(len(words))])
	}
	for _, text := range texts {
		var role engine.StartRole
		kept := walkOptions(text, takeRole(&role))
		whole, rest := begin(text), begin(kept)
		none, others, _ := strings.Cut(rest, " ")
		if none == "none" && role.Set {
			rest = role.Role + " " + others
		}
		if whole != rest || none != "none" && none != "refused" {
			t.Errorf("%q: the server makes %q of it, of what is left, %q, with %+v, %q", text, whole, kept, role, rest)
		}
	}
}

func TestParametersWithoutRoles(t *testing.T) {
	s := wire.Startup{Parameters: []wire.Parameter{
		{Name: "user", Value: "ann"}, {Name: "ROLE", Value: "x"}, {Name: "options", Value: "-c role=y"}, {Name: "session_authorization", Value: "z"},
	}}
	got, role := withoutRoles(s)
	if diff := cmp.Diff([]wire.Parameter{{Name: "user", Value: "ann"}}, got.Parameters); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if want := (engine.StartRole{Role: "x", Set: true, Authorization: "z", Authorized: true}); role != want {
		t.Errorf("got %+v, want %+v", role, want)
	}
}

// FuzzOptions: what is left of options reads as the words that it is made of, and names no role any more.
func FuzzOptions(f *testing.F) {
	f.Add(`-c role=a\ b --role=x -ic session-authorization=y -c geqo=off`)
	f.Fuzz(func(t *testing.T, options string) {
		if words := splitOptions(options); !slices.Equal(splitOptions(joinOptions(words)), words) && !slices.Contains(words, "") {
			t.Errorf("%q: %q is joined to %q", options, words, joinOptions(words))
		}
		var role, again engine.StartRole
		kept := walkOptions(options, takeRole(&role))
		if walkOptions(kept, takeRole(&again)) != kept || again != (engine.StartRole{}) {
			t.Errorf("%q: %q is left, and says %+v", options, kept, again)
		}
		if strings.Contains(options, "role") && len(kept) > 2*len(options) {
			t.Errorf("%q grew to %q", options, kept)
		}
	})
}
