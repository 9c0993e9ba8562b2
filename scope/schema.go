package scope

import (
	"fmt"
	"slices"
	"strconv"
)

// Schema is the scope of one schema of a database.
type Schema struct {
	OID      uint32 // of pg_namespace; 0 where there is no such schema (any more)
	Name     string
	Prefix   string  // of its roles, without the separator: the database's prefix, separator, the schema's name
	Marker   Cluster // the marker's name; where Enrolled is false, the name that it will get
	Enrolled bool    // whether the marker exists
	Searched bool    // whether it is, or may get, on the search_path: its roles are found by their names alone
}

// newSchema returns the scope of a schema of the database that has no marker yet.
func (d Database) newSchema(oid uint32, name string) Schema {
	s := Schema{OID: oid, Name: name, Prefix: d.Prefix + Separator + name}
	s.Marker = Cluster(schemaMarkerPrefix + d.Name + Separator + name)
	if len(s.Marker) > MaxName {
		s.Marker = d.numbered(oid)
	}
	return s
}

// numbered is the name of a schema's marker where the readable one is too long or another schema's: schema c of
// database a_b and schema b_c of database a want the same.
func (d Database) numbered(schema uint32) Cluster {
	return Cluster(schemaMarkerPrefix + strconv.FormatUint(uint64(d.OID), 10) +
		Separator + strconv.FormatUint(uint64(schema), 10))
}

// Schema returns a schema of the database as it is known, or else as it would be if it did not exist.
func (d Database) Schema(name string) Schema {
	i := slices.IndexFunc(d.Schemas, func(s Schema) bool { return s.Name == name })
	if i < 0 {
		return d.newSchema(0, name)
	}
	return d.Schemas[i]
}

// Qualify returns the cluster name of a role of this schema. It fails as [Database.Qualify] does.
func (s Schema) Qualify(name Short) (Cluster, *Error) {
	return qualify(s.Prefix, "schema", s.Name, name)
}

// schemaComment returns the comment on the marker that a schema gets.
func (d Database) schemaComment(s Schema) markerComment {
	return markerComment{
		OID: d.OID, Database: d.Name, Prefix: d.Prefix,
		Schema: s.Name, SchemaOID: s.OID, Version: markerVersion,
	}
}

// noSchema is what the server says of a schema that is not there (get_namespace_oid, src/backend/catalog/namespace.c).
func noSchema(name string) *Error {
	return &Error{Code: CodeUndefinedSchema, Message: fmt.Sprintf(`schema "%s" does not exist`, name)}
}
