package rewrite

import (
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// A name that is a constant of the query means one role, and which it is, is mostly known: from the
// census, from how the name is made. This file has the SQL for such names. Where they are not so plain,
// the general one of catalog_sql.go is right too.
const (
	// onlySQL are the rows of {relation} that the database knows by a constant: the one that has it for its name, where
	// no role of the database has it, or the database's own.
	onlySQL = `(SELECT {columns} FROM {relation} pgscope_r WHERE {rolname} {=} ANY ({either})` +
		` AND CASE WHEN {rolname} {=} {name} THEN {namesakeIsOwn} IS NOT TRUE ELSE {isOwn} END)`

	// onlyOthersSQL is onlySQL where the name may be another database's role: then its memberships are looked up.
	onlyOthersSQL = `(SELECT {columns} FROM {relation} pgscope_r WHERE {rolname} {=} ANY ({either})` +
		` AND ((SELECT true FROM pg_catalog.pg_auth_members pgscope_m WHERE pgscope_m.member {=} {oid} AND CASE WHEN {rolname} {=} {name}` +
		` THEN pgscope_m.roleid {<>} {ours} AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(pgscope_m.roleid)::pg_catalog.text, 'pgscope_'){unlessGuest}` +
		` ELSE pgscope_m.roleid {=} {ours} END LIMIT 1) IS NULL) {=} ({rolname} {=} {name})` +
		` AND ({rolname} {<>} {name} OR {namesakeIsOwn} IS NOT TRUE))`

	// knownSQL are those where it is known which it is, {known} in the cluster, and that {stays} so.
	knownSQL = `(SELECT {columns} FROM {relation} pgscope_r WHERE {rolname} {=} {known} AND {stays})`
)

// only is relation where the query looks for one name alone; empty where that needs to be told as of all others.
func (l lens) only(name string, columns []string, constant string) string {
	own, ok := l.twinOf(constant)
	if !ok {
		return ""
	}
	rel, quoted := relations[name], scope.QuoteLiteral(constant)
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = "pgscope_r." + scope.QuoteIdent(c)
		mapped := l.column(rel.columns[c], list[i])
		if rel.columns[c] == nameColumn {
			mapped = quoted + typeName
		}
		if mapped != "" {
			list[i] = mapped + " AS " + scope.QuoteIdent(c)
		}
	}
	oid, isOwn := "pgscope_r."+rel.roles[0].oid, l.sql(isOwnSQL, "oid", "pgscope_r."+rel.roles[0].oid)
	template, known, stays := knownSQL, scope.QuoteLiteral(string(own)), isOwn
	switch m := l.census.Means(scope.Short(constant)); {
	case m.OID != 0:
		stays = oid + l.sql(" {=} ") + oidLiteral(m.OID)
		if !m.Own {
			known = quoted
		}
	case m.Own && alwaysSeen(constant):
	case alwaysSeen(constant):
		template = onlySQL
	default:
		template = onlyOthersSQL
	}
	schema, table := cutSchema(name)
	return l.sql(template, "columns", strings.Join(list, ", "), "relation", scope.QuoteIdent(schema)+"."+scope.QuoteIdent(table),
		"rolname", "pgscope_r."+rel.roles[0].name, "known", known, "stays", stays, "name", quoted,
		"either", scope.QuoteLiteral(scope.Array(own, scope.Cluster(constant))), "oid", oid, "unlessGuest", l.unlessGuest(oid),
		"isOwn", isOwn, "namesakeIsOwn", l.namesakeIsOwn(own))
}

// namesakeIsOwn is whether the role that has the name is one of the database's.
func (l lens) namesakeIsOwn(own scope.Cluster) string {
	return l.sql(isOwnSQL, "oid", "pg_catalog.to_regrole("+scope.QuoteLiteral(own.Ident())+")::pg_catalog.oid")
}

// twinOf is the name that a role of the database has in the cluster whose name is a constant; false where the constant is
// none, may mean a role of a schema too, is itself a role's name in the cluster, or where too little is known.
func (l lens) twinOf(constant string) (scope.Cluster, bool) {
	own := scope.Cluster(l.prefix + constant)
	return own, constant != "" && l.census != nil && len(own) <= scope.MaxName &&
		!strings.HasPrefix(constant, scope.Reserved) && !strings.HasPrefix(constant, l.prefix)
}

// alwaysSeen tells the names that no role of another database has in the cluster: those have a separator, and
// PostgreSQL keeps names with pg_ for itself.
func alwaysSeen(name string) bool {
	return !strings.Contains(name, scope.Separator) || strings.HasPrefix(name, "pg_")
}

// said is the expression of the role that a constant says; empty where [lens.wrap] is to find that out.
func (l lens) said(f form, constant string) string {
	own, ok := l.twinOf(constant)
	if !ok {
		return ""
	}
	regrole := regroleInput(f)
	literal := func(name scope.Cluster) string {
		if regrole {
			return scope.QuoteLiteral(name.Ident()) + typeText
		}
		return scope.QuoteLiteral(string(name)) + typeName
	}
	meant := ""
	switch m := l.census.Means(scope.Short(constant)); {
	case m.OID != 0:
		name := scope.Cluster(constant)
		if m.Own {
			name = own
		}
		meant = l.sql("CASE WHEN pg_catalog.to_regrole({ident})::pg_catalog.oid {=} {oid} THEN {name} ELSE {missed} END",
			"ident", scope.QuoteLiteral(name.Ident()), "oid", oidLiteral(m.OID), "name", literal(name), "missed", scope.QuoteLiteral(missing+constant))
	case !alwaysSeen(constant):
		return ""
	case m.Own:
		meant = literal(own)
	default:
		meant = "CASE WHEN " + l.namesakeIsOwn(own) + " THEN " + literal(own) + " ELSE " + scope.QuoteLiteral(constant) + " END"
	}
	switch f {
	case clusterOID, clusterMember, clusterIdent:
		return meant
	case clusterRegrole:
		return "(" + meant + ")::pg_catalog.regrole"
	default:
		return ""
	}
}
