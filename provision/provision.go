package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Enrol gives the database that the connection is in its marker, unless it has one. prefix is what its roles shall be
// prefixed with; empty for its name. One that has a marker with another prefix is not changed: that is an error.
func Enrol(ctx context.Context, conn *pgconn.PgConn, prefix string) (scope.Database, error) {
	db, err := database(ctx, conn, prefix)
	if err != nil {
		return scope.Database{}, err
	}
	if !db.Enrolled && db.Contested == nil {
		if err := run(ctx, conn, db.EnrolSQL()); err != nil {
			return scope.Database{}, err
		}
		if db, err = database(ctx, conn, prefix); err != nil {
			return scope.Database{}, err
		}
	}
	switch {
	case db.Contested != nil:
		return scope.Database{}, explain(db.Contested)
	case !db.Enrolled:
		return scope.Database{}, fmt.Errorf("role %q exists, but its comment does not say that it is the marker of database %q", db.Marker, db.Name)
	case prefix != "" && prefix != db.Prefix:
		return scope.Database{}, fmt.Errorf("database %q is enrolled with the prefix %q, which does not change", db.Name, db.Prefix)
	default:
		return db, nil
	}
}

// Claim makes a marker, of which it cannot be told whose it is, that of the database that the connection is in.
func Claim(ctx context.Context, conn *pgconn.PgConn, marker scope.Cluster) error {
	inventory, err := survey(ctx, conn, scope.Survey{})
	if err != nil {
		return err
	}
	sql, refusal := inventory.Claim(marker)
	switch {
	case refusal != nil:
		return explain(refusal)
	case sql == "":
		return nil
	default:
		return run(ctx, conn, sql)
	}
}

// explain makes one line of all that an error says.
func explain(e *scope.Error) error {
	text := e.Message
	for _, more := range []string{e.Detail, e.Hint} {
		if more != "" {
			text += ". " + strings.TrimSuffix(more, ".")
		}
	}
	return errors.New(text)
}

// database asks for the scope of the connection's database.
func database(ctx context.Context, conn *pgconn.PgConn, prefix string) (scope.Database, error) {
	rows, err := Query(ctx, conn, "SELECT pg_catalog.current_database()::pg_catalog.text", nil)
	if err != nil {
		return scope.Database{}, err
	}
	view, err := Inquire(ctx, conn, scope.Inquiry{Database: rows[0][0]}, prefix)
	if err != nil {
		return scope.Database{}, err
	}
	return view.DB, nil
}

// Administrator makes a role of the cluster the administrator of a database's roles: with CREATEROLE, it can create them
// there. A role whose name begins as those of the database do would become one of them: that is an error.
func Administrator(ctx context.Context, conn *pgconn.PgConn, db scope.Database, role scope.Cluster) error {
	if refusal := db.Administrable(role); refusal != nil {
		return explain(refusal)
	}
	return run(ctx, conn, db.AdministratorSQL(role, MajorVersion(conn)))
}

// Roles lists the roles of the database that the connection is in, by name.
func Roles(ctx context.Context, conn *pgconn.PgConn) ([]scope.Listed, error) {
	db, err := database(ctx, conn, "")
	if err != nil {
		return nil, err
	}
	return list(ctx, conn, scope.Survey{Database: db.Name})
}

// AllRoles lists the roles of all databases, by database and name.
func AllRoles(ctx context.Context, conn *pgconn.PgConn) ([]scope.Listed, error) {
	return list(ctx, conn, scope.Survey{})
}

func list(ctx context.Context, conn *pgconn.PgConn, q scope.Survey) ([]scope.Listed, error) {
	inventory, err := survey(ctx, conn, q)
	if err != nil {
		return nil, err
	}
	roles := inventory.Roles()
	slices.SortFunc(roles, func(a, b scope.Listed) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Name, b.Name))
	})
	return roles, nil
}

// Databases lists the databases that are enrolled.
func Databases(ctx context.Context, conn *pgconn.PgConn) ([]string, error) {
	inventory, err := survey(ctx, conn, scope.Survey{})
	if err != nil {
		return nil, err
	}
	return inventory.Enrolled(), nil
}

// Sweep repairs what was left behind in the whole cluster, see [scope.Inventory.Sweep], after any other sweep that is under
// way. The server tells by notices what was done and what could not be; warnings are what only a person can decide.
func Sweep(ctx context.Context, conn *pgconn.PgConn) (warnings []string, err error) {
	if err := run(ctx, conn, scope.SweepLockSQL()); err != nil {
		return nil, err
	}
	return sweep(ctx, conn)
}

// TrySweep is [Sweep], but leaves the work to another sweep that is under way.
func TrySweep(ctx context.Context, conn *pgconn.PgConn) (warnings []string, err error) {
	locked, err := Query(ctx, conn, scope.TrySweepLockSQL(), nil)
	if err != nil || locked[0][0] != "t" {
		return nil, err
	}
	return sweep(ctx, conn)
}

// sweep does the work of a sweep that has the lock, and gives the lock back.
func sweep(ctx context.Context, conn *pgconn.PgConn) (warnings []string, err error) {
	inventory, err := survey(ctx, conn, scope.Survey{})
	if err != nil {
		return nil, err
	}
	statements, warnings := inventory.Sweep()
	for _, sql := range append(statements, scope.SweepUnlockSQL()) {
		if err := run(ctx, conn, sql); err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

// Mistaken tells of members of the database's markers that are taken for what they are not, see [scope.Inventory.Mistaken].
func Mistaken(ctx context.Context, conn *pgconn.PgConn, db scope.Database) ([]string, error) {
	inventory, err := survey(ctx, conn, scope.Survey{Database: db.Name})
	if err != nil {
		return nil, err
	}
	return inventory.Mistaken(), nil
}

// LoginRole returns the role of the cluster that logs in to a database under a name.
func LoginRole(ctx context.Context, conn *pgconn.PgConn, database string, name scope.Short) (scope.Cluster, error) {
	db := scope.NewDatabase(0, database, "")
	for {
		inquiry := db.Inquire(scope.Name{Role: name})
		inquiry.Own = true
		view, err := Inquire(ctx, conn, inquiry, "")
		if err != nil {
			return "", err
		}
		if view.DB.Prefix == db.Prefix {
			c, refused := view.Login(name)
			if refused != nil {
				return "", refused
			}
			return c, nil
		}
		db = view.DB // the marker has another: it does not change
	}
}
