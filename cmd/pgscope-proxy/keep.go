package main

import (
	"cmp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// keeping makes settings of a keeper of the configuration, again and again.
type keeping struct {
	started *config.Config // what the process began with: the manifest and the prefixes are its
	admin   *pgconn.Config
	declare func(*policy.Declared) // is told what each manifest that comes into force declares
	log     *zap.Logger
}

// newKeeping returns nil where there is no manifest.
func newKeeping(c *config.Config, admin *pgconn.Config, declare func(*policy.Declared), log *zap.Logger) *keeping {
	if c.Manifest == "" {
		return nil
	}
	admin = admin.Copy()
	admin.ConnectTimeout = cmp.Or(admin.ConnectTimeout, c.ConnectTimeout)
	if admin.RuntimeParams["application_name"] == "" {
		admin.RuntimeParams["application_name"] = program + " reconciler"
	}
	return &keeping{c, admin, declare, log}
}

func (k *keeping) settings(r config.Reconcile) (keeper.Settings, error) {
	mode, err := reconcile.ParseMode(r.Mode)
	return keeper.Settings{
		Load:     func() (keeper.Source, error) { return k.load(r.Database) },
		Interval: r.Interval, Report: r.OnDrift == config.DriftReport, Mode: mode,
	}, err
}

// load reads the manifest. database is the one that it is for, if it does not say so itself;
// empty for that of the admin connection.
func (k *keeping) load(database string) (keeper.Source, error) {
	admin := k.admin.Copy()
	admin.Database = cmp.Or(database, admin.Database, admin.User)
	prefix := func(database string) string { return k.started.Databases[database].Prefix }
	m, err := manifest.Load(k.started.Manifest, manifest.Options{Database: admin.Database, Prefix: prefix(admin.Database)})
	if err != nil {
		return keeper.Source{}, err
	}
	for _, w := range m.Warnings {
		k.log.Warn("manifest", zap.Stringer("place", w.Place), zap.String("warning", w.Message))
	}
	k.declare(declared(m, admin.Database))
	parts := partsOf(m, admin, func(d *access.Desired) reconcile.Options {
		d.Prefix = cmp.Or(d.Prefix, prefix(cmp.Or(d.Database, admin.Database)))
		return reconcile.Options{Desired: d}
	})
	return keeper.Source{Parts: parts, Files: append(m.Files, passwordFiles(m)...)}, nil
}

// all are what a manifest wants: of the cluster, and of each database.
func all(m *manifest.Manifest) []*access.Desired {
	list := []*access.Desired{&m.Cluster}
	for i := range m.Databases {
		list = append(list, &m.Databases[i])
	}
	return list
}

func passwordFiles(m *manifest.Manifest) (files []string) {
	for _, d := range all(m) {
		for _, r := range d.Roles {
			if r.Password != nil && r.Password.FromFile != "" {
				files = append(files, r.Password.FromFile)
			}
		}
	}
	return files
}

// declared returns what a manifest declares, as the policy asks for it. database is that of a manifest that names none.
func declared(m *manifest.Manifest, database string) *policy.Declared {
	all := policy.Declared{Databases: make(map[string]policy.Declarations), Cluster: newDeclarations()}
	declare(&m.Cluster, all.Cluster, all.Cluster)
	for i := range m.Databases {
		d := &m.Databases[i]
		name := cmp.Or(d.Database, database)
		if _, ok := all.Databases[name]; !ok {
			all.Databases[name] = newDeclarations()
		}
		declare(d, all.Databases[name], all.Cluster)
	}
	return &all
}

func newDeclarations() policy.Declarations {
	return policy.Declarations{
		Roles: make(map[scope.Short]string), Memberships: make(map[policy.Membership]string), Grants: make(map[policy.Grant]string),
	}
}

// declare adds what d declares: roles of the cluster to those of the cluster, all else to own.
func declare(d *access.Desired, own, cluster policy.Declarations) {
	for _, r := range d.Roles {
		switch {
		case r.External: // somebody else's
		case r.Kind == access.Global:
			cluster.Roles[shortOf(r.Ref)] = r.Place.String()
		default:
			own.Roles[shortOf(r.Ref)] = r.Place.String()
		}
	}
	for _, m := range d.Memberships {
		for _, member := range m.Members {
			own.Memberships[policy.Membership{Role: shortOf(m.Role), Member: shortOf(member.Ref)}] = member.Place.String()
		}
	}
	for _, g := range d.Grants {
		own.Grants[policy.Grant{Grantee: shortOf(g.Grantee), Object: objectOf(g.On.Kind)}] = g.Place.String()
	}
}

func shortOf(r access.Ref) scope.Short {
	if r.Kind == access.Public {
		return "public" // as policy.Action has it
	}
	return r.Name.Short()
}

// objectOf is the kind of object in a statement that grants on it. There everything that has rows is a table (gram.y,
// privilege_target).
func objectOf(k access.Kind) string {
	switch k {
	case access.View, access.MaterializedView, access.ForeignTable:
		k = access.Table
	default:
	}
	return strings.ReplaceAll(k.String(), "_", " ")
}
