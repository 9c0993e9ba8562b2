package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

func newPolicyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Ask a policy"}
	onlyCommands(c)
	c.AddCommand(newPolicyTestCommand())
	return c
}

func newPolicyTestCommand() *cobra.Command {
	var t policyTest
	c := &cobra.Command{
		Use:   "test --user USER --database DATABASE 'SQL'",
		Short: "Tell what a policy would say of a login and a statement, and by which rule",
		Long: "test asks the policy about a login and about each thing that the statement wants of roles. Nothing is\n" +
			"executed.\n" +
			"Without --dsn no server is asked: every name is taken for a role of the database, but those of --global, and\n" +
			"the server for PostgreSQL 18. With --dsn the server of that database tells whose the names are, and what the\n" +
			"user is.\n" +
			"The exit code is 0 where all is allowed, with warnings or not, and 3 where something is denied.",
		Example: "  pgscope-proxy policy test --user alice --database orders 'CREATE ROLE reader'\n" +
			"  pgscope-proxy policy test --user alice --database orders 'CREATE ROLE reader SUPERUSER'  # ends with 3: denied",
		Args: arguments(0, 1, "one statement"),
		RunE: func(cmd *cobra.Command, args []string) error {
			show, ok := policyFormats[t.format]
			if !ok {
				return usageError(fmt.Errorf("unknown output format %q: text or json", t.format))
			}
			if len(args) > 0 {
				t.sql = args[0]
			}
			report, err := t.run(cmd)
			if err != nil {
				return err
			}
			if err := show(cmd.OutOrStdout(), report); err != nil {
				return err
			}
			if report.Decision == string(policy.Deny) {
				return &exitError{code: exitRefused}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&t.user, "user", "", "the `role` that logs in, as clients call it")
	f.StringVar(&t.database, "database", "", "the `database`")
	f.StringVar(&t.client, "client-address", "", "the client's `address` (default: a Unix socket)")
	f.StringVar(&t.application, "application-name", "", "the `name` that the client calls itself, application_name")
	f.StringSliceVar(&t.memberOf, "member-of", nil, "`roles` that the user is a member of, as clients call them")
	f.StringSliceVar(&t.attributes, "user-attribute", nil, "`attributes` of the user: CREATEROLE …")
	f.StringSliceVar(&t.global, "global", nil, "`roles` that belong to no database")
	f.StringVar(&t.at, "at", "", "the `time`, as 2026-11-22T09:00:00Z (default: now)")
	f.StringVar(&t.policy, "policy", "", "the policy `file` (default: the built-in rules alone)")
	f.StringVar((*string)(&t.mode), "mode", string(scope.Transparent), "the proxy's `mode`: transparent or explicit")
	f.StringVar(&t.dsn, "dsn", "", "ask the server: a libpq URI or key/value `string`")
	f.StringVarP(&t.format, "output", "o", "text", "the `format` of what is shown: text or json")
	return c
}

type policyTest struct {
	user, database, client, application, at, policy, dsn, format, sql string

	memberOf, attributes, global []string
	mode                         scope.Mode
}

// policyReport is the JSON of the answer. The keys are part of the contract with scripts.
type policyReport struct {
	Decision string         `json:"decision"` // of all: deny, warn or allow
	Assumed  bool           `json:"assumed"`  // no server was asked
	Actions  []policyAnswer `json:"actions"`
	Refused  string         `json:"refused,omitempty"` // why the proxy itself would refuse the statement
	silent   bool           // the statement is not about roles
}

type policyAnswer struct {
	Action   string `json:"action"`
	Decision string `json:"decision"`
	Rule     string `json:"rule"`
	Message  string `json:"message,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// session is the session that the flags describe.
func (t *policyTest) session() (who policy.Session, err error) {
	if t.user == "" || t.database == "" {
		return who, usageError(fmt.Errorf("--user and --database must be given"))
	}
	if t.mode != scope.Transparent && t.mode != scope.Explicit {
		return who, usageError(fmt.Errorf("--mode: %q is none of transparent, explicit", t.mode))
	}
	who = policy.Session{Database: t.database, User: t.user, Application: t.application, Time: time.Now()}
	if t.client != "" {
		if who.Client, err = netip.ParseAddr(t.client); err != nil {
			return who, usageError(fmt.Errorf("--client-address: %w", err))
		}
	}
	if t.at != "" {
		if who.Time, err = time.Parse(time.RFC3339, t.at); err != nil {
			return who, usageError(fmt.Errorf("--at: %w", err))
		}
	}
	return who, nil
}

func (t *policyTest) run(cmd *cobra.Command) (*policyReport, error) {
	who, err := t.session()
	if err != nil {
		return nil, err
	}
	p := policy.Default()
	if t.policy != "" {
		if p, err = policy.Load(t.policy); err != nil {
			return nil, err
		}
	}
	r := &policyReport{Decision: string(policy.Allow), Assumed: t.dsn == ""}
	if denied := r.answer(p, who, policy.Action{Kind: policy.Connect}); denied != nil {
		return r, nil
	}
	if t.sql == "" {
		return r, nil
	}
	analysis, refusal := rewrite.Analyze(t.sql, rewrite.Options{StandardStrings: true, Encoding: "UTF8", ServerEncoding: "UTF8"})
	switch {
	case refusal != nil:
		r.refuse(refusal)
		return r, nil
	case analysis == nil:
		r.silent = true
		return r, nil
	}
	view, facts, err := t.look(cmd, analysis)
	if err != nil {
		return nil, err
	}
	who.Facts = facts
	result := analysis.Rewrite(view, t.mode, func(a policy.Action) *scope.Error { return r.answer(p, who, a) })
	for _, refusal := range result.Refusals {
		if !r.told(refusal) {
			r.refuse(refusal)
		}
	}
	return r, nil
}

// answer asks the policy about an action, and notes what it says.
func (r *policyReport) answer(p *policy.Policy, who policy.Session, a policy.Action) *scope.Error {
	d := p.Decide(who, a)
	answer := policyAnswer{Action: a.String(), Decision: string(d.Verdict), Rule: d.Rule}
	for _, said := range []*scope.Error{d.Err, d.Warning} {
		if said != nil {
			answer.Message, answer.Detail, answer.Hint = said.Message, said.Detail, said.Hint
		}
	}
	r.Actions = append(r.Actions, answer)
	if d.Verdict == policy.Deny || d.Verdict == policy.Warn && r.Decision == string(policy.Allow) {
		r.Decision = string(d.Verdict)
	}
	return d.Err
}

func (r *policyReport) refuse(e *rewrite.Error) {
	r.Decision, r.Refused = string(policy.Deny), e.Message
}

// told reports whether a refusal is one of the policy's answers.
func (r *policyReport) told(e *rewrite.Error) bool {
	return slices.ContainsFunc(r.Actions, func(a policyAnswer) bool { return a.Message == e.Message && a.Decision == string(policy.Deny) })
}

// look finds out what the names mean: from the server, or by what is taken for true without one.
func (t *policyTest) look(cmd *cobra.Command, analysis *rewrite.Analysis) (view *scope.View, facts *policy.Facts, err error) {
	db := scope.NewDatabase(1, t.database, "")
	if t.dsn == "" {
		q := db.Inquire(analysis.Names()...)
		view, err = q.Answer(t.assume(db, q), "")
		facts = &policy.Facts{Known: policy.Need{Standing: true, Members: true}, ServerVersion: 180000, Attributes: upper(t.attributes)}
		for _, role := range t.memberOf {
			facts.MemberOf = append(facts.MemberOf, scope.Short(role))
		}
		return view, facts, err
	}
	err = withServer(cmd, t.dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
		view, err = t.ask(ctx, conn, db, analysis.Names())
		if err != nil {
			return err
		}
		facts = &policy.Facts{
			Known: policy.Need{Standing: true, Members: true}, ServerVersion: provision.MajorVersion(conn) * 10000,
			Attributes: view.Actor.Attributes, MemberOf: view.Actor.Members,
		}
		return nil
	})
	return view, facts, err
}

func upper(words []string) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strings.ToUpper(w)
	}
	return list
}

// assume answers an inquiry without a server: there is a role of the database of every name, and it is administered by who
// acts.
func (t *policyTest) assume(db scope.Database, q scope.Inquiry) [][]string {
	db.Enrolled = true
	rows := [][]string{{"database", db.Name, "1", ""}, {"marker", string(db.Marker), "2", db.Comment()}}
	own, _ := json.Marshal([][3]any{{db.Marker, db.Comment(), nil}}) //nolint:errchkjson // strings
	for _, c := range q.Names {
		switch short, carries := db.Localize(c); {
		case slices.Contains(t.global, string(c)):
			rows = append(rows, []string{"role", string(c), "true", ""})
		case carries && !slices.Contains(t.global, string(short)):
			rows = append(rows, []string{"role", string(c), "true", string(own)})
		}
	}
	return rows
}

// ask asks the server until it is known what the names mean.
func (t *policyTest) ask(ctx context.Context, conn *pgconn.PgConn, db scope.Database, names []scope.Name) (*scope.View, error) {
	const attempts = 3 // the first may tell that the database has another prefix, the next that a schema has
	user, err := provision.LoginRole(ctx, conn, db.Name, scope.Short(t.user))
	if err != nil {
		return nil, err
	}
	for range attempts {
		q := db.Inquire(names...)
		q.Standing, q.Members, q.As = true, true, user
		view, err := provision.Inquire(ctx, conn, q, "")
		if err != nil {
			return nil, err
		}
		if view.Knows(names...) {
			return view, nil
		}
		db = view.DB
	}
	return nil, fmt.Errorf("the roles of database %q are being moved; try again", db.Name)
}

var policyFormats = map[string]func(io.Writer, *policyReport) error{
	"text": policyText,
	"json": func(out io.Writer, r *policyReport) error { return writeJSON(out, r) },
}

func policyText(out io.Writer, r *policyReport) error {
	var b strings.Builder
	for _, a := range r.Actions {
		fmt.Fprintf(&b, "%-5s  %s  (%s)\n", a.Decision, a.Action, a.Rule)
		for _, f := range []struct{ label, value string }{{"message", a.Message}, {"detail", a.Detail}, {"hint", a.Hint}} {
			if f.value != "" {
				fmt.Fprintf(&b, "       %s: %s\n", f.label, f.value)
			}
		}
	}
	if r.Refused != "" {
		fmt.Fprintf(&b, "the proxy would refuse the statement: %s\n", r.Refused)
	}
	switch {
	case r.silent:
		b.WriteString("The statement is not about roles, or is no SQL: the server is given it as it is.\n")
	case r.Assumed:
		b.WriteString("No server was asked: names that are not global were taken for roles of the database.\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
