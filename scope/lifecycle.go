package scope

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Work is a statement that makes roles follow their database or schema, and which ones those are.
type Work struct {
	SQL   string // empty where there is nothing to do
	Roles []Affected
}

// Affected is a role that goes, or gets another name on the server, with its database or schema.
type Affected struct {
	Name    Short // as texts call it
	Cluster Cluster
	To      Cluster // the new name; empty where it goes
	Stays   string  // the message of the NOTICE that it could not be dropped
}

// Copy tells whether a database may serve as a template. One with roles may not: the copy's objects would belong to
// them, and in the copy they are another database's.
func (e *Estate) Copy(template string) *Error {
	oid, ok := e.byName[template]
	if !ok {
		return nil // the server says so
	}
	for _, m := range e.of(oid) {
		if len(m.roles()) > 0 {
			return &Error{
				Code:    CodeFeatureNotSupported,
				Message: fmt.Sprintf(`database "%s" cannot be copied, because it has roles of its own`, template),
				Detail:  "What belongs to them, or is granted to them, would belong to another database's roles in the copy.",
				Hint:    "Create the database from another template, and restore a dump of this one into it through the proxy.",
			}
		}
	}
	return nil
}

// Rename returns the statement that makes the markers and roles of a database follow its new name, to be run in the
// transaction that renames it; empty where there is nothing to do. A prefix that is not the database's name stays.
func (e *Estate) Rename(database, to string) (Work, *Error) {
	oid, ok := e.byName[database]
	if !ok {
		return Work{}, nil
	}
	markers, err := e.certain(oid)
	if err != nil {
		return Work{}, err
	}
	var c carriage
	for _, m := range markers {
		note := e.rightNote(m, oid)
		if note.Prefix == database {
			note.Prefix = to
		}
		note.Database = to
		if err := c.take(m, note); err != nil {
			err.Hint = "Choose another name for the database, or rename the role first."
			return Work{}, err
		}
	}
	return Work{c.sql(renamesDatabase(database, to),
		fmt.Sprintf(`With database "%s", its roles get new names: "%s..." becomes "%s...".`, database, database+Separator, to+Separator)), c.roles}, nil
}

// RenameSchema is Rename for a schema of the database that the answering session is in.
func (e *Estate) RenameSchema(schema, to string) (Work, *Error) {
	markers, err := e.certain(e.current)
	if err != nil {
		return Work{}, err
	}
	var c carriage
	for _, m := range markers {
		if m.schema.name != schema {
			continue
		}
		note := m.note
		note.OID, note.Schema, note.SchemaOID = e.current, to, m.schema.oid
		if err := c.take(m, note); err != nil {
			err.Hint = "Choose another name for the schema, or rename the role first."
			return Work{}, err
		}
	}
	return Work{c.sql(renamesSchema(schema, to), fmt.Sprintf(`With schema "%s", its roles get new names on the server.`, schema)), c.roles}, nil
}

// renamesDatabase is a condition: the server would rename the database (RenameDatabase, src/backend/commands/dbcommands.c). Where it
// would not, it shall say why, and not that a role cannot be renamed.
func renamesDatabase(from, to string) string {
	return "EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) " + QuoteLiteral(from) +
		" AND pg_catalog.pg_has_role(datdba, 'USAGE') AND datname OPERATOR(pg_catalog.<>) pg_catalog.current_database())" +
		" AND (SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user)" +
		" AND NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) " + QuoteLiteral(to) + ")"
}

// renamesSchema is the same for a schema (RenameSchema, src/backend/commands/schemacmds.c).
func renamesSchema(from, to string) string {
	return "EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) " + QuoteLiteral(from) +
		" AND pg_catalog.pg_has_role(nspowner, 'USAGE'))" +
		" AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')" +
		" AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) " + QuoteLiteral(to) + ")"
}

// certain returns the markers of a database, or an error where it cannot be told of one whether it is.
func (e *Estate) certain(database uint32) ([]*marker, *Error) {
	list := e.of(database)
	for _, m := range list {
		if _, _, certain := e.database(m); !certain {
			name := e.databases[database]
			return nil, &Error{
				Code:    CodeFeatureNotSupported,
				Message: fmt.Sprintf(`roles of database "%s" cannot be told from those of database "%s"`, name, m.note.Database),
				Detail:  contradiction(m, name),
			}
		}
	}
	return list, nil
}

// Dropped returns the statements that drop the markers and roles of databases that are gone, each role that can be
// dropped, and tell of the others by NOTICE.
func (e *Estate) Dropped() []Work { return e.dropDatabases(false) }

// DroppedSchemas returns the statements that do the same for schemas of the database that the answering session is in.
func (e *Estate) DroppedSchemas() (list []Work) {
	for _, m := range e.markers {
		oid, found, certain := e.database(m)
		if !m.ofSchema() || !found || oid != e.current || !certain || m.schema.oid != 0 {
			continue
		}
		what := fmt.Sprintf(`the dropped schema "%s"`, m.note.Schema)
		list = append(list, drop([]*marker{m}, what, false))
	}
	return list
}

func (e *Estate) dropDatabases(tell bool) (list []Work) {
	gone := make(map[uint32][]*marker)
	var order []uint32
	for _, m := range e.markers {
		if _, found, _ := e.database(m); found {
			continue
		}
		was := m.outer().note.OID
		if gone[was] == nil {
			order = append(order, was)
		}
		gone[was] = append(gone[was], m)
	}
	slices.Sort(order)
	for _, oid := range order {
		markers := gone[oid]
		slices.SortStableFunc(markers, func(a, b *marker) int { return -cmp.Compare(a.note.Schema, b.note.Schema) })
		list = append(list, drop(markers, fmt.Sprintf(`the dropped database "%s"`, markers[0].note.Database), tell))
	}
	return list
}

// Sweep returns what repairs that which direct connections, crashes and restores from a dump have left behind: the
// statements to run, each by itself, and what only a person can decide. The statements tell what they did, and what
// they could not do, by NOTICE and WARNING; none fails for a reason that it can tell. The survey must be one of the
// whole cluster.
func (e *Estate) Sweep() (statements, warnings []string) {
	for _, oid := range e.oids() {
		name := e.databases[oid]
		var c carriage
		var problem *Error
		for _, m := range e.of(oid) {
			if _, _, certain := e.database(m); !certain {
				warnings = append(warnings, contradiction(m, name))
				continue
			}
			if err := c.take(m, e.rightNote(m, oid)); err != nil && problem == nil {
				problem = err
			}
		}
		if problem != nil {
			warnings = append(warnings, fmt.Sprintf(`the roles of database "%s" cannot follow its new name: %s`, name, problem.Message))
			continue
		}
		if sql := c.sweepSQL(name); sql != "" {
			statements = append(statements, sql)
		}
	}
	for _, w := range append(e.dropDatabases(true), e.DroppedSchemas()...) {
		statements = append(statements, w.SQL)
	}
	return statements, append(warnings, e.strangers()...)
}

func (e *Estate) oids() []uint32 {
	list := make([]uint32, 0, len(e.databases))
	for oid := range e.databases {
		list = append(list, oid)
	}
	slices.Sort(list)
	return list
}

// rightNote returns what the comment of a marker of the database should say.
func (e *Estate) rightNote(m *marker, database uint32) markerComment {
	note, name := m.note, e.databases[database]
	if note.Prefix == note.Database {
		note.Prefix = name
	}
	note.Database = name
	switch {
	case !m.ofSchema():
		note.OID = database
	case database == e.current && m.schema.oid != 0: // only there both OIDs are known, and one without the other would be wrong
		note.OID, note.Schema, note.SchemaOID = database, m.schema.name, m.schema.oid
	}
	return note
}

// Claim returns the statement that makes a marker, which may be that of the database that the answering session is in,
// certainly so, with its roles and the markers of its schemas; empty where they are so already. It fails
// where the marker is that of another database.
func (e *Estate) Claim(role Cluster) (sql string, err *Error) {
	name := e.databases[e.current]
	i := slices.IndexFunc(e.markers, func(m *marker) bool { return m.name == role && !m.ofSchema() })
	if i < 0 {
		return "", &Error{Code: CodeUndefinedObject, Message: fmt.Sprintf(`role "%s" is not the marker of a database`, role)}
	}
	claimed := e.markers[i].note
	if claimed.OID != e.current && claimed.Database != name || e.markers[i].exact(e) && claimed.OID != e.current {
		return "", &Error{
			Code:    CodeObjectNotInState,
			Message: fmt.Sprintf(`role "%s" is not the marker of database "%s"`, role, name),
			Detail:  fmt.Sprintf(`The comment on it is about database "%s" with OID %d. This is "%s" with OID %d.`, claimed.Database, claimed.OID, name, e.current),
		}
	}
	var c carriage
	for _, m := range e.markers {
		if note := m.outer().note; note.OID != claimed.OID || note.Database != claimed.Database {
			continue
		}
		if err := c.take(m, e.rightNote(m, e.current)); err != nil {
			return "", err
		}
	}
	return c.sql("true", fmt.Sprintf(`The roles of database "%s" get the names that belong to it.`, name)), nil
}

// strangers tells of databases whose objects depend on roles of other databases.
func (e *Estate) strangers() (warnings []string) {
	home := make(map[Cluster]string)
	for _, r := range e.Roles() {
		home[r.Cluster] = r.Database
	}
	for _, u := range e.uses {
		if owner, ok := home[u.role]; ok && owner != u.database {
			warnings = append(warnings, fmt.Sprintf(`database "%s" has objects that depend on role "%s" of database "%s"`,
				u.database, u.role, owner))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// contradiction says why it cannot be told whether a marker is the database's.
func contradiction(m *marker, database string) string {
	return fmt.Sprintf(`the comment on role "%s" is about database "%s" with OID %d, and whether that is database "%s" cannot be told:`+
		` say so by pgscope-proxy init --claim %s, in the database that it is`, m.name, m.note.Database, m.note.OID, database, m.name.Ident())
}

// carriage collects the new names of markers and roles.
type carriage struct {
	moves    []move
	roles    []Affected // those of the moves that are no markers
	comments []string
}

type move struct{ from, to Cluster }

// take notes what makes a marker say note, and its roles carry the prefix that it names.
func (c *carriage) take(m *marker, note markerComment) *Error {
	if note == m.note {
		return nil
	}
	name := m.name
	if name == m.note.marker() { // else it was given another, since that was taken
		name = note.marker()
	}
	if name != m.name {
		c.moves = append(c.moves, move{m.name, name})
	}
	c.comments = append(c.comments, fmt.Sprintf("COMMENT ON ROLE %s IS %s; ", name.Ident(), QuoteLiteral(note.text())))
	if note.rolePrefix() == m.note.rolePrefix() {
		return nil
	}
	for _, person := range m.members {
		if err := note.administrable(person.name); err != nil && !m.note.carries(person.name) {
			return err
		}
	}
	db := Database{Name: note.Database, Prefix: note.rolePrefix()}
	for _, role := range m.roles() {
		short, _ := strings.CutPrefix(string(role), m.note.rolePrefix()+Separator)
		to, err := db.Qualify(Short(short))
		if err != nil {
			return err
		}
		c.moves = append(c.moves, move{role, to})
		c.roles = append(c.roles, Affected{Name: m.short(role), Cluster: role, To: to})
	}
	return nil
}

// marker returns the name that a marker with this comment gets.
func (m markerComment) marker() Cluster {
	db := NewDatabase(m.OID, m.Database, m.Prefix)
	if m.Schema == "" {
		return db.Marker
	}
	return db.NewSchema(m.SchemaOID, m.Schema).Marker
}

// statements returns the moves and comments, in an order in which no role gets a name that another still has to leave.
// All names become longer, or all shorter, by the same, so the one to make way for is always the longer, or the shorter.
func (c *carriage) statements() string {
	slices.SortStableFunc(c.moves, func(a, b move) int {
		if len(a.to) > len(a.from) {
			a, b = b, a
		}
		return cmp.Compare(len(a.from), len(b.from))
	})
	var b strings.Builder
	for _, m := range c.moves {
		fmt.Fprintf(&b, "ALTER ROLE %s RENAME TO %s; ", m.from.Ident(), m.to.Ident())
	}
	for _, comment := range c.comments {
		b.WriteString(comment)
	}
	if len(c.moves) > 0 {
		var was, now []string
		for _, m := range c.moves {
			was, now = append(was, m.from.Literal()), append(now, m.to.Literal())
		}
		fmt.Fprintf(&b, carriedSettings, textArray(was), textArray(now))
	}
	return b.String()
}

// carriedSettings makes settings of roles and databases that set a role set it under its new name. Who may not change one is told.
const carriedSettings = `DECLARE was pg_catalog.text[] := %s; now pg_catalog.text[] := %s; s pg_catalog.record; BEGIN
  FOR s IN
    SELECT now[i] AS role, pg_catalog.concat('ALTER ROLE ',
      CASE WHEN c.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'ALL'
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.setrole)::pg_catalog.text) END,
      ' IN DATABASE ' OPERATOR(pg_catalog.||) (SELECT pg_catalog.quote_ident(d.datname::pg_catalog.text)
        FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) c.setdatabase)) AS alter
    FROM pg_catalog.generate_subscripts(was, 1) i
    JOIN pg_catalog.pg_db_role_setting c ON pg_catalog.concat('role=', was[i]) OPERATOR(pg_catalog.=) ANY (c.setconfig)
  LOOP
    BEGIN
      EXECUTE pg_catalog.concat(s.alter, ' SET role = ', pg_catalog.quote_literal(s.role));
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING USING MESSAGE = pg_catalog.concat(s.alter, ' SET role could not follow role "', s.role, '"'), DETAIL = SQLERRM;
    END;
  END LOOP;
END; `

// sql returns the statement that does it all or fails, if a condition holds; empty where there is nothing to do.
func (c *carriage) sql(condition, why string) string {
	if len(c.comments) == 0 {
		return ""
	}
	return doSQL("BEGIN IF " + condition + " THEN " + c.statements() +
		"END IF; EXCEPTION WHEN duplicate_object THEN RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = SQLERRM, DETAIL = " +
		QuoteLiteral(why) + ", HINT = 'Choose another name, or rename that role first.'; END")
}

// sweepSQL returns the statement that does it all or tells why it could not; empty where there is nothing to do.
func (c *carriage) sweepSQL(database string) string {
	if len(c.comments) == 0 {
		return ""
	}
	tell := func(level, message, more string) string {
		return "RAISE " + level + " USING MESSAGE = " + QuoteLiteral(fmt.Sprintf(message, database)) + more + "; "
	}
	return doSQL("BEGIN " + c.statements() + tell("NOTICE", `the markers and roles of database "%s" were made to fit it`, "") +
		"EXCEPTION WHEN OTHERS THEN " +
		tell("WARNING", `the markers and roles of database "%s" could not be made to fit it`, ", DETAIL = SQLERRM") + "END")
}

// dropBody drops roles, each by itself so that one that stays keeps none of the others. A role that has granted one of the
// others can only be dropped after that one, so it is tried twice.
const dropBody = `DECLARE
  roles pg_catalog.text[] := %[1]s; labels pg_catalog.text[] := %[2]s; loud pg_catalog.bool; why pg_catalog.text;
BEGIN
  FOREACH loud IN ARRAY ARRAY[false, true] LOOP FOR i IN 1 .. %[3]d LOOP
    BEGIN
      EXECUTE pg_catalog.format('DROP ROLE %%I', roles[i]);
    EXCEPTION
      WHEN undefined_object THEN NULL;
      WHEN OTHERS THEN
        IF loud THEN
          GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
          RAISE NOTICE USING MESSAGE = labels[i], DETAIL = pg_catalog.rtrim(pg_catalog.concat_ws(': ', SQLERRM, why), ': '),
            HINT = 'Remove what keeps it, then run pgscope-proxy init --sweep.';
        END IF;
    END;
  END LOOP; END LOOP;
%[4]sEND`

// dropMarker drops a marker that no role of its scope is left in.
const dropMarker = `  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_auth_members a
    JOIN pg_catalog.pg_roles k ON k.oid OPERATOR(pg_catalog.=) a.roleid
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
    WHERE k.rolname OPERATOR(pg_catalog.=) %[1]s
      AND (pg_catalog.starts_with(r.rolname::pg_catalog.text, %[2]s) OR pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pgscope_'))
  ) THEN
    BEGIN
      DROP ROLE %[3]s;%[4]s
    EXCEPTION
      WHEN undefined_object THEN NULL;
      WHEN OTHERS THEN RAISE NOTICE USING MESSAGE = %[5]s, DETAIL = SQLERRM;
    END;
  END IF;
`

// drop returns what drops markers, the innermost first, and their roles. what is what they belonged to.
func drop(markers []*marker, what string, tell bool) (w Work) {
	var names, labels []string
	var last strings.Builder
	for _, m := range markers {
		for _, role := range m.roles() {
			r := Affected{Name: m.short(role), Cluster: role, Stays: fmt.Sprintf(`role "%s" of %s could not be dropped`, m.short(role), what)}
			names, labels, w.Roles = append(names, role.Literal()), append(labels, QuoteLiteral(r.Stays)), append(w.Roles, r)
		}
		told := ""
		if tell && !m.ofSchema() {
			told = " RAISE NOTICE USING MESSAGE = " + QuoteLiteral("the roles of "+what+" were dropped") + ";"
		}
		fmt.Fprintf(&last, dropMarker, m.name.Literal(), QuoteLiteral(m.note.rolePrefix()+Separator), m.name.Ident(), told,
			QuoteLiteral("the marker of "+what+" could not be dropped"))
	}
	w.SQL = doSQL(fmt.Sprintf(dropBody, textArray(names), textArray(labels), len(names), last.String()))
	return w
}

// textArray is an array of expressions.
func textArray(list []string) string {
	return "ARRAY[" + strings.Join(list, ", ") + "]::pg_catalog.text[]"
}

func doSQL(body string) string { return "DO LANGUAGE plpgsql " + QuoteLiteral(body) }

// sweepLock is the key of the session's advisory lock that a sweep holds, so that several proxies do not do the same work
// at once: "pgscope" in ASCII. It locks within one database; sweeps from different ones do no harm, but may tell of each
// other's work.
const sweepLock int64 = 0x7067_7363_6f70_65

// SweepLockSQL returns the query that takes the lock of a sweep: it waits for it, or tries and tells whether it got it.
func SweepLockSQL(wait bool) string {
	function := "pg_try_advisory_lock"
	if wait {
		function = "pg_advisory_lock"
	}
	return fmt.Sprintf("SELECT pg_catalog.%s(%d)", function, sweepLock)
}

// SweepUnlockSQL returns the query that gives it back.
func SweepUnlockSQL() string {
	return fmt.Sprintf("SELECT pg_catalog.pg_advisory_unlock(%d)", sweepLock)
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
