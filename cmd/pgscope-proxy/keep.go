package main

import (
	"cmp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

// newKeeper returns what keeps the server at the manifest; nil where there is none. declare is told what each manifest that
// comes into force declares.
func newKeeper(
	c *config.Config, admin *pgconn.Config, declare func(*policy.Declared), log *zap.Logger, metrics prometheus.Registerer,
	tracer *trace.Tracer,
) (*keeper.Keeper, error) {
	if c.Manifest == "" {
		return nil, nil
	}
	mode, err := reconcile.ParseMode(c.Reconcile.Mode)
	if err != nil {
		return nil, err
	}
	admin = admin.Copy()
	admin.Database = cmp.Or(c.Reconcile.Database, admin.Database, admin.User)
	admin.ConnectTimeout = cmp.Or(admin.ConnectTimeout, c.ConnectTimeout)
	if admin.RuntimeParams["application_name"] == "" {
		admin.RuntimeParams["application_name"] = program + " reconciler"
	}
	load := func() (keeper.Source, error) {
		m, err := manifest.Load(c.Manifest, manifest.Options{Database: admin.Database, Prefix: c.Databases[admin.Database].Prefix})
		if err != nil {
			return keeper.Source{}, err
		}
		for _, w := range m.Warnings {
			log.Warn("manifest", zap.Stringer("place", w.Place), zap.String("warning", w.Message))
		}
		declare(declared(m, admin.Database))
		parts := partsOf(m, admin, func(d *access.Desired) reconcile.Options {
			d.Prefix = cmp.Or(d.Prefix, c.Databases[cmp.Or(d.Database, admin.Database)].Prefix)
			return reconcile.Options{Desired: d, Mode: mode}
		})
		return keeper.Source{Parts: parts, Files: append(m.Files, passwordFiles(m)...)}, nil
	}
	return keeper.New(keeper.Options{
		Load: load, Interval: c.Reconcile.Interval, Report: c.Reconcile.OnDrift == config.DriftReport, Log: log, Metrics: metrics,
		Tracer: tracer,
	}), nil
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
