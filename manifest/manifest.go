package manifest

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// maxSize bounds a file in bytes.
const maxSize = 16 << 20

// Scope says what a manifest's names of roles are.
type Scope string

// Scopes.
const (
	Database Scope = "database" // short: the roles that a manifest declares are its database's own
	None     Scope = "none"     // as the cluster has them: every Ref is Global
)

// ParseScope returns the scope of a word; false where it is none.
func ParseScope(s string) (Scope, bool) {
	return Scope(s), s == string(Database) || s == string(None)
}

// Options say how files are read. The zero value is for manifests of databases whose names are not known yet.
type Options struct {
	Scope Scope // empty: Database
	// Database is the name of the database that a manifest or a bundle is for, and Prefix that of its roles (empty: its
	// name). Where they are known, names are checked that the server would find too long. An estate says them itself.
	Database, Prefix string
}

// Manifest is what a file says, and the files that it names.
type Manifest struct {
	// Cluster is what belongs to no database: of an estate, the global roles, their memberships and retirements, and
	// privileges on parameters and tablespaces. It goes first.
	Cluster access.Desired
	// Databases are in the order of the file. One that is read by itself has no name unless [Options] has.
	Databases []access.Desired
	// Files are all that were read, the named one first: what to watch.
	Files    []string
	Warnings []Warning
	Counts   Counts
}

// Warning is what is not wrong, but perhaps not meant.
type Warning struct {
	Place   access.Place
	Message string
}

func (w Warning) String() string { return w.Place.String() + ": " + w.Message }

// Counts are how many there are of each.
type Counts struct {
	Databases, Sources, Profiles                                        int
	Schemas, Roles, Grants, DefaultPrivileges, Memberships, Retirements int
}

// add adds what is in d.
func (c *Counts) add(d *access.Desired) {
	c.Schemas += len(d.Schemas)
	for _, r := range d.Roles {
		if !r.External {
			c.Roles++
		}
	}
	c.Grants += len(d.Grants)
	c.DefaultPrivileges += len(d.Defaults)
	for _, m := range d.Memberships {
		c.Memberships += len(m.Members)
	}
	c.Retirements += len(d.Retirements)
}

// Load reads a manifest, also in the form of a Kubernetes resource, a bundle, or an estate: its keys tell which it is.
// An error is that of reading the file, or all mistakes, joined, each a [*yamlfile.Error], in the order of the files.
func Load(path string, o Options) (*Manifest, error) { return load(path, o, "") }

// LoadBundle is Load for a file that must be a bundle.
func LoadBundle(path string, o Options) (*Manifest, error) { return load(path, o, "a bundle") }

func load(path string, o Options, must string) (*Manifest, error) {
	l := &loader{options: o}
	file, err := l.open(path)
	if err != nil {
		return nil, err
	}
	return l.load(file, must)
}

// Parse is Load for a file's text. name stands for the file in errors, and files that it names are seen from the folder
// of name.
func Parse(name string, data []byte, o Options) (*Manifest, error) {
	l := &loader{options: o}
	return l.load(l.add(yamlfile.Parse(name, data, yamlfile.MaxSize(maxSize))), "")
}

// loader reads a file and those that it names.
type loader struct {
	options  Options
	files    []*yamlfile.File
	manifest Manifest
	counts   Counts
	parts    []*compiler // of an estate the root's first
}

// open reads a file. Mistakes in it, syntax or other, are told by err.
func (l *loader) open(path string) (*yamlfile.File, error) {
	path = filepath.Clean(path)
	file, err := yamlfile.Load(path, yamlfile.MaxSize(maxSize))
	if err != nil {
		return nil, err
	}
	return l.add(file), nil
}

func (l *loader) add(file *yamlfile.File) *yamlfile.File {
	l.files = append(l.files, file)
	if !slices.Contains(l.manifest.Files, file.Name()) {
		l.manifest.Files = append(l.manifest.Files, file.Name())
	}
	return file
}

// readable reports whether there is anything to read in a file, or nothing wrong with it.
func readable(file *yamlfile.File) bool { return !file.Root().Empty() || file.Err() == nil }

// load reads the file that was named, and those that it names.
func (l *loader) load(file *yamlfile.File, must string) (*Manifest, error) {
	if l.options.Scope == "" {
		l.options.Scope = Database
	}
	if readable(file) {
		l.root(file.Root(), must)
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	m := &l.manifest
	m.Counts = l.counts
	m.Counts.Databases = len(m.Databases)
	m.Counts.add(&m.Cluster)
	for i := range m.Databases {
		m.Counts.add(&m.Databases[i])
	}
	return m, nil
}

func (l *loader) err() error {
	var all []error
	for _, f := range l.files {
		all = append(all, f.Err())
	}
	return errors.Join(all...)
}

// root reads the file that was named.
func (l *loader) root(v yamlfile.Value, must string) {
	what := kindOf(v)
	if must != "" && what != must {
		v.Errorf("this is %s; %s has the key sources", what, must)
		return
	}
	if what == anEstate {
		l.estate(v)
		return
	}
	var database *scope.Database
	if l.options.Database != "" {
		database = new(scope.NewDatabase(0, l.options.Database, l.options.Prefix))
	}
	desired := l.oneDatabase(v, what, database, nil)
	desired.Database, desired.Prefix = l.options.Database, l.options.Prefix
	l.manifest.Databases = []access.Desired{desired}
}

// What a file can be.
const (
	aManifest = "a manifest"
	aResource = "a Kubernetes resource"
	aBundle   = "a bundle"
	aFragment = "a fragment of a bundle"
	anEstate  = "an estate"
)

// kindOf finds out what a file is by the keys at its root.
func kindOf(v yamlfile.Value) string {
	has := make(map[string]bool)
	for _, key := range v.Keys() {
		has[key] = true
	}
	switch {
	case has["apiVersion"] || has["spec"]:
		return aResource
	case has["databases"] || has["estate"]:
		return anEstate
	case has["sources"] || has["shared"]:
		return aBundle
	case has["policy"] && has["scope"]:
		return aFragment
	}
	return aManifest
}

// oneDatabase reads what stands for one database: a manifest or a bundle.
func (l *loader) oneDatabase(v yamlfile.Value, what string, database *scope.Database, globals []access.Role) access.Desired {
	c := l.compiler(database, globals)
	switch what {
	case aManifest:
		d := manifestForm.read(v)
		return l.document(c, &d)
	case aResource:
		d := resourceForm.read(v).spec
		return l.document(c, &d)
	case aBundle:
		b := bundleForm.read(v)
		return l.bundle(c, &b)
	default:
		v.Errorf("this is %s; a manifest or a bundle is wanted here", what)
		return access.Desired{}
	}
}

func (l *loader) compiler(database *scope.Database, globals []access.Role) *compiler {
	c := &compiler{
		scope: l.options.Scope, database: database, globals: globals,
		warn: func(at yamlfile.Value, message string) {
			l.manifest.Warnings = append(l.manifest.Warnings, Warning{place(at), message})
		},
	}
	l.parts = append(l.parts, c)
	return c
}

func (l *loader) document(c *compiler, d *document) access.Desired {
	checkProfiles(d.profiles)
	l.counts.Profiles += len(d.profiles)
	return c.compile([]*document{d})
}
