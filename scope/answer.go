package scope

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// answer is the answer to an [Inquiry] while it is read into a view.
type answer struct {
	q      Inquiry
	rows   map[string][]row   // by kind
	prefix string             // for a database that is not enrolled yet
	marked map[Cluster]Schema // the schemas with markers, by these
	view   *View              // so far
}

// row is a row of inquirySQL. What a and b are, its kind says.
type row struct{ name, a, b string }

// Answer reads the rows of the statement. prefix is what the database's roles shall be prefixed with if it is not
// enrolled yet (empty: its name); once it is, the marker decides.
func (q Inquiry) Answer(rows [][]string, prefix string) (*View, error) {
	a := answer{q: q, rows: make(map[string][]row, 8), prefix: prefix}
	for _, r := range rows {
		if len(r) != 4 {
			return nil, fmt.Errorf("scope: a row of %d columns where 4 were asked for", len(r))
		}
		a.rows[r[0]] = append(a.rows[r[0]], row{r[1], r[2], r[3]})
	}
	a.view = &View{DB: NewDatabase(0, q.Database, prefix), Whole: q.Own, roles: make(map[Cluster]role, len(q.Names))}
	for _, read := range []func() error{a.database, a.roles, a.schemas, a.ownRoles, a.census, a.actor, a.session, a.others} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return a.view, nil
}

// database reads which database it is, and which marker it has.
func (a *answer) database() error {
	v := a.view
	for _, r := range a.rows["database"] {
		oid, err := parseOID(r.a)
		if err != nil {
			return fmt.Errorf("scope: database OID: %w", err)
		}
		v.DB = NewDatabase(oid, r.name, a.prefix)
		v.Mode = Mode(r.b)
	}
	for _, r := range a.rows["marker"] {
		oid, err := parseOID(r.a)
		if err != nil {
			return fmt.Errorf("scope: marker OID: %w", err)
		}
		v.adoptMarker(Cluster(r.name), oid, r.b)
	}
	for _, r := range a.rows["claim"] {
		v.contest(Cluster(r.name), r.b)
	}
	return nil
}

// others reads which of the databases in question exist.
func (a *answer) others() error {
	a.view.missing = make(map[string]bool, len(a.q.Others))
	for _, name := range a.q.Others {
		a.view.missing[name] = true
	}
	for _, r := range a.rows["other"] {
		delete(a.view.missing, r.name)
	}
	return nil
}

// roles reads whose the roles in question are.
func (a *answer) roles() error {
	for _, n := range a.q.Names {
		a.view.roles[n] = role{home: Missing}
	}
	for _, r := range a.rows["role"] {
		found, err := a.view.roleOf(Cluster(r.name), r.b)
		if err != nil {
			return err
		}
		found.login = r.a == "true"
		a.view.roles[Cluster(r.name)] = found
	}
	return nil
}

// schemas reads the markers of the database's schemas.
func (a *answer) schemas() error {
	rows := a.rows["schema"]
	a.marked = make(map[Cluster]Schema, len(rows))
	for _, r := range rows {
		if s, ok := markedSchema(Cluster(r.name), r.a, r.b); ok {
			a.marked[s.Marker] = s
		}
	}
	v := a.view
	v.DB.Marked = slices.SortedFunc(maps.Values(a.marked), func(a, b Schema) int { return strings.Compare(string(a.Marker), string(b.Marker)) })
	v.Plain = v.Whole && len(rows) == 0
	return nil
}

// ownRoles reads the list of the database's roles.
func (a *answer) ownRoles() error {
	v := a.view
	for _, r := range a.rows["own"] {
		c, marker := Cluster(r.name), Cluster(r.b)
		own, ok := role{}, false
		if s, ofSchema := a.marked[marker]; ofSchema {
			own, ok = ownRole(c, s.Prefix, s.Marker, s.Name)
		} else if marker == v.DB.Marker && v.roles[c].name.Schema == "" && !markerRole(c) {
			own, ok = ownRole(c, v.DB.Prefix, v.DB.Marker, "")
		}
		if !ok {
			continue
		}
		login, oids, _ := strings.Cut(r.a, " ")
		own.login = login == "true"
		if member, membership, found := strings.Cut(oids, " "); found {
			var bad [2]error
			own.membership.Role, bad[0] = parseOID(member)
			own.membership.OID, bad[1] = parseOID(membership)
			if err := errors.Join(bad[:]...); err != nil {
				return fmt.Errorf("scope: membership of a role: %w", err)
			}
		}
		v.roles[c] = own
	}
	return nil
}

// session reads the session's search_path and its role, and makes the database know the schemas that the inquiry was about:
// those of the search_path, and those that were asked about.
func (a *answer) session() error {
	v := a.view
	oids, err := a.namespaces()
	if err != nil {
		return err
	}
	byName := a.markedByName()
	seen := make(map[string]bool)
	see := func(name string, searched bool) {
		s, enrolled := byName[name]
		if seen[name] || searched && !enrolled {
			return
		}
		if !enrolled {
			s = v.DB.newSchema(oids[name], name)
			if v.roles[s.Marker].home == Marker {
				s.Marker = v.DB.numbered(s.OID)
			}
		}
		s.OID, s.Searched, seen[name] = oids[name], searched, true
		v.DB.Schemas = append(v.DB.Schemas, s)
	}
	for _, r := range a.rows["session"] {
		v.SearchPath = r.a
		if r.name != "" {
			if err := json.Unmarshal([]byte(r.name), &[2]*Cluster{&v.User, &v.Session}); err != nil {
				return fmt.Errorf("scope: current role: %w", err)
			}
		}
		var path []string
		if err := json.Unmarshal([]byte(r.b), &path); err != nil {
			return fmt.Errorf("scope: search path: %w", err)
		}
		for _, name := range path {
			see(name, true)
		}
		v.Path = Path{Schemas: path, Told: true}
	}
	if a.q.Moves {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			see(name, true)
		}
	}
	for _, name := range a.q.Schemas {
		see(name, false)
	}
	for _, r := range a.rows["reset"] {
		if v.Resets == nil {
			v.Resets = make(map[string]string, len(a.rows["reset"]))
		}
		v.Resets[r.name] = r.a
	}
	return nil
}

// namespaces reads the OIDs of schemas by name, and which of them the session's current role may use.
func (a *answer) namespaces() (map[string]uint32, error) {
	rows := a.rows["namespace"]
	oids := make(map[string]uint32, len(rows))
	a.view.usable = make(map[string]bool, len(rows))
	for _, r := range rows {
		oid, err := parseOID(r.a)
		if err != nil {
			return nil, fmt.Errorf("scope: schema OID: %w", err)
		}
		oids[r.name] = oid
		if r.b == "true" {
			a.view.usable[r.name] = true
		}
	}
	return oids, nil
}

// markedByName returns the schemas with markers by their names. The marker of a schema that is gone is that of its namesake,
// if that has none: DROP and CREATE SCHEMA, restored dumps.
func (a *answer) markedByName() map[string]Schema {
	byName := make(map[string]Schema, len(a.marked))
	for _, s := range a.marked {
		if other, taken := byName[s.Name]; !taken || other.OID == 0 && (s.OID != 0 || s.Marker < other.Marker) {
			byName[s.Name] = s
		}
	}
	return byName
}

func parseOID(s string) (uint32, error) {
	oid, err := strconv.ParseUint(s, 10, 32)
	return uint32(oid), err
}

// adoptMarker makes the role the marker of the view's database.
func (v *View) adoptMarker(name Cluster, oid uint32, comment string) {
	if m, ok := parseMarker(comment); ok && m.Schema == "" {
		v.DB.Marker, v.DB.MarkerOID, v.DB.Prefix, v.DB.Enrolled = name, oid, m.Prefix, true
	}
}

// contest notes that the role may be the marker of the view's database, and may be another's.
func (v *View) contest(name Cluster, comment string) {
	if m, ok := parseMarker(comment); ok && m.Schema == "" && v.DB.Contested == nil {
		v.DB.Contested = &Error{
			Code:    CodeObjectNotInState,
			Message: fmt.Sprintf(`the roles of database "%s" cannot be told from those of another database`, v.DB.Name),
			Detail: fmt.Sprintf(`The comment on role "%s" is about database "%s" with OID %d. This is "%s" with OID %d.`,
				name, m.Database, m.OID, v.DB.Name, v.DB.OID),
			Hint: fmt.Sprintf("An administrator can say whose they are: pgscope-proxy init --claim %s, in the database that it is.", name.Ident()),
		}
	}
}

// roleOf tells where a role belongs. markers is a JSON list of the markers that it is a member of: name, comment, and
// for one of a schema of this database, the name that the schema has now.
func (v *View) roleOf(c Cluster, markers string) (role, error) {
	if markerRole(c) {
		return role{home: Marker}, nil
	}
	var list [][3]*string
	if markers != "" {
		if err := json.Unmarshal([]byte(markers), &list); err != nil {
			return role{}, fmt.Errorf("scope: markers of a role: %w", err)
		}
	}
	found := role{home: Global}
	for _, m := range list {
		if m[0] == nil {
			continue
		}
		marker := Cluster(*m[0])
		if own, carries := ownRole(c, v.DB.Prefix, marker, ""); carries && v.DB.Enrolled && marker == v.DB.Marker {
			found = own
			continue
		}
		if m[1] == nil {
			continue
		}
		note, ok := parseMarker(*m[1])
		switch {
		case !ok:
			continue
		case m[2] != nil:
			s, ofSchema := markedSchema(marker, *m[2], *m[1])
			if own, carries := ownRole(c, s.Prefix, s.Marker, s.Name); ofSchema && carries {
				return own, nil
			}
		case strings.HasPrefix(string(c), note.rolePrefix()+Separator):
			if found.home != Own {
				found = role{home: Foreign, owner: note.Database}
			}
			continue
		}
		found.administers = append(found.administers, note) // as a person, if it is nobody's role
	}
	return found, nil
}

// markedSchema reads the marker of a schema of this database. now is the name that the schema has, empty where it is gone.
func markedSchema(marker Cluster, now, comment string) (Schema, bool) {
	m, ok := parseMarker(comment)
	s := Schema{Name: m.Schema, Prefix: m.rolePrefix(), Marker: marker, Enrolled: true}
	if now != "" {
		s.Name, s.OID = now, m.SchemaOID
	}
	return s, ok && m.Schema != ""
}
