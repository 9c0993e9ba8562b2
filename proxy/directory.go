package proxy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// fresh is how long the list of a database's roles is believed. Names in statements are asked about each time; the list
// serves logins and the texts of errors. What this proxy's own sessions change is seen at once.
const fresh = 30 * time.Second

// directories keeps what the proxy knows of each database's roles. They are caches: the server is the truth, and a
// database that is not in it is only asked about once more.
type directories struct {
	prefixes map[string]string // configured, by database

	mu         sync.Mutex
	byDatabase map[string]*directory
}

// of returns the directory of a database. It must only be asked for databases that a session was admitted to: names
// that clients make up must not fill it.
func (d *directories) of(database string) *directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byDatabase[database]
	if e == nil {
		prefix := d.prefixes[database]
		e = &directory{
			prefix: prefix, db: scope.NewDatabase(0, database, prefix),
			roles: make(map[scope.Cluster]scope.Role), admitted: make(map[admission]struct{}),
			rewritings: engine.NewRewritings(), doubtful: make(map[scope.Cluster]struct{}),
		}
		if d.byDatabase == nil {
			d.byDatabase = make(map[string]*directory)
		}
		d.byDatabase[database] = e
	}
	return e
}

// known returns the directory of a database if there is one.
func (d *directories) known(database string) *directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byDatabase[database]
}

// forget makes the proxy ask anew about a database that was dropped or renamed. Sessions in it keep what they have: the
// server lets neither be done while there are any.
func (d *directories) forget(database string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byDatabase, database)
}

// directory is what the proxy knows of one database's roles: engine.Directory.
type directory struct {
	prefix string

	mu         sync.RWMutex
	db         scope.Database
	roles      map[scope.Cluster]scope.Role
	listed     time.Time // when all of them were listed; zero when they must be anew
	plain      bool      // whether no schema had roles of its own then
	census     *scope.Census
	rewritings *engine.Rewritings
	// doubtful are roles that this proxy's sessions have changed since then.
	doubtful map[scope.Cluster]struct{}
	// prepared: some session has left a transaction that changes roles to be committed later.
	prepared bool
	// columns are those of the catalogs, of a server of the version.
	columns struct {
		version int
		of      rewrite.Columns
	}
	// admitted are the logins that the server has confirmed since then.
	admitted map[admission]struct{}
}

type admission struct {
	role scope.Cluster
	name scope.Short
}

func (d *directory) Prefix() string { return d.prefix }

func (d *directory) Database() scope.Database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.db
}

func (d *directory) Own(c scope.Cluster) (scope.Short, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r, ok := d.roles[c]
	return r.Name, ok
}

func (d *directory) Recall(name scope.Short) (*scope.View, scope.Claim) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, err := d.db.Qualify(name)
	if err != nil || !d.plain || d.roles[c].Name != name || d.outdated() || d.doubts(c) {
		return nil, scope.Claim{}
	}
	db := d.db
	db.Schemas = nil // those that another session asked about
	v := db.View()
	v.Created(c, scope.Own)
	return v, scope.Claim{Marker: db.Marker, Role: c, Membership: d.roles[c].Membership}
}

func (d *directory) Census() *scope.Census {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.census
}

func (d *directory) Rewritings() *engine.Rewritings {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.rewritings
}

func (d *directory) Stale() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.outdated() || len(d.doubtful) > 0
}

func (d *directory) Doubt(q *scope.Inquiry) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	q.Own = d.outdated()
	q.Ask(slices.Collect(maps.Keys(d.doubtful))...)
}

// outdated reports whether the list is too old to be believed.
func (d *directory) outdated() bool { return time.Since(d.listed) > fresh }

// doubts reports whether a role may be another than the list has.
func (d *directory) doubts(c scope.Cluster) bool {
	_, ok := d.doubtful[c]
	return ok
}

func (d *directory) Admit(c scope.Cluster, name scope.Short) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.admitted[admission{c, name}] = struct{}{}
}

func (d *directory) Admitted(c scope.Cluster, name scope.Short) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.admitted[admission{c, name}]
	return ok
}

func (d *directory) Learn(v *scope.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !v.Whole {
		v.DB.Remember(d.db.Marked)
	}
	if v.Whole || !d.db.Same(v.DB) {
		d.rewritings = engine.NewRewritings()
	}
	d.db = v.DB
	if v.Whole {
		clear(d.roles)
		d.listed, d.plain, d.census = time.Now(), v.Plain, v.Census
		clear(d.admitted)
		clear(d.doubtful)
	}
	for c, r := range v.Roles() {
		if !v.Whole && !d.doubts(c) {
			r.Membership = d.roles[c].Membership
		}
		d.roles[c] = r
		delete(d.doubtful, c)
	}
	for c := range v.Missed() {
		delete(d.roles, c)
		delete(d.doubtful, c)
	}
}

func (d *directory) Columns(version int) rewrite.Columns {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.columns.version != version {
		return nil
	}
	return d.columns.of
}

func (d *directory) LearnColumns(version int, c rewrite.Columns) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.columns.version, d.columns.of = version, c
	d.rewritings = engine.NewRewritings()
}

// maxDoubtful bounds how many roles are asked about one by one, before all are listed anew.
const maxDoubtful = 256

func (d *directory) Changed(names ...scope.Cluster) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rewritings = engine.NewRewritings()
	if len(names) == 0 || len(d.doubtful)+len(names) > maxDoubtful {
		d.listed = time.Time{}
		clear(d.doubtful)
		return
	}
	d.census.Forget(d.db, names...)
	for _, c := range names {
		d.doubtful[c] = struct{}{}
	}
	maps.DeleteFunc(d.admitted, func(a admission, _ struct{}) bool { return d.doubts(a.role) })
}

func (d *directory) Prepared() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepared = true
}

// Committed lists the roles anew: which of the prepared transactions it was is not known.
func (d *directory) Committed() {
	d.mu.RLock()
	prepared := d.prepared
	d.mu.RUnlock()
	if prepared {
		d.Changed()
	}
}

// login tells which role logs in to the database under the name. That is not certain where the list is too old or in
// doubt; where the database's role of that name may not log in, so that the name may mean a role of the cluster; and
// where the name is the cluster name of a role of the database.
func (d *directory) login(name scope.Short) (c scope.Cluster, certain bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, err := d.db.Qualify(name)
	certain = !d.outdated() && !d.doubts(c) && !d.doubts(scope.Cluster(name))
	if err == nil && d.roles[c].Name == name { // not one of a schema
		if d.roles[c].Login {
			return c, certain
		}
		return scope.Cluster(name), false
	}
	_, own := d.roles[scope.Cluster(name)]
	return scope.Cluster(name), certain && !own
}

// unscoped is the directory of a session without role names: physical replication.
type unscoped struct{}

func (unscoped) Database() scope.Database                      { return scope.Database{} }
func (unscoped) Prefix() string                                { return "" }
func (unscoped) Own(scope.Cluster) (scope.Short, bool)         { return "", false }
func (unscoped) Recall(scope.Short) (*scope.View, scope.Claim) { return nil, scope.Claim{} }
func (unscoped) Admit(scope.Cluster, scope.Short)              {}
func (unscoped) Admitted(scope.Cluster, scope.Short) bool      { return true }
func (unscoped) Census() *scope.Census                         { return nil }
func (unscoped) Rewritings() *engine.Rewritings                { return engine.NewRewritings() }
func (unscoped) Stale() bool                                   { return false }
func (unscoped) Learn(*scope.View)                             {}
func (unscoped) Doubt(*scope.Inquiry)                          {}
func (unscoped) Changed(...scope.Cluster)                      {}
func (unscoped) Prepared()                                     {}
func (unscoped) Committed()                                    {}
func (unscoped) Columns(int) rewrite.Columns                   { return rewrite.Columns{} }
func (unscoped) LearnColumns(int, rewrite.Columns)             {}
