package scope

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Database is the scope that a session works in: what its role names are prefixed with, and the marker that says
// which roles are its own.
type Database struct {
	OID      uint32
	Name     string
	Prefix   string  // without the separator
	Marker   Cluster // the marker's name; where Enrolled is false, the name that it will get
	Enrolled bool    // whether the marker exists
	// MarkerOID is the marker's; 0 where it is not known.
	MarkerOID uint32
	// Contested says why it cannot be told whose a marker is that may be this database's; then the database counts as
	// not enrolled, and names in it cannot be mapped. Nil nearly always.
	Contested *Error
	// Schemas are those that the last inquiry had to do with: first the enrolled ones along the session's search_path, in
	// its order, then those that statements name.
	Schemas []Schema
	// Marked are the schemas with markers, as they were last listed. Queries show roles of schemas by them; statements do not
	// rely on them.
	Marked []Schema
}

// Remember adds the schemas with markers that an earlier answer listed to those of an answer that lists a few.
func (d *Database) Remember(earlier []Schema) {
	for _, s := range earlier {
		if !slices.ContainsFunc(d.Marked, func(k Schema) bool { return k.Marker == s.Marker }) {
			d.Marked = append(d.Marked, s)
		}
	}
}

// Same reports whether two are the same but for their Schemas.
func (d Database) Same(other Database) bool {
	return d.OID == other.OID && d.Name == other.Name && d.Prefix == other.Prefix && d.Marker == other.Marker && d.MarkerOID == other.MarkerOID &&
		d.Enrolled == other.Enrolled && slices.Equal(d.Marked, other.Marked)
}

// NewDatabase returns the scope of a database that has no marker yet. An empty prefix means the database's name.
func NewDatabase(oid uint32, name, prefix string) Database {
	if prefix == "" {
		prefix = name
	}
	marker := Cluster(markerPrefix + name)
	if len(marker) > MaxName {
		marker = Cluster(markerPrefix + strconv.FormatUint(uint64(oid), 10))
	}
	return Database{OID: oid, Name: name, Prefix: prefix, Marker: marker}
}

// Qualify returns the cluster name of a role of this database. It fails with name_too_long where the whole is longer
// than MaxName, since the server would cut it and two roles might become one, and with reserved_name where the whole
// begins as PostgreSQL's or this project's own roles do.
func (d Database) Qualify(name Short) (Cluster, *Error) {
	return qualify(d.Prefix, "database", d.Name, name)
}

// qualify puts the prefix of a scope, which is such a thing of that name, before the name.
func qualify(prefix, thing, scope string, name Short) (Cluster, *Error) {
	c := Cluster(prefix + Separator + string(name))
	switch {
	case len(c) > MaxName:
		return "", &Error{
			Code:    CodeNameTooLong,
			Message: fmt.Sprintf(`role name "%s" is too long`, name),
			Detail:  fmt.Sprintf(`With the prefix of %s "%s" it has %d bytes; the server keeps %d.`, thing, scope, len(c), MaxName),
			Hint: fmt.Sprintf("Use a name of at most %d bytes, or configure a shorter prefix for this database.",
				max(0, MaxName-len(prefix)-len(Separator))),
		}
	case Predefined(c) || markerRole(c):
		return "", &Error{
			Code:    CodeReservedName,
			Message: fmt.Sprintf(`role name "%s" is reserved`, name),
			Detail:  fmt.Sprintf(`With the prefix of %s "%s" it begins as reserved names do.`, thing, scope),
			Hint:    "Configure another prefix for this database.",
		}
	}
	return c, nil
}

// Localize returns the short name of a role that carries this database's prefix. Whether the role belongs to the
// database, only its membership in the marker says: see [View].
func (d Database) Localize(c Cluster) (Short, bool) {
	s, ok := strings.CutPrefix(string(c), d.Prefix+Separator)
	return Short(s), ok && s != ""
}

// markerComment is the comment on a marker role. The field order is part of the format: [Inquiry] finds a marker by
// the first characters, {"oid":N, and, in a cluster restored from a dump, where the OID is another, by the name.
type markerComment struct {
	OID       uint32 `json:"oid"`
	Database  string `json:"database"`
	Prefix    string `json:"prefix"`              // of the database
	Schema    string `json:"schema,omitempty"`    // of a schema's marker alone
	SchemaOID uint32 `json:"schemaoid,omitempty"` // of a schema's marker alone
	Version   int    `json:"version"`
}

// rolePrefix is what the roles of the marker's scope are prefixed with.
func (m markerComment) rolePrefix() string {
	if m.Schema == "" {
		return m.Prefix
	}
	return m.Prefix + Separator + m.Schema
}

// text returns the comment's text.
func (m markerComment) text() string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the server compares the name with its own to_json, which escapes as little as it may
	if err := enc.Encode(m); err != nil {
		panic(err) // a struct of numbers and strings
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const markerVersion = 1

// Comment returns the text of the marker's comment.
func (d Database) Comment() string { return d.comment().text() }

func (d Database) comment() markerComment {
	return markerComment{OID: d.OID, Database: d.Name, Prefix: d.Prefix, Version: markerVersion}
}

// InComments returns what the comments on the markers of the database and its schemas have in them, and those of no other
// database.
func (d Database) InComments() string {
	_, rest, _ := strings.Cut(d.Comment(), ",") // behind the OID, which a restored cluster has anew
	name, _, _ := strings.Cut(rest, `,"prefix":`)
	return name
}

// parseMarker reads a marker's comment; false where it is not one that this project wrote.
func parseMarker(comment string) (markerComment, bool) {
	var m markerComment
	err := json.Unmarshal([]byte(comment), &m)
	return m, err == nil && m.OID != 0 && m.Prefix != "" && m.Version >= 1
}

// administersSQL makes who creates a marker, the first argument of a format, its administrator where the server does
// not: before PostgreSQL 16. Superusers need not be one. The others are refused where their names begin as the
// fourth argument does: see [Administrable].
const administersSQL = "IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN " +
	"IF pg_catalog.starts_with(current_user::pg_catalog.text, %[4]s) THEN " +
	"RAISE EXCEPTION USING ERRCODE = '" + CodeObjectNotInState + "', MESSAGE = pg_catalog.concat('role \"', current_user, %[5]s), " +
	"HINT = 'Use a role of another name, or configure another prefix for the database.'; END IF; " +
	"IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 160000 " +
	"THEN GRANT %[1]s TO CURRENT_USER WITH ADMIN OPTION; END IF; END IF; "

// Administrable tells whether a role of the cluster can administer the roles of this database. Administrators are members
// of the marker too, so one whose name begins with the prefix could not be told from the database's roles.
func (d Database) Administrable(role Cluster) *Error {
	return d.comment().administrable(role)
}

func (m markerComment) administrable(role Cluster) *Error {
	if !m.carries(role) {
		return nil
	}
	return &Error{
		Code:    CodeObjectNotInState,
		Message: `role "` + string(role) + m.mistaken(),
		Hint:    "Use another name.",
	}
}

// carries reports whether a role's name begins as those of the scope do.
func (m markerComment) carries(role Cluster) bool {
	return !markerRole(role) && strings.HasPrefix(string(role), m.rolePrefix()+Separator)
}

// mistaken is the end of a message about an administrator who would be taken for a role of the scope.
func (m markerComment) mistaken() string {
	return fmt.Sprintf(`" cannot administer the roles of %s: it would be taken for one of them, by its name`, m.thing())
}

// thing is what the marker is for, as messages call it.
func (m markerComment) thing() string {
	if m.Schema != "" {
		return fmt.Sprintf(`schema "%s"`, m.Schema)
	}
	return fmt.Sprintf(`database "%s"`, m.Database)
}

// EnrolSQL returns one statement that makes the markers that are missing, of the database and of the schemas,
// atomically in and out of transactions. It does nothing where another session was faster: the loser waits for the
// winner's transaction and finds the role there.
func (d Database) EnrolSQL(schemas ...Schema) string {
	body := "BEGIN "
	create := func(marker Cluster, options string, comment markerComment) {
		body += fmt.Sprintf("BEGIN CREATE ROLE %s NOLOGIN%s; COMMENT ON ROLE %[1]s IS %[3]s; "+administersSQL+
			"EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END; ",
			marker.Ident(), options, QuoteLiteral(comment.text()), QuoteLiteral(comment.rolePrefix()+Separator), QuoteLiteral(comment.mistaken()))
	}
	if !d.Enrolled {
		create(d.Marker, "", d.comment())
	}
	for _, s := range schemas {
		if !s.Enrolled {
			create(s.Marker, " IN ROLE "+d.Marker.Ident(), d.schemaComment(s))
		}
	}
	return "DO LANGUAGE plpgsql " + QuoteLiteral(body+"END")
}

// AdministratorSQL returns the statement that makes a role the administrator of this database's roles. major is the
// server's major version: since 16 to administer a role needs no membership that gives its privileges.
func (d Database) AdministratorSQL(role Cluster, major int) string {
	with := "ADMIN OPTION"
	if major >= 16 {
		with = "ADMIN TRUE, INHERIT FALSE, SET FALSE"
	}
	return fmt.Sprintf("GRANT %s TO %s WITH %s", d.Marker.Ident(), role.Ident(), with)
}
