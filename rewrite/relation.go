package rewrite

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// relation is a catalog of roles that a query in a DO block reads.
type relation struct {
	span
	table string
	alias bool // it has one of its own
}

// roleCatalogs are the catalogs of roles: their columns, the same from PostgreSQL 14 to 18, of which the first two are
// the role's name and its OID.
var roleCatalogs = map[string][]string{
	"pg_roles": {
		"rolname", "oid", "rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb", "rolcanlogin", "rolreplication",
		"rolconnlimit", "rolpassword", "rolvaliduntil", "rolbypassrls", "rolconfig",
	},
	"pg_authid": {
		"rolname", "oid", "rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb", "rolcanlogin", "rolreplication",
		"rolbypassrls", "rolconnlimit", "rolpassword", "rolvaliduntil",
	},
	"pg_user": {
		"usename", "usesysid", "usecreatedb", "usesuper", "userepl", "usebypassrls", "passwd", "valuntil", "useconfig",
	},
	"pg_shadow": {
		"usename", "usesysid", "usecreatedb", "usesuper", "userepl", "usebypassrls", "passwd", "valuntil", "useconfig",
	},
	"pg_group": {"groname", "grosysid", "grolist"},
}

// shownRoles returns a subselect in the place of a catalog of roles: with the names that a session of the database
// sees, and without the roles that it does not. It can run anywhere: nothing in it is found by the search_path.
func shownRoles(table string, db scope.Database) string {
	columns := roleCatalogs[table]
	name, id := columns[0], columns[1]
	lead := db.Prefix + scope.Separator
	return strings.NewReplacer(
		"{name}", "pgscope_r."+name, "{oid}", "pgscope_r."+id, "{as}", name, "{table}", table,
		"{columns}", "pgscope_r."+strings.Join(columns[1:], ", pgscope_r."),
		"{marker}", db.Marker.Literal(), "{markers}", scope.QuoteLiteral(scope.Reserved),
		"{lead}", scope.QuoteLiteral(lead), "{after}", strconv.Itoa(utf8.RuneCountInString(lead)+1),
		"{separator}", scope.QuoteLiteral(scope.Separator), "=", "OPERATOR(pg_catalog.=)", "<>", "OPERATOR(pg_catalog.<>)", "\n", " ",
	).Replace(shownRolesSQL)
}

// shownRolesSQL has long names for what it joins: PL/pgSQL would take a shorter one for a variable of the block.
const shownRolesSQL = `(SELECT CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) AND EXISTS (
SELECT FROM pg_catalog.pg_auth_members pgscope_m JOIN pg_catalog.pg_roles pgscope_k ON pgscope_k.oid = pgscope_m.roleid
WHERE pgscope_m.member = {oid} AND pgscope_k.rolname = {marker}::pg_catalog.name)
THEN pg_catalog.substr({name}::pg_catalog.text, {after})::pg_catalog.name ELSE {name} END AS {as}, {columns}
FROM pg_catalog.{table} pgscope_r
WHERE NOT pg_catalog.starts_with({name}::pg_catalog.text, {markers}) AND NOT EXISTS (
SELECT FROM pg_catalog.pg_auth_members pgscope_m JOIN pg_catalog.pg_roles pgscope_k ON pgscope_k.oid = pgscope_m.roleid
JOIN pg_catalog.pg_shdescription pgscope_d ON pgscope_d.objoid = pgscope_k.oid AND pgscope_d.classoid = 1260::pg_catalog.oid
WHERE pgscope_m.member = {oid} AND pgscope_k.rolname <> {marker}::pg_catalog.name
AND pg_catalog.starts_with(pgscope_k.rolname::pg_catalog.text, {markers})
AND pg_catalog.starts_with({name}::pg_catalog.text, pg_catalog.concat(
pg_catalog.substring(pgscope_d.description, '"prefix":"([^"]*)"'), {separator}))))`

// readRelations finds the catalogs of roles that a statement reads from.
func (r *reader) readRelations(stmt *pg.Node) {
	local := make(map[string]bool) // the names of WITH queries
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		if c, ok := m.(*pg.CommonTableExpr); ok {
			local[c.Ctename] = true
		}
	})
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.SelectStmt:
			r.readFrom(n.FromClause, local)
		case *pg.UpdateStmt:
			r.readFrom(n.FromClause, local)
		case *pg.DeleteStmt:
			r.readFrom(n.UsingClause, local)
		case *pg.MergeStmt:
			r.readFrom([]*pg.Node{n.SourceRelation}, local)
		}
	})
}

func (r *reader) readFrom(list []*pg.Node, local map[string]bool) {
	for _, n := range list {
		if j := n.GetJoinExpr(); j != nil {
			r.readFrom([]*pg.Node{j.Larg, j.Rarg}, local)
			continue
		}
		v := n.GetRangeVar()
		if roleCatalogs[v.GetRelname()] == nil || v.Schemaname == "" && local[v.Relname] || v.Schemaname != "" && v.Schemaname != "pg_catalog" {
			continue
		}
		i := r.tokens.index(r.base + int(v.Location))
		if k := r.tokens.kind(i - 1); k == pg.Token_TABLE || k == pg.Token_ONLY {
			continue // no subselect can stand there
		}
		s, next, err := r.tokens.name(i)
		if err == nil && v.Schemaname != "" {
			var last spot
			last, _, err = r.tokens.name(next + 1)
			s.end, s.name = last.end, last.name
		}
		if err == nil && string(s.name) == v.Relname {
			r.relations = append(r.relations, relation{span{s.start, s.end}, v.Relname, v.Alias != nil})
		}
	}
}

// spliceRelations puts what the session sees in the place of the catalogs.
func (m *mapping) spliceRelations() {
	for _, c := range m.relations {
		text := shownRoles(c.table, m.view.DB)
		if !c.alias {
			text += " AS " + c.table
		}
		m.edits = append(m.edits, edit{c.start, c.end, text})
	}
}
