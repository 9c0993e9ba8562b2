package rewrite

import (
	"github.com/pgscope/pgscope-proxy/scope"
)

// This file has the SQL that stands in for a reference. It runs in the client's session with the client's search_path, so
// every name and operator in it is qualified; what it names of its own begins with pgscope_, which no client's
// name should. It reads what every role may read. On one line, for positions and logs.

// missing begins the name of a role that cannot exist: the server says of it, in its own words and with its own
// SQLSTATE, that it does not, and [Localizer] takes the beginning off.
const missing = scope.Reserved + "missing_"

// Parts of the SQL. In braces: {lead} what the database's roles begin with, {marker} its marker's OID; {marked} the
// schemas with roles, as a relation; {name} and {oid} expressions for a role; {=} and the like are operators.
//
// Lists of roles are long and their planner's statistics are young: what tells of each role whose it is, is a set that is
// made once (IN), at the first role that it is needed for. Of single names it is looked up (EXISTS).
const (
	// oidSQL is the OID of the role {name}, NULL where there is none.
	oidSQL = `pg_catalog.to_regrole(pg_catalog.quote_ident({name}::pg_catalog.text))::pg_catalog.oid`

	// markerSQL is the OID of the database's marker where it is not known, looked up once for a query; 0 for none. Of
	// pg_auth_members the planner always expects few rows (its statistics are those of the relation cache's file), so
	// that it may read all of them where an index would serve: then it is this that makes a row cheap.
	markerSQL = `(SELECT COALESCE(pg_catalog.to_regrole({marker})::pg_catalog.oid, 0::pg_catalog.oid))`

	// shownSQL is the name that the database has for one of its roles, NULL for all others. It is the rule of scope.View: a
	// member of the marker, with the prefix.
	shownSQL = `CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) THEN CASE WHEN {member} THEN {cut}{ofSchema} END END`
	cutSQL   = `pg_catalog.substr({name}::pg_catalog.text, {behindLead})`

	// memberSQL looks one role up among the members of the database's marker.
	memberSQL = `(SELECT true FROM pg_catalog.pg_auth_members pgscope_m` +
		` WHERE pgscope_m.roleid {=} {ours} AND pgscope_m.member {=} {oid} LIMIT 1)`

	// allShownSQL has the short names of all roles of the database, by their names: for expressions that stand in many
	// rows. A role that is renamed or dropped meanwhile has one name for the statement's snapshot and another, or none,
	// for the server's functions, so {names} are those by which the expressions know roles.
	allShownSQL = `COALESCE((SELECT pg_catalog.jsonb_object_agg(pgscope_a.n, pg_catalog.concat(pgscope_a.s, pg_catalog.right(pgscope_a.n,` +
		` pg_catalog.length(pgscope_a.l) {*} -1))) FROM ({allMembers}) pgscope_a (n, l, s)` +
		` WHERE pg_catalog.starts_with(pgscope_a.n, pgscope_a.l)), '{}'::pg_catalog.jsonb)`
	allMembersSQL = `SELECT pgscope_n.n, {lead}::pg_catalog.text, ''::pg_catalog.text` +
		` FROM pg_catalog.pg_auth_members pgscope_m{names} WHERE pgscope_m.roleid {=} {ours}`
	allOfSchemasSQL = ` UNION ALL SELECT pgscope_n.n, pgscope_k.l, pgscope_k.s {||} '.' FROM {marked}` +
		` JOIN pg_catalog.pg_auth_members pgscope_m ON pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid{names}`
	functionNamesSQL = ` CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_userbyid(pgscope_m.member)::pg_catalog.text) pgscope_n (n)`
	snapshotNamesSQL = ` JOIN pg_catalog.pg_roles pgscope_g ON pgscope_g.oid {=} pgscope_m.member` +
		` CROSS JOIN LATERAL (SELECT pgscope_g.rolname::pg_catalog.text) pgscope_n (n)`

	// singleSQL is the short name of a role in a row, where the database has no roles of schemas.
	singleSQL = `CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) AND {key} {=} ANY (SELECT {member}` +
		` FROM pg_catalog.pg_auth_members pgscope_m{names} WHERE pgscope_m.roleid {=} {ours}) THEN ({cut}){type} ELSE {name} END`

	// ofSchemaSQL is the name of a role of a schema.
	ofSchemaSQL = ` ELSE (SELECT pgscope_k.s {||} '.' {||} pg_catalog.right({name}::pg_catalog.text, pg_catalog.length(pgscope_k.l) {*} -1)` +
		` FROM {marked} WHERE pg_catalog.starts_with({name}::pg_catalog.text, pgscope_k.l) AND EXISTS (` +
		`SELECT FROM pg_catalog.pg_auth_members pgscope_m WHERE pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid` +
		` AND pgscope_m.member {=} {oid}) LIMIT 1)`

	// othersSQL are the conditions of a marker pgscope_d of another database or its schemas. Roles of this database are
	// told before the roles of others are looked at.
	othersSQL = `pgscope_d.classoid {=} 1260::pg_catalog.oid` +
		` AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(pgscope_d.objoid)::pg_catalog.text, 'pgscope_')` +
		` AND pg_catalog.strpos(pgscope_d.description, {inComments}) {=} 0`

	// foreignSQL: the role belongs to another database, by a marker that is not this one's and the prefix in its comment.
	foreignSQL = `EXISTS (SELECT FROM pg_catalog.pg_auth_members pgscope_m JOIN pg_catalog.pg_shdescription pgscope_d` +
		` ON pgscope_d.objoid {=} pgscope_m.roleid WHERE pgscope_m.member {=} (SELECT {oid}) AND {others}` +
		` AND pg_catalog.starts_with({name}::pg_catalog.text, {otherLead}))`

	// foreignersSQL are the members of other databases' markers, the known ones and those that have come since: by OIDs,
	// which no snapshot has otherwise. Who is among them, and not theirs, the census tells.
	foreignersSQL = `(SELECT pgscope_f.member FROM pg_catalog.pg_auth_members pgscope_f WHERE {known}pgscope_f.roleid {<>} {ours}{notSchemas}` +
		` AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(pgscope_f.roleid)::pg_catalog.text, 'pgscope_'))`

	// twinSQL is the OID of the database's role that is called {name} there, NULL where there is none.
	twinSQL = `(SELECT pgscope_m.member FROM pg_catalog.pg_auth_members pgscope_m` +
		` WHERE pgscope_m.roleid {=} {ours} AND pgscope_m.member {=} {namesake} LIMIT 1)`

	// namesakeSQL is the OID of the role with the prefix and {name}. A name that is too long
	// would be cut, and be another's.
	namesakeSQL = `pg_catalog.to_regrole(CASE WHEN pg_catalog.octet_length({name}::pg_catalog.text) {<=} {room}` +
		` THEN pg_catalog.quote_ident({lead} {||} {name}::pg_catalog.text) END)::pg_catalog.oid`

	// schemaTwinSQL is the OID of the role of a schema that {name} means: by itself along the search_path, or with the schema
	// before it, unless the database has a role of that name.
	schemaTwinSQL = `(SELECT pgscope_m.member FROM {marked} CROSS JOIN LATERAL (VALUES` +
		` (CASE WHEN pgscope_k.s COLLATE pg_catalog."C" {=} ANY ({path}) THEN {name}::pg_catalog.text END),` +
		` (CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, pgscope_k.s {||} '.') AND {twin} IS NULL` +
		` THEN pg_catalog.substr({name}::pg_catalog.text, pg_catalog.length(pgscope_k.s) {+} 2) END)) pgscope_c (n)` +
		` JOIN pg_catalog.pg_auth_members pgscope_m ON pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid` +
		` AND pgscope_m.member {=} pg_catalog.to_regrole(CASE WHEN pg_catalog.octet_length(pgscope_k.l {||} pgscope_c.n) {<=} 63` +
		` THEN pg_catalog.quote_ident(pgscope_k.l {||} pgscope_c.n) END)::pg_catalog.oid` +
		` ORDER BY pg_catalog.array_position({path}, pgscope_k.s COLLATE pg_catalog."C") LIMIT 1)`
	pathSQL = `pg_catalog.current_schemas(false)::pg_catalog.text[]`
	noPath  = `'{}'::pg_catalog.text[]`

	reservedSQL = `pg_catalog.starts_with({name}::pg_catalog.text, 'pgscope_')`

	// settingTextSQL does that in the text of the array.
	settingTextSQL = `pg_catalog.replace(pg_catalog.replace(pg_catalog.replace({settings}, {opened}, {open} {||} '{setting}'),` +
		` {next}, ',{setting}'), {quoted}, '"{setting}')`

	// shadowedSQL: the role, which is none of the database's, has the name of one.
	shadowedSQL = `NOT (pg_catalog.starts_with({name}::pg_catalog.text, {lead}){andIsOwn}) AND {namesakeIsOwn}`

	// settingSQL has the short name for that of the role which the {setting} among {settings} is, if it is there.
	settingSQL     = `pg_catalog.array_replace({settings}, '{setting}' {||} {role}, '{setting}' {||} {short})`
	settingRoleSQL = `pg_catalog.substring(pg_catalog.array_to_string({settings}, E'\x01'), E'(?:^|\\x01){setting}([^\\x01]*)')`

	// aclShownSQL has the short names of {names} as an access list has them, by the names as it has them. putid (acl.c)
	// quotes them; which letters beyond ASCII want quotes depends on the server, so the longer name's quotes tell.
	aclShownSQL = `(SELECT COALESCE(pg_catalog.jsonb_object_agg(pgscope_k.k, CASE WHEN pgscope_a.n {~} pgscope_k.odd` +
		` THEN '"' {||} pg_catalog.replace(pgscope_a.n, '"', '""') {||} '"' ELSE pgscope_a.n END), '{}'::pg_catalog.jsonb)` +
		` FROM ROWS FROM (pg_catalog.jsonb_each_text({names})) pgscope_a (c, n), LATERAL (VALUES (pgscope_a.c, {oddASCII}),` +
		` ('"' {||} pg_catalog.replace(pgscope_a.c, '"', '""') {||} '"', {odd})) pgscope_k (k, odd))`

	// isOwnSQL: the role {oid} is one of the database's, if there is one and it has the name of one. Nothing has
	// to be planned for pg_has_role, which takes superusers, and members of members, for members too: where
	// there are such, the census says it.
	isOwnSQL = `pg_catalog.pg_has_role({oid}, {ours}, 'MEMBER')`

	// aclTextSQL is {text}, that of an access list, in short names. In it a name stands behind one of four characters,
	// and where they stand in names themselves with {lead} behind them, the census says it.
	aclTextSQL = `pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace({text}, {opened}, {open}), {next}, ','), {by}, '/'), {quoted}, '"')`

	// aclTextsSQL is aclTextSQL of the list pgscope_x.x, {short}, without the items of markers:
	// behind a comma, or as the first.
	aclTextsSQL = `(CASE WHEN pg_catalog.strpos(pgscope_x.x, 'pgscope_') {=} 0 THEN {short}` +
		` ELSE pg_catalog.regexp_replace(pg_catalog.regexp_replace({short}, {followed}, '', 'g'), {first}, {open}) END)::pg_catalog.text[]`

	// maybeRoleSQL and maybeRoleFromSQL are set_config of a setting that may be about roles,
	// before and behind its arguments.
	maybeRoleSQL = `(SELECT CASE WHEN pgscope_y.r THEN {short} ELSE pgscope_y.x END AS {as} FROM (SELECT pgscope_r.r,` +
		` pg_catalog.set_config({setting}, CASE WHEN pgscope_r.r THEN {name} ELSE pgscope_x.x END, pgscope_x.b) AS x FROM (SELECT `
	maybeRoleFromSQL = ` OFFSET 0) pgscope_x, LATERAL (SELECT {name} AS n) pgscope_n,` +
		` LATERAL (SELECT pg_catalog.lower(pgscope_x.s) {=} ANY ({settings}::pg_catalog.text[]) AS r OFFSET 0) pgscope_r,` +
		` LATERAL (SELECT CASE WHEN pgscope_r.r THEN {twin} END AS own OFFSET 0) pgscope_o OFFSET 0) pgscope_y)`

	// newTextSQL is what the role {name} is to be called in the cluster, or a name that the server refuses
	// with what it would say of {name}.
	newTextSQL = `CASE WHEN {name} {=} ANY (ARRAY['', 'public', 'none']::pg_catalog.text[]) OR pg_catalog.starts_with({name}, 'pg_') THEN {name}` +
		` WHEN pg_catalog.starts_with({name}, 'pgscope_') THEN 'pg_' {||} {name}` +
		` WHEN pgscope_o.own IS NULL AND {oid} IS NOT NULL AND NOT {hidden} THEN {name} ELSE {lead} {||} {name} END`

	// hiddenSQL: {name} is a role of the cluster, but no name of the database.
	hiddenSQL = `({reserved} OR ({shown}) IS NOT NULL OR {foreign})`
)

const (
	typeName = "::pg_catalog.name"
	typeText = "::pg_catalog.text"

	typeIdentifier = "::information_schema.sql_identifier"
)
