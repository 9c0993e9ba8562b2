package rewrite

import "maps"

// shownRelation is a relation of the server's catalogs that holds role names.
type shownRelation struct {
	columns map[string]column // the columns with names in them
	roles   []roleColumns     // rows of roles that do not exist for the database are hidden
	names   namesOf           // by which it knows roles
	oid     string            // of one name: the column with the role's OID; empty for none
	class   string            // the column that tells of which catalog the OIDs in roles are; empty where all are roles'
}

// roleColumns are the columns that tell a role, by name and by OID; empty for none.
type roleColumns struct{ name, oid string }

// column says what of a column is a role's name.
type column int

const (
	nameColumn       column = iota + 1 // name
	identifierColumn                   // information_schema.sql_identifier, a domain over name
	namesColumn                        // name[]
	settingsColumn                     // text[] of setting=value, as pg_db_role_setting has them
	definitionColumn                   // text with the definition of what is kept
	characterColumn                    // the same of type information_schema.character_data
	aclColumn                          // aclitem[], of which a text[] is made
)

// relations has a row for each relation of PostgreSQL 14 to 18 that holds role names in a form that can be mapped. Their
// other columns, and what newer versions add, the server itself tells: see [ColumnsSQL].
//
// Left out on purpose: texts of statements (pg_stat_activity.query), which are no names; pg_class and its like, whose
// access lists are mapped where they become texts (see aclColumnOf).
var relations = func() map[string]shownRelation {
	named := func(user string) shownRelation {
		return shownRelation{columns: map[string]column{user: nameColumn}, names: ofSnapshot}
	}
	owned := func(owner string) shownRelation { return shownRelation{columns: map[string]column{owner: nameColumn}} }
	all := map[string]shownRelation{
		"pg_catalog.pg_roles": {
			columns: map[string]column{"rolname": nameColumn, "rolconfig": settingsColumn}, roles: []roleColumns{{"rolname", "oid"}}, oid: "oid",
		},
		"pg_catalog.pg_authid": {columns: map[string]column{"rolname": nameColumn}, roles: []roleColumns{{"rolname", "oid"}}, oid: "oid"},
		"pg_catalog.pg_user": {
			columns: map[string]column{"usename": nameColumn, "useconfig": settingsColumn}, roles: []roleColumns{{"usename", "usesysid"}}, oid: "usesysid",
		},
		"pg_catalog.pg_shadow": {
			columns: map[string]column{"usename": nameColumn, "useconfig": settingsColumn}, roles: []roleColumns{{"usename", "usesysid"}}, oid: "usesysid",
		},
		"pg_catalog.pg_group":           {columns: map[string]column{"groname": nameColumn}, roles: []roleColumns{{"groname", "grosysid"}}, oid: "grosysid"},
		"pg_catalog.pg_auth_members":    {roles: []roleColumns{{oid: "roleid"}, {oid: "member"}}},
		"pg_catalog.pg_db_role_setting": {columns: map[string]column{"setconfig": settingsColumn}, roles: []roleColumns{{oid: "setrole"}}},

		"pg_catalog.pg_shdescription": {roles: []roleColumns{{oid: "objoid"}}, class: "classoid"},
		"pg_catalog.pg_shseclabel":    {roles: []roleColumns{{oid: "objoid"}}, class: "classoid"},

		"pg_catalog.pg_tables":          owned("tableowner"),
		"pg_catalog.pg_views":           {columns: map[string]column{"viewowner": nameColumn, "definition": definitionColumn}},
		"pg_catalog.pg_matviews":        {columns: map[string]column{"matviewowner": nameColumn, "definition": definitionColumn}},
		"pg_catalog.pg_rules":           {columns: map[string]column{"definition": definitionColumn}},
		"pg_catalog.pg_sequences":       owned("sequenceowner"),
		"pg_catalog.pg_stats_ext":       owned("statistics_owner"),
		"pg_catalog.pg_stats_ext_exprs": owned("statistics_owner"),
		"pg_catalog.pg_policies": {columns: map[string]column{
			"roles": namesColumn, "qual": definitionColumn, "with_check": definitionColumn,
		}, names: ofSnapshot},
		"pg_catalog.pg_stat_activity":    {columns: map[string]column{"usename": nameColumn}, oid: "usesysid"},
		"pg_catalog.pg_stat_replication": {columns: map[string]column{"usename": nameColumn}, oid: "usesysid"},
		"pg_catalog.pg_prepared_xacts":   named("owner"),
		"pg_catalog.pg_user_mappings":    named("usename"),
	}
	for view, columns := range map[string][]string{
		"table_privileges": {"grantor", "grantee"}, "role_table_grants": {"grantor", "grantee"},
		"column_privileges": {"grantor", "grantee"}, "role_column_grants": {"grantor", "grantee"},
		"routine_privileges": {"grantor", "grantee"}, "role_routine_grants": {"grantor", "grantee"},
		"udt_privileges": {"grantor", "grantee"}, "role_udt_grants": {"grantor", "grantee"},
		"usage_privileges": {"grantor", "grantee"}, "role_usage_grants": {"grantor", "grantee"},
		"enabled_roles": {"role_name"}, "applicable_roles": {"grantee", "role_name"},
		"administrable_role_authorizations": {"grantee", "role_name"},
		"schemata":                          {"schema_owner"},
		"foreign_data_wrappers":             {"authorization_identifier"},
		"foreign_servers":                   {"authorization_identifier"},
		"user_mappings":                     {"authorization_identifier"},
		"user_mapping_options":              {"authorization_identifier"},
		"_pg_foreign_data_wrappers":         {"authorization_identifier"},
		"_pg_foreign_servers":               {"authorization_identifier"},
		"_pg_foreign_tables":                {"authorization_identifier"},
		"_pg_user_mappings":                 {"authorization_identifier", "srvowner"},
	} {
		r := shownRelation{columns: make(map[string]column), names: ofSnapshot}
		for _, c := range columns {
			r.columns[c] = identifierColumn
		}
		switch view {
		case "enabled_roles", "applicable_roles", "administrable_role_authorizations":
			for _, c := range columns {
				r.roles = append(r.roles, roleColumns{name: c})
			}
		}
		all["information_schema."+view] = r
	}
	for view, c := range map[string]string{
		"check_constraints": "check_clause", "columns": "column_default", "domains": "domain_default",
		"parameters": "parameter_default", "triggers": "action_condition", "views": "view_definition",
	} {
		all["information_schema."+view] = shownRelation{columns: map[string]column{c: characterColumn}}
	}
	return all
}()

// catalogTables are those of these relations that are tables. Of views the server copies nothing by their names.
var catalogTables = set(
	"pg_catalog.pg_auth_members", "pg_catalog.pg_authid", "pg_catalog.pg_db_role_setting", "pg_catalog.pg_shdescription", "pg_catalog.pg_shseclabel",
)

// isTable reports whether a relation for which a subselect stands in is a table.
func isTable(relation string) bool {
	_, acl := aclRelations[relation]
	return acl || has(catalogTables, relation)
}

// nameColumns are the columns of these relations that hold a role's name.
var nameColumns = func() map[string]struct{} {
	names := set()
	for _, r := range relations {
		for name, c := range r.columns {
			if c == nameColumn || c == identifierColumn {
				names[name] = struct{}{}
			}
		}
	}
	return names
}()

// aclColumnOf has the catalogs with access lists, and the column that is one: of type aclitem[]. The server writes it with
// the roles' names where it becomes a text: when it is sent to the client, cast, or joined by array_to_string.
var aclColumnOf = map[string]string{
	"pg_attribute": "attacl", "pg_class": "relacl", "pg_database": "datacl", "pg_default_acl": "defaclacl",
	"pg_foreign_data_wrapper": "fdwacl", "pg_foreign_server": "srvacl", "pg_init_privs": "initprivs", "pg_language": "lanacl",
	"pg_largeobject_metadata": "lomacl", "pg_namespace": "nspacl", "pg_parameter_acl": "paracl", "pg_proc": "proacl",
	"pg_tablespace": "spcacl", "pg_type": "typacl",
}

var aclCatalogs, aclColumns = func() (catalogs, columns map[string]struct{}) {
	catalogs, columns = set(), set()
	for catalog, column := range aclColumnOf {
		catalogs[catalog], columns[column] = struct{}{}, struct{}{}
	}
	return catalogs, columns
}()

// aclRelations are these catalogs for what makes texts of whole rows: queries (see [catalogReader.rowsBecomeTexts]) and COPY.
var aclRelations = func() map[string]shownRelation {
	all := make(map[string]shownRelation, len(aclColumnOf))
	for catalog, c := range aclColumnOf {
		all["pg_catalog."+catalog] = shownRelation{columns: map[string]column{c: aclColumn}}
	}
	return all
}()

// relationCalled returns what is known of a relation.
func relationCalled(name string) shownRelation {
	if r, ok := relations[name]; ok {
		return r
	}
	return aclRelations[name]
}

// aclFunctions return access lists.
var aclFunctions = set("acldefault", "pg_get_acl")

// oidColumns are the catalogs' columns that hold a role's OID (pg_get_catalog_foreign_keys): what is cast to regrole there
// is no name. grantor is not among them: the information schema has names in a column that is called so.
var oidColumns = set(
	"oid", "proowner", "typowner", "relowner", "oprowner", "opfowner", "opcowner", "lanowner", "lomowner", "stxowner",
	"evtowner", "nspowner", "conowner", "datdba", "setrole", "spcowner", "roleid", "member",
	"cfgowner", "dictowner", "extowner", "fdwowner", "srvowner", "umuser", "defaclrole", "collowner", "pubowner",
	"subowner", "refobjid", "usesysid", "grosysid",
)

// setFunctions return sets of what may be, or hold, a role's name or OID: an expression with one cannot stand in a subquery.
var setFunctions = set(
	"aclexplode", "generate_series", "generate_subscripts", "json_array_elements", "json_array_elements_text", "json_each", "json_each_text",
	"json_object_keys", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_each", "jsonb_each_text", "jsonb_object_keys",
	"jsonb_path_query", "jsonb_path_query_tz", "regexp_matches", "regexp_split_to_table", "string_to_table", "unnest",
)

// textFunctions make texts of values of any type.
var textFunctions = set(
	"array_to_json", "concat", "concat_ws", "format", "json_agg", "json_agg_strict", "json_build_array", "json_build_object",
	"json_object_agg", "json_object_agg_strict", "json_object_agg_unique", "json_object_agg_unique_strict", "jsonb_agg",
	"jsonb_agg_strict", "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg", "jsonb_object_agg_strict",
	"jsonb_object_agg_unique", "jsonb_object_agg_unique_strict", "quote_ident", "quote_literal", "quote_nullable", "row_to_json",
	"string_agg", "to_json", "to_jsonb",
)

// arrayAggregate makes an array of values, of which a text may be made then.
const arrayAggregate = "array_agg"

// rowFunctions return what one of their arguments is in another row, or in any.
var rowFunctions = set("any_value", "first_value", "lag", "last_value", "lead", "nth_value")

// textTypes are the types that a cast makes a text to. Arrays of them count too.
var textTypes = set("text", "varchar", "bpchar", "name", "json", "jsonb")

// call says what becomes of a call of a function that takes or returns a role's name.
type call struct {
	args    []form // how each argument names a role; asItIs: it does not. A call with more arguments, or fewer, is another function's
	result  form   // what its result is shown as
	setting bool   // it is about the setting that its first argument names, and is meant only if that is a role
}

// systemUser tells how the session's user was authenticated, and as whom. Servers before firstSystemUser do not know it.
const (
	systemUser      = "system_user"
	firstSystemUser = 160000
)

// calls are such functions, each with its numbers of arguments.
var calls = func() map[string][]call {
	all := map[string][]call{
		"pg_get_userbyid": {{args: []form{asItIs}, result: shortNames}},
		"current_user":    {{result: shortName}},
		"session_user":    {{result: shortName}},
		"user":            {{result: shortName}},
		"getpgusername":   {{result: shortName}},
		systemUser:        {{result: shortSystem}},
		"current_setting": {{args: []form{asItIs}, result: shortText, setting: true}, {args: []form{asItIs, asItIs}, result: shortText, setting: true}},
		"set_config":      {{args: []form{asItIs, clusterText, asItIs}, result: shortText, setting: true}},
		"to_regrole":      {{args: []form{clusterIdent}}},
		"regrole":         {{args: []form{clusterRegrole}}},
		"pg_has_role":     {{args: []form{clusterMember, asItIs}}, {args: []form{clusterMember, clusterMember, asItIs}}},

		"has_column_privilege": {{args: []form{clusterOID, asItIs, asItIs, asItIs}}},
	}
	for _, object := range []string{
		"any_column", "database", "foreign_data_wrapper", "function", "language", "largeobject", "parameter", "schema", "sequence", "server",
		"table", "tablespace", "type",
	} {
		all["has_"+object+"_privilege"] = []call{{args: []form{clusterOID, asItIs, asItIs}}}
	}
	return all
}()

// definitionFunctions return the text of what the server keeps.
var definitionFunctions = set(
	"pg_get_constraintdef", "pg_get_expr", "pg_get_function_arg_default", "pg_get_function_arguments",
	"pg_get_function_sqlbody", "pg_get_functiondef", "pg_get_ruledef", "pg_get_triggerdef", "pg_get_viewdef",
)

// definitionColumns hold the text itself, in catalogs that are no views.
var definitionColumns = set("typdefault")

// catalogWords are the words of which a query that shows or asks about roles has at least one. Those that need a second
// word beside them are the business of [MayReadRoles].
var catalogWords = func() map[string]struct{} {
	words := set(
		"current_role", "information_schema", "session_authorization", "aclitem", "makeaclitem", "explain",
	)
	for _, more := range []map[string]struct{}{aclColumns, aclFunctions, definitionFunctions, definitionColumns} {
		maps.Copy(words, more)
	}
	for name, known := range calls {
		if !known[0].setting {
			words[name] = struct{}{}
		}
	}
	for name := range relations {
		if schema, relation := cutSchema(name); schema == "pg_catalog" {
			words[relation] = struct{}{}
		}
	}
	return words
}()

func set(words ...string) map[string]struct{} {
	s := make(map[string]struct{}, len(words))
	for _, w := range words {
		s[w] = struct{}{}
	}
	return s
}

func has(s map[string]struct{}, word string) bool {
	_, ok := s[word]
	return ok
}
