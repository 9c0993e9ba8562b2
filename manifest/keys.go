package manifest

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// What files say, as they say it. Each type has its table of keys beside it; what they mean is found out by compiler.

// document is what a manifest says of one database, and what a fragment of a bundle does.
type document struct {
	located
	shared
	schemas     []schemaEntry
	roles       []roleEntry
	grants      []grantEntry
	defaults    []defaultEntry
	memberships []membershipEntry
	retirements []retirementEntry

	fragment *fragment // nil: the document is no fragment of a bundle
}

// shared is what a manifest says for all its schemas, and a bundle for all its fragments.
type shared struct {
	defaultOwner text
	rolePattern  text
	profiles     []named[profileEntry]
}

// entries are the keys that a manifest and a fragment have in common.
var entries = []key[document]{
	field("schemas", "Schemas that shall exist, and the profiles that are bound to them.", listOf(schemaForm),
		func(d *document) *[]schemaEntry { return &d.schemas }),
	field("roles", "Roles that shall exist with these attributes and no others.", listOf(roleForm),
		func(d *document) *[]roleEntry { return &d.roles }),
	field("grants", "Privileges that roles shall have on objects, or shall not.", listOf(grantForm),
		func(d *document) *[]grantEntry { return &d.grants }),
	field("default_privileges", "Privileges on objects that an owner makes later.", listOf(defaultForm),
		func(d *document) *[]defaultEntry { return &d.defaults }),
	field("memberships", "Which roles are members of which.", listOf(membershipForm),
		func(d *document) *[]membershipEntry { return &d.memberships }),
	field("retirements", "Roles that shall go, and how.", listOf(retirementForm),
		func(d *document) *[]retirementEntry { return &d.retirements }),
}

var sharedKeys = []key[shared]{
	field("default_owner", "Owner of schemas, and of default privileges, that name no other.", reference,
		func(s *shared) *text { return &s.defaultOwner }),
	field("role_pattern", "How the names of profiles' roles are made; {schema}-{profile} where nothing is said.", pattern,
		func(s *shared) *text { return &s.rolePattern }),
	field("auth_providers", "Where roles are authenticated. For people; nothing comes of it.", listOf(providerForm),
		func(*shared) *[]struct{} { return new([]struct{}) }),
	field("profiles", "Sets of privileges, for each schema that they are bound to.", dictOf(profileForm),
		func(s *shared) *[]named[profileEntry] { return &s.profiles }),
}

// manifestKeys are those of a manifest.
var manifestKeys = append(within(sharedKeys, func(d *document) *shared { return &d.shared }), entries...)

var manifestForm = object("manifest", manifestKeys...)

// provider is an entry of auth_providers.
var providerForm = object("auth_provider",
	field("type", "Kind of the provider.",
		oneOf("cloud_sql_iam", "alloydb_iam", "rds_iam", "azure_ad", "supabase", "planet_scale"), discard[text]).must(),
	field("project", "Of cloud_sql_iam, alloydb_iam.", bounded(maxText, true), discard[text]),
	field("cluster", "Of alloydb_iam.", bounded(maxText, true), discard[text]),
	field("region", "Of rds_iam.", bounded(maxText, true), discard[text]),
	field("tenant_id", "Of azure_ad.", bounded(maxText, true), discard[text]),
	field("project_ref", "Of supabase.", bounded(maxText, true), discard[text]),
	field("organization", "Of planet_scale.", bounded(maxText, true), discard[text]),
)

func discard[T any](*struct{}) *T { return new(T) }

// profileEntry is a set of privileges, and the attributes of the roles that get it.
type profileEntry struct {
	login, inherit *bool
	grants         []grantEntry
	defaults       []defaultGrant
	config         []named[text]
}

var profileForm = object("profile",
	field("login", "LOGIN of its roles.", boolean(false), func(p *profileEntry) **bool { return &p.login }),
	field("inherit", "INHERIT of its roles.", boolean(true), func(p *profileEntry) **bool { return &p.inherit }),
	field("grants", "Privileges on objects of the schema, or with type schema on the schema itself.", listOf(profileGrantForm),
		func(p *profileEntry) *[]grantEntry { return &p.grants }),
	field("default_privileges", "Privileges on objects that the schema's owner makes later.", listOf(profileDefaultForm),
		func(p *profileEntry) *[]defaultGrant { return &p.defaults }),
	field("config", "Parameters that the sessions of its roles start with; {schema} and {profile} in values stand for their names.", settings,
		func(p *profileEntry) *[]named[text] { return &p.config }),
)

type schemaEntry struct {
	located
	name        text
	profiles    []text
	owner       text
	rolePattern text
}

var schemaForm = object("schema",
	field("name", "Name of the schema.", identifier, func(s *schemaEntry) *text { return &s.name }).must(),
	field("profiles", "Profiles that are bound to the schema: each makes one role.", listOf(identifier), func(s *schemaEntry) *[]text { return &s.profiles }),
	field("owner", "Owner of the schema; where nothing is said the default_owner.", reference, func(s *schemaEntry) *text { return &s.owner }),
	field("role_pattern", "How the names of the roles are made.", pattern, func(s *schemaEntry) *text { return &s.rolePattern }),
)

type roleEntry struct {
	located
	name, schema                                                text
	external, preserve                                          *bool
	login, superuser, createDB, createRole, replication, bypass *bool
	inherit                                                     *bool
	connectionLimit                                             *int
	comment                                                     text
	password                                                    *passwordEntry
	validUntil                                                  text
	config, databaseConfig                                      []named[text]
}

var roleForm = object("role",
	field("name", "Name of the role.", identifier, func(r *roleEntry) *text { return &r.name }).must(),
	field("schema", "The schema that the role is of; other places name it schema.name.", identifier, func(r *roleEntry) *text { return &r.schema }),
	field("external", "The role is somebody else's: it is never created, altered or dropped, only granted to.", boolean(false), func(r *roleEntry) **bool { return &r.external }),
	field("preserve_undeclared_grants", "What was granted to the role on objects by others stays.", boolean(false), func(r *roleEntry) **bool { return &r.preserve }),
	field("login", "LOGIN.", boolean(false), func(r *roleEntry) **bool { return &r.login }),
	field("superuser", "SUPERUSER.", boolean(false), func(r *roleEntry) **bool { return &r.superuser }),
	field("createdb", "CREATEDB.", boolean(false), func(r *roleEntry) **bool { return &r.createDB }),
	field("createrole", "CREATEROLE.", boolean(false), func(r *roleEntry) **bool { return &r.createRole }),
	field("replication", "REPLICATION.", boolean(false), func(r *roleEntry) **bool { return &r.replication }),
	field("bypassrls", "BYPASSRLS.", boolean(false), func(r *roleEntry) **bool { return &r.bypass }),
	field("inherit", "INHERIT.", boolean(true), func(r *roleEntry) **bool { return &r.inherit }),
	field("connection_limit", "CONNECTION LIMIT; -1 is none.", connections, func(r *roleEntry) **int { return &r.connectionLimit }),
	field("comment", "COMMENT ON ROLE; where nothing is said the role has none.", anyText, func(r *roleEntry) *text { return &r.comment }),
	field("password", "Where the password is read from.", passwordForm, func(r *roleEntry) **passwordEntry { return &r.password }),
	field("password_valid_until", "VALID UNTIL, such as 2027-01-31T00:00:00Z; where nothing is said for ever.", timestamp, func(r *roleEntry) *text { return &r.validUntil }),
	field("config", "Parameters that the role's sessions start with, in every database.", settings, func(r *roleEntry) *[]named[text] { return &r.config }),
	field("database_config", "Parameters that the role's sessions start with in this database.", settings, func(r *roleEntry) *[]named[text] { return &r.databaseConfig }),
)

type passwordEntry struct {
	located
	fromEnv, fromFile text
}

var passwordForm = pointer(object("password",
	field("from_env", "Name of an environment variable.", bounded(maxText, false), func(p *passwordEntry) *text { return &p.fromEnv }),
	field("from_file", "Path of a file, seen from the folder of this one; a newline at its end is not part of the password.", bounded(4096, false), func(p *passwordEntry) *text { return &p.fromFile }),
))

type grantEntry struct {
	located
	role        text
	privileges  []text
	object      *objectEntry
	grantOption *bool
	ensure      text
}

// objectEntry says which objects a grant is about.
type objectEntry struct {
	located
	kind, schema, name, pattern text
	columns                     []text
}

var (
	privilegesDoc = "Words of GRANT; ALL for every one that the kind of object has."
	ensureWord    = oneOf(present, absent)
	objectForm    = pointer(object("object", append(slices.Clone(profileObject),
		field("schema", "Schema that the object is in.", identifier, func(o *objectEntry) *text { return &o.schema }))...))
	profileObject = []key[objectEntry]{
		field("type", "Kind of the object.", kindWord, func(o *objectEntry) *text { return &o.kind }).must(),
		field("name", "Name of the object, of a function with the types of its arguments; \"*\" for all that there are in the schema. The database needs none.", objectName, func(o *objectEntry) *text { return &o.name }),
		field("name_pattern", "All objects of the schema whose name is LIKE this.", likePattern, func(o *objectEntry) *text { return &o.pattern }),
		field("columns", "Columns, where the privileges are on them and not on the whole.", someOf(identifier), func(o *objectEntry) *[]text { return &o.columns }).narrow(),
	}

	grantForm = object("grant", append(grantKeys(objectForm),
		field("role", "Who has the privileges; PUBLIC is everyone.", reference, func(g *grantEntry) *text { return &g.role }).must())...)
	profileGrantForm = object("profile_grant", grantKeys(pointer(object("profile_object", profileObject...)))...)
)

// What ensure says.
const (
	present = "present"
	absent  = "absent"
)

func grantKeys(object form[*objectEntry]) []key[grantEntry] {
	target := func(name, doc string) key[grantEntry] {
		k := field(name, doc, object, func(g *grantEntry) **objectEntry { return &g.object })
		read := k.read
		k.read = func(g *grantEntry, v yamlfile.Value) {
			if g.object != nil {
				v.KeyErrorf("object and on: one of the two")
				return
			}
			read(g, v)
		}
		return k
	}
	return []key[grantEntry]{
		field("privileges", privilegesDoc, someOf(privilegeWord), func(g *grantEntry) *[]text { return &g.privileges }).must(),
		target("object", "What the privileges are on."),
		target("on", "Older name of object."),
		field("grant_option", "WITH GRANT OPTION.", boolean(false), func(g *grantEntry) **bool { return &g.grantOption }),
		field("ensure", "present, which is meant where nothing is said, or absent: revoked where they are held.", ensureWord, func(g *grantEntry) *text { return &g.ensure }),
	}
}

type defaultEntry struct {
	located
	owner, schema text
	scope         *scopeEntry
	grants        []defaultGrant
}

type scopeEntry struct {
	located
	kind, schema text
}

type defaultGrant struct {
	located
	role        text
	privileges  []text
	kind        text
	grantOption *bool
	ensure      text
}

var (
	defaultForm = object("default_privileges",
		field("owner", "Who makes the objects; where nothing is said the schema's owner, else the default_owner, else postgres, with a warning.", reference, func(d *defaultEntry) *text { return &d.owner }),
		field("schema", "Schema that the objects are made in.", identifier, func(d *defaultEntry) *text { return &d.schema }),
		field("scope", "Instead of schema: in one schema, or in all.", pointer(object("default_scope",
			field("type", "schema or global.", oneOf(inSchema, everywhere), func(s *scopeEntry) *text { return &s.kind }).must(),
			field("schema", "The schema, with type schema.", identifier, func(s *scopeEntry) *text { return &s.schema }),
		)), func(d *defaultEntry) **scopeEntry { return &d.scope }),
		field("grant", "Who gets what.", someOf(defaultGrantForm), func(d *defaultEntry) *[]defaultGrant { return &d.grants }).must(),
	)
	defaultGrantForm = object("default_grant", append(slices.Clone(defaultGrantKeys),
		field("role", "Who gets the privileges; PUBLIC is everyone.", reference, func(g *defaultGrant) *text { return &g.role }).must())...)
	profileDefaultForm = object("profile_default", defaultGrantKeys...)
	defaultGrantKeys   = []key[defaultGrant]{
		field("privileges", privilegesDoc, someOf(privilegeWord), func(g *defaultGrant) *[]text { return &g.privileges }).must(),
		field("on_type", "Kind of the objects; schema and large_object (PostgreSQL 18) with global scope only.", defaultWord, func(g *defaultGrant) *text { return &g.kind }).must(),
		field("grant_option", "WITH GRANT OPTION.", boolean(false), func(g *defaultGrant) **bool { return &g.grantOption }),
		field("ensure", "present, which is meant where nothing is said, or absent.", ensureWord, func(g *defaultGrant) *text { return &g.ensure }),
	}
)

// What the scope of default privileges says.
const (
	inSchema   = "schema"
	everywhere = "global"
)

type membershipEntry struct {
	located
	role      text
	members   []memberEntry
	exclusive *bool
}

type memberEntry struct {
	located
	name                text
	admin, inherit, set *bool
}

var membershipForm = object("membership",
	field("role", "The role that has members.", reference, func(m *membershipEntry) *text { return &m.role }).must(),
	field("members", "All members, where the role is this manifest's; of an external or predefined role those that matter here.", listOf(memberForm), func(m *membershipEntry) *[]memberEntry { return &m.members }).must(),
	field("exclusive", "Of an external or predefined role too, who is not listed is no member.", boolean(false), func(m *membershipEntry) **bool { return &m.exclusive }),
)

var memberForm = object("member",
	field("name", "The member.", reference, func(m *memberEntry) *text { return &m.name }).must(),
	field("inherit", "WITH INHERIT: it has the role's privileges without SET ROLE.", boolean(true), func(m *memberEntry) **bool { return &m.inherit }),
	field("admin", "WITH ADMIN: it may give the role on.", boolean(false), func(m *memberEntry) **bool { return &m.admin }),
	field("set", "WITH SET: it may SET ROLE to it. PostgreSQL 16.", boolean(true), func(m *memberEntry) **bool { return &m.set }),
)

type retirementEntry struct {
	located
	role, schema, reassignTo text
	dropOwned, terminate     *bool
}

var retirementForm = object("retirement",
	field("role", "The role that shall go.", identifier, func(r *retirementEntry) *text { return &r.role }).must(),
	field("schema", "The schema that the role is of.", identifier, func(r *retirementEntry) *text { return &r.schema }),
	field("reassign_owned_to", "Who gets what the role owns.", reference, func(r *retirementEntry) *text { return &r.reassignTo }),
	field("drop_owned", "What the role still owns is dropped, and what was granted to it is revoked.", boolean(false), func(r *retirementEntry) **bool { return &r.dropOwned }),
	field("terminate_sessions", "The role's sessions are ended.", boolean(false), func(r *retirementEntry) **bool { return &r.terminate }),
)

// pointer tells what was written from what was not.
func pointer[T any](f form[T]) form[*T] {
	return form[*T]{read: func(v yamlfile.Value) *T { t := f.read(v); return &t }, schema: f.schema}
}
