package scope

import (
	"fmt"
	"iter"
	"strings"
)

// Short is a role name as a client of one database says it: unquoted, after case folding.
type Short string

// Cluster is a role name as the server stores it, unique in the cluster.
type Cluster string

// Name is a role name as a statement has it: by itself, or qualified with a schema.
type Name struct {
	Schema string // empty where there is none: no name in PostgreSQL is empty
	Role   Short
}

// Short returns the name as texts show it, as the server shows the names of tables: sales.customer, without quotes.
func (n Name) Short() Short {
	if n.Schema == "" {
		return n.Role
	}
	return Short(n.Schema) + "." + n.Role
}

// qualified yields the schemas and roles of which [Name.Short] may have made a name with dots: one for each dot. A name
// that is too long for the server was not made so.
func (n Name) qualified() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		if n.Schema != "" || len(n.Role) > MaxName {
			return
		}
		for i, c := range []byte(n.Role) {
			if c == '.' && i > 0 && i+1 < len(n.Role) && !yield(Name{string(n.Role[:i]), n.Role[i+1:]}) {
				return
			}
		}
	}
}

// InSchema returns what a name means that is said of a role of the schema: by itself, or as texts show it.
func InSchema(schema string, role Short) Name {
	if own, ok := strings.CutPrefix(string(role), schema+"."); ok && own != "" {
		role = Short(own)
	}
	return Name{schema, role}
}

// Renames yields what the new name of the role n may mean, beside the name itself: if n has dots it may be how a role of a
// schema is shown, and the new name is in that schema.
func (n Name) Renames(to Short) iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for old := range n.qualified() {
			if !yield(InSchema(old.Schema, to)) {
				return
			}
		}
	}
}

const (
	// MaxName is the longest name in bytes, of a role or a database: NAMEDATALEN - 1, src/include/pg_config_manual.h.
	MaxName = 63
	// Separator stands between prefix and short name.
	Separator = "_"
	// Reserved begins the names of all roles that this project makes for itself.
	Reserved = "pgscope_"
	// markerPrefix begins the name of a database's marker, schemaMarkerPrefix that of a schema's.
	markerPrefix       = Reserved + "db_"
	schemaMarkerPrefix = Reserved + "schema_"
)

// Ident returns the name as quoted SQL identifiers.
func (n Name) Ident() string {
	if n.Schema == "" {
		return QuoteIdent(string(n.Role))
	}
	return QuoteIdent(n.Schema) + "." + QuoteIdent(string(n.Role))
}

// Predefined reports whether PostgreSQL keeps the name for itself: pg_* (IsReservedName, src/backend/catalog/catalog.c).
func Predefined[N Short | Cluster](name N) bool { return strings.HasPrefix(string(name), "pg_") }

// markerRole reports whether the name is one that only this project gives to a role.
func markerRole(name Cluster) bool { return strings.HasPrefix(string(name), Reserved) }

// Ident returns the name as a quoted SQL identifier.
func (c Cluster) Ident() string { return QuoteIdent(string(c)) }

// Literal returns the name as an SQL string constant that reads the same whatever standard_conforming_strings is.
func (c Cluster) Literal() string { return QuoteLiteral(string(c)) }

// QuoteIdent quotes s as an SQL identifier. s holds no NUL, as no name in PostgreSQL does.
func QuoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// QuoteLiteral quotes s as an SQL string constant that reads the same whatever standard_conforming_strings is:
// with a backslash in it, in the E” form, as quote_literal() does.
func QuoteLiteral(s string) string {
	q := `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
	if strings.Contains(s, `\`) {
		q = ` E` + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// OneLine keeps a text in one line, as that of an SQL comment has to be: a name may have a line break in it.
func OneLine(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }

// doesNotExist is what the server says of a role that is not there (get_role_oid, src/backend/utils/adt/acl.c).
func doesNotExist(name Short) *Error {
	return &Error{Code: CodeUndefinedObject, Message: fmt.Sprintf(`role "%s" does not exist`, name)}
}

// alreadyExists is what the server says of a role that is there (CreateRole, src/backend/commands/user.c).
func alreadyExists(name Short) *Error {
	return &Error{Code: CodeDuplicateObject, Message: fmt.Sprintf(`role "%s" already exists`, name)}
}
