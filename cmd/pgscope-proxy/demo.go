package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func newDemoCommand() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the story on a throw-away PostgreSQL server",
		Long: "demo starts a PostgreSQL server of its own with two databases, and the proxy in front of it, and shows what\n" +
			"happens to roles. On a terminal it then stays up for your own psql until Ctrl-C.",
		Example: "  pgscope-proxy demo --once",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), !once && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())))
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the story, also on a terminal")
	return c
}

// demo tells the story, and keeps the stage for the user if stay is set. Whatever happens, it leaves nothing running.
func demo(ctx context.Context, out io.Writer, stay bool) (err error) {
	p := &printer{w: out}
	p.printf("Starting a PostgreSQL server for the demo …\n")
	cluster, err := pgtest.Launch(ctx, "", pgtest.Options{})
	if err != nil {
		return fmt.Errorf("no PostgreSQL server for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()

	options, err := demoProxy(ctx, cluster)
	if err != nil {
		return err
	}
	return whileServing(ctx, options, func(server *proxy.Server) error {
		stage := demoStage{printer: p, psql: findPsql(cluster)}
		host, port, _ := strings.Cut(server.Addresses()[0], ":")
		stage.proxy = fmt.Sprintf("host=%s port=%s sslmode=disable", host, port)
		stage.server = fmt.Sprintf("host=%s port=%d sslmode=disable", cluster.Host, cluster.Port)
		p.printf("PostgreSQL %s listens on port %d, pgscope-proxy in front of it on port %s.\n", cluster.Major, cluster.Port, port)

		failed := stage.play(ctx)
		if stay && ctx.Err() == nil {
			p.printf("\nYour turn. Through the proxy, and on the server itself:\n\n    psql '%s user=postgres dbname=orders'\n"+
				"    psql '%s user=postgres dbname=orders'\n\nCtrl-C ends the demo and removes everything.\n", stage.proxy, stage.server)
			<-ctx.Done()
		}
		return errors.Join(failed, p.err)
	})
}

// whileServing runs f while a proxy serves.
func whileServing(ctx context.Context, o proxy.Options, f func(*proxy.Server) error) (err error) {
	s, err := proxy.New(o)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := s.Listen(ctx); err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-stopped)
	}()
	return f(s)
}

// printer prints until it cannot, and keeps the reason.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// demoProxy makes the databases, and says what the proxy in front of them works with.
func demoProxy(ctx context.Context, cluster *pgtest.Cluster) (o proxy.Options, err error) {
	setup, err := pgconn.Connect(ctx, cluster.DSN())
	if err != nil {
		return o, err
	}
	for _, name := range []string{"orders", "billing"} {
		if _, err := setup.Exec(ctx, "CREATE DATABASE "+name).ReadAll(); err != nil {
			return o, errors.Join(err, setup.Close(ctx))
		}
	}
	if err := setup.Close(ctx); err != nil {
		return o, err
	}
	upstream, err := proxy.NewUpstream(cluster.DSN())
	if err != nil {
		return o, err
	}
	admin, err := pgconn.ParseConfig(cluster.DSN())
	if err != nil {
		return o, err
	}
	return proxy.Options{
		Listen: []string{"127.0.0.1:0"}, Upstream: upstream, Admin: admin, Log: zap.NewNop(),
		Settings: proxy.Settings{Policy: policy.Default(), Grace: time.Second},
	}, nil
}

// demoStage is where the steps are played.
type demoStage struct {
	*printer
	proxy, server string // connection strings
	psql          string // path; empty where the machine has none
}

// findPsql looks beside the server first, then in PATH.
func findPsql(c *pgtest.Cluster) string {
	beside := filepath.Join(c.BinDir, "psql")
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	path, err := exec.LookPath("psql")
	if err != nil {
		return ""
	}
	return path
}

// play plays all steps, and returns an error if one did not come out as it should.
func (s demoStage) play(ctx context.Context) error {
	var failures []error
	for i, step := range demoSteps {
		where, dsn := "through the proxy", s.proxy
		if step.direct {
			where, dsn = "on the server itself", s.server
		}
		s.printf("\n%d. %s\n   (%s, database %s, as %s)\n\n", i+1, step.title, where, step.database, step.user)
		dsn = fmt.Sprintf("%s dbname=%s user=%s", dsn, step.database, step.user)
		do := func() (string, error) { return s.run(ctx, dsn, step.script) }
		if step.manifest != "" {
			if !slices.ContainsFunc(demoSteps[:i], func(before demoStep) bool { return before.manifest == step.manifest }) {
				s.printf("   %s\n", strings.ReplaceAll(step.manifest, "\n", "\n   "))
			}
			do = func() (string, error) { return applyManifest(ctx, dsn, step.manifest) }
		}
		output, err := do()
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		for line := range strings.Lines(output) {
			prompt := ""
			if sql, ended := strings.CutSuffix(line, ";\n"); ended && slices.Contains(step.script, sql) {
				prompt = step.database + "=> "
			}
			s.printf("   %s%s", prompt, line)
		}
		for _, want := range step.wants {
			if !strings.Contains(output, want) {
				failures = append(failures, fmt.Errorf("step %d did not show %q", i+1, want))
			}
		}
	}
	return errors.Join(failures...)
}

// applyManifest makes the access what a manifest says, and returns what was changed.
func applyManifest(ctx context.Context, dsn, text string) (string, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "", err
	}
	m, err := manifest.Parse("access.yaml", []byte(text), manifest.Options{Database: config.Database})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range partsOf(m, config, func(d *access.Desired) reconcile.Options { return reconcile.Options{Desired: d, Wait: true} }) {
		report, err := reconcile.Run(ctx, p.Options)
		if err != nil {
			return b.String(), err
		}
		if err := planText(&b, []result{{database: p.Database, shared: p.Shared, Report: report}}); err != nil {
			return b.String(), err
		}
	}
	return b.String(), nil
}

// run runs statements in psql, or where there is none by its own means, and returns what a terminal would show.
func (s demoStage) run(ctx context.Context, dsn string, script []string) (string, error) {
	if s.psql == "" {
		return runWithoutPsql(ctx, dsn, script)
	}
	cmd := exec.CommandContext(ctx, s.psql, "-X", "-a", dsn)
	cmd.Env = append(os.Environ(), "PAGER=", "LC_ALL=C")
	cmd.Stdin = strings.NewReader(strings.Join(script, ";\n") + ";\n")
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ctx.Err() == nil {
		return string(out), fmt.Errorf("psql: %w: %s", err, out)
	}
	return string(out), err
}

func runWithoutPsql(ctx context.Context, dsn string, script []string) (string, error) {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, sql := range script {
		b.WriteString(sql + ";\n")
		results, err := conn.Exec(ctx, sql).ReadAll()
		for _, r := range results {
			b.WriteString(showResult(r))
		}
		var failed *pgconn.PgError
		switch {
		case errors.As(err, &failed):
			b.WriteString("ERROR:  " + failed.Message + "\n")
		case err != nil:
			return b.String(), errors.Join(err, conn.Close(ctx))
		}
	}
	return b.String(), conn.Close(ctx)
}

func showResult(r *pgconn.Result) string {
	if len(r.FieldDescriptions) == 0 {
		return r.CommandTag.String() + "\n"
	}
	var b strings.Builder
	for _, f := range r.FieldDescriptions {
		b.WriteString(" " + f.Name + " |")
	}
	b.WriteByte('\n')
	for _, row := range r.Rows {
		for _, v := range row {
			b.WriteString(" " + string(v) + " |")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
