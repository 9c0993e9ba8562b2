package reconcile

import (
	"context"
	"errors"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// usesSQL reads what roles own, and what they may do with objects of others, by database. REASSIGN OWNED passes over what
// is personal (shdepReassignOwned, src/backend/catalog/pg_shdepend.c).
const usesSQL = `SELECT r.rolname, coalesce(d.datname, ''), count(*) FILTER (WHERE u.deptype = 'o'), count(*) FILTER (WHERE u.deptype <> 'o'),
  count(*) FILTER (WHERE u.deptype = 'o' AND u.classid IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)),
  NOT bool_and(coalesce(d.datallowconn AND has_database_privilege(d.oid, 'CONNECT'), true))
FROM pg_shdepend u JOIN pg_roles r ON r.oid = u.refobjid AND u.refclassid = 'pg_authid'::regclass LEFT JOIN pg_database d ON d.oid = u.dbid
WHERE r.rolname = ANY ($1) GROUP BY 1, 2 ORDER BY 1, 2`

const sessionsSQL = `SELECT usename, count(*) FROM pg_stat_activity
WHERE usename = ANY ($1) AND pid <> pg_backend_pid() GROUP BY 1`

// uses reads what keeps the roles from being dropped that shall be retired.
func (o *observer) uses(ctx context.Context) error {
	var names []scope.Cluster
	for _, ref := range o.extent.Retired {
		if n := o.state.Names[ref]; n.Is == Present {
			names = append(names, n.Cluster)
		}
	}
	if len(names) == 0 {
		return nil
	}
	retired := scope.Array(names...)
	seen := question{usesSQL, []string{retired}, func(r row) error {
		owned, err := r.number(2)
		granted, err2 := r.number(3)
		personal, err3 := r.number(4)
		u := Use{Role: o.intern.name(r[0]), Database: r.text(1), Owned: owned, Granted: granted, Personal: personal, Shut: r.flag(5)}
		o.state.Uses = append(o.state.Uses, u)
		return errors.Join(err, err2, err3)
	}}
	err := o.ask(ctx, seen, question{sessionsSQL, []string{retired}, func(r row) error {
		n, err := r.number(1)
		o.state.Sessions[o.intern.name(r[0])] = n
		return err
	}})
	if err != nil {
		return err
	}
	looked := make(map[string]bool)
	for _, u := range o.state.Uses {
		if u.Granted > 0 && !u.Shut && !looked[u.Database] {
			looked[u.Database] = true
			if err := o.gifts(ctx, u.Database, retired); err != nil {
				return err
			}
		}
	}
	return nil
}

// gifts reads what the retired roles have from others than the owners, and what they have given, in a database, or of
// what belongs to none.
func (o *observer) gifts(ctx context.Context, database, retired string) (err error) {
	ofCluster := database == ""
	wants := func(k access.Kind) bool { return ofCluster == (k.Info().Cluster || k == access.Database) }
	at := *o
	switch {
	case database == o.database:
		database = ""
	case !ofCluster:
		at.conn = nil
		if connect := o.extent.Connect; connect != nil {
			at.conn, err = connect(ctx, database)
		}
		if at.conn == nil || err != nil {
			for i := range o.state.Uses {
				o.state.Uses[i].Shut = o.state.Uses[i].Shut || o.state.Uses[i].Database == database
			}
			return ctx.Err()
		}
		defer func() { err = errors.Join(err, at.conn.Close(context.WithoutCancel(ctx))) }()
		if err := beginSnapshot(ctx, at.conn); err != nil {
			return err
		}
	}
	return at.ask(ctx, question{fill(othersSQL, o.state.Version, false, "", "", wants), []string{retired}, func(r row) error {
		g := Gift{
			Database: database, Object: &Object{Schema: r.text(1), Name: r.text(2), Args: r.text(3), Shared: true},
			Owner: o.intern.name(r[4]), Grantee: o.intern.name(r[5]), Grantor: o.intern.name(r[6]), Option: r.flag(8), Out: !r.flag(9), Dangling: !r.flag(10),
		}
		kind, ok := access.ParseKind(r.text(0))
		if r.text(0) == columnRow {
			kind, ok = access.Table, true
			g.Column, g.Object.Args = g.Object.Args, ""
		}
		if g.Object.Kind = kind; !ok || !wants(kind) {
			return nil
		}
		words, err := r.list(7)
		for _, word := range words {
			p, _ := access.ParsePrivilege(word)
			g.Privileges |= p
		}
		o.state.Gifts = append(o.state.Gifts, g)
		return err
	}})
}
