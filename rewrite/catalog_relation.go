package rewrite

import (
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// rowNames is what the relation's subselect has beside each row: what the database's roles are called, by their names.
const rowNames = "pgscope_o.o"

// relation returns the subselect that stands in for a relation: the same columns, in short
// names. sample is a clause behind it.
func (l lens) relation(name string, columns []string, sample string) string {
	const row = "pgscope_r."
	rel := relationCalled(name)
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = row + scope.QuoteIdent(c)
		if mapped := l.single(rel, rel.columns[c], list[i]); mapped != "" {
			list[i] = mapped + " AS " + scope.QuoteIdent(c)
		} else if mapped := l.column(rel.columns[c], list[i]); mapped != "" {
			list[i] = mapped + " AS " + scope.QuoteIdent(c)
		}
	}
	shown, where := strings.Join(list, ", "), ""
	var roles []role
	for _, c := range rel.roles {
		var r role
		if c.oid != "" {
			r.oid = row + scope.QuoteIdent(c.oid)
			r.name = "pg_catalog.pg_get_userbyid(" + r.oid + ")"
		}
		if c.name != "" {
			r.name = row + scope.QuoteIdent(c.name)
		}
		if c.oid == "" {
			r.oid = l.oid(r.name)
		}
		roles = append(roles, r)
	}
	if roles != nil {
		where = l.visible(roles)
		if rel.class != "" {
			where = row + scope.QuoteIdent(rel.class) + l.sql(" {<>} 1260::pg_catalog.oid OR ") + where
		}
		where = " WHERE " + where
	}
	beside := ""
	if strings.Contains(shown+where, rowNames) {
		beside = l.beside(rel.names)
	}
	schema, table := cutSchema(name)
	return "(SELECT " + shown + " FROM " + scope.QuoteIdent(schema) + "." + scope.QuoteIdent(table) + " pgscope_r" + sample + beside + where + ")"
}

// beside is the item of a FROM list that has [rowNames]. OFFSET keeps the planner from making them anew for each use.
func (l lens) beside(of namesOf) string {
	return ", (SELECT " + l.allShown(of) + " AS o OFFSET 0) pgscope_o"
}

// single returns the expression for the one name of a relation; empty where there are more, which share what the
// query makes of all the database's roles. Of one, a set of them is cheaper to plan.
func (l lens) single(rel shownRelation, kind column, ref string) string {
	names := 0
	for _, k := range rel.columns {
		if k != definitionColumn && k != settingsColumn {
			names++
		}
	}
	if names != 1 || l.marked != "" || kind != nameColumn && kind != identifierColumn {
		return ""
	}
	typ, key, member, from := typeName, ref+typeText, "pgscope_n.n", functionNamesSQL
	if kind == identifierColumn {
		typ = typeIdentifier
	}
	switch {
	case rel.oid != "":
		key, member, from = "pgscope_r."+scope.QuoteIdent(rel.oid), "pgscope_m.member", ""
	case rel.names == ofSnapshot:
		from = l.sql(snapshotNamesSQL)
	}
	return l.sql(singleSQL, "name", ref, "type", typ, "key", key, "member", member, "names", from, "cut", l.sql(cutSQL, "name", ref))
}

// column returns the expression for a column, empty where it stays as it is.
func (l lens) column(kind column, ref string) string {
	switch kind {
	case nameColumn:
		return l.rows(ref, typeName)
	case identifierColumn:
		return l.rows(ref, typeIdentifier)
	case namesColumn:
		return "CASE WHEN " + ref + " IS NULL THEN NULL ELSE ARRAY(SELECT " + l.rows("pgscope_u.n", typeName) +
			" FROM ROWS FROM (pg_catalog.unnest(" + ref + ")) WITH ORDINALITY pgscope_u (n, i) ORDER BY pgscope_u.i) END"
	case settingsColumn:
		return l.settings(ref)
	case definitionColumn:
		return l.definition(ref)
	case characterColumn:
		return l.definition(ref) + "::information_schema.character_data"
	case aclColumn:
		before, after := l.wrap(aclTexts, "x")
		return before + ref + after
	default:
		return ""
	}
}

// settings returns the expression for a list of settings, some of which are roles.
func (l lens) settings(list string) string {
	shown := list
	if l.spells() {
		shown += typeText
	}
	for _, s := range []string{settingRole + "=", settingSession + "="} {
		if l.spells() {
			shown = l.sql(settingTextSQL, "settings", shown, "setting", s, "opened", l.behind("{"+s), "next", l.behind(","+s), "quoted", l.behind(`"`+s))
			continue
		}
		role := l.sql(settingRoleSQL, "settings", list, "setting", s)
		shown = l.sql(settingSQL, "settings", shown, "setting", s, "role", role, "short", l.short(role, typeText))
	}
	if l.spells() {
		shown += "::pg_catalog.text[]"
	}
	return shown
}

// cutSchema splits the key of a relation.
func cutSchema(name string) (schema, table string) {
	schema, table, _ = strings.Cut(name, ".")
	return schema, table
}

// ColumnsSQL asks for the columns of the catalogs' relations with role names; the rows are for [ReadColumns].
func ColumnsSQL() (sql string, params []string) {
	names := slices.Concat(slices.Sorted(maps.Keys(relations)), slices.Sorted(maps.Keys(aclRelations)))
	return `SELECT pgscope_n.n, pgscope_a.attname::pg_catalog.text` +
			` FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[])) pgscope_n (n)` +
			` JOIN pg_catalog.pg_attribute pgscope_a ON pgscope_a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(pgscope_n.n)::pg_catalog.oid` +
			` WHERE pgscope_a.attnum OPERATOR(pg_catalog.>) 0 AND NOT pgscope_a.attisdropped` +
			` ORDER BY pgscope_a.attrelid USING OPERATOR(pg_catalog.<), pgscope_a.attnum USING OPERATOR(pg_catalog.<)`,
		[]string{"{" + strings.Join(names, ",") + "}"}
}

// Columns are the columns of the catalogs' relations with role names, in their order, as a server has them.
type Columns map[string][]string

// ReadColumns reads the answer to [ColumnsSQL].
func ReadColumns(rows [][]string) Columns {
	c := make(Columns, len(relations))
	for _, r := range rows {
		if len(r) == 2 {
			c[r[0]] = append(c[r[0]], r[1])
		}
	}
	return c
}
