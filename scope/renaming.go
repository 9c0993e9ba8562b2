package scope

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// renaming makes markers and roles follow a database or schema that gets another name: it collects their new names, and
// makes the statement that renames them.
type renaming struct {
	moves    []move
	roles    []Affected // those of the moves that are no markers
	comments []string
}

type move struct{ from, to Cluster }

// add notes what makes the comment of a marker say note, and its roles carry the prefix that note has. It fails where a
// name would be too long, or an administrator would be taken for a role.
func (r *renaming) add(m *marker, note markerComment) *Error {
	if note == m.note {
		return nil
	}
	name := m.name
	if name == m.note.marker() { // else it was given another, since that was taken
		name = note.marker()
	}
	if name != m.name {
		r.moves = append(r.moves, move{m.name, name})
	}
	r.comments = append(r.comments, fmt.Sprintf("COMMENT ON ROLE %s IS %s; ", name.Ident(), QuoteLiteral(note.text())))
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
		r.moves = append(r.moves, move{role, to})
		r.roles = append(r.roles, Affected{Name: m.short(role), Cluster: role, To: to})
	}
	return nil
}

// marker returns the name that a marker with this comment gets.
func (m markerComment) marker() Cluster {
	db := NewDatabase(m.OID, m.Database, m.Prefix)
	if m.Schema == "" {
		return db.Marker
	}
	return db.newSchema(m.SchemaOID, m.Schema).Marker
}

// statements returns the moves and comments, in an order in which no role gets a name that another still has to leave.
// All names become longer, or all shorter, by the same, so the one to make way for is always the longer, or the shorter.
func (r *renaming) statements() string {
	slices.SortStableFunc(r.moves, func(a, b move) int {
		if len(a.to) > len(a.from) {
			a, b = b, a
		}
		return cmp.Compare(len(a.from), len(b.from))
	})
	var b strings.Builder
	for _, m := range r.moves {
		fmt.Fprintf(&b, "ALTER ROLE %s RENAME TO %s; ", m.from.Ident(), m.to.Ident())
	}
	for _, comment := range r.comments {
		b.WriteString(comment)
	}
	if len(r.moves) > 0 {
		var was, now []string
		for _, m := range r.moves {
			was, now = append(was, m.from.Literal()), append(now, m.to.Literal())
		}
		fmt.Fprintf(&b, renamedSettings, textArray(was), textArray(now))
	}
	return b.String()
}

// renamedSettings makes settings of roles and databases that set a role set it under its new
// name. Who may not change one is told.
const renamedSettings = `DECLARE was pg_catalog.text[] := %s; now pg_catalog.text[] := %s; s pg_catalog.record; BEGIN
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
func (r *renaming) sql(condition, why string) string {
	if len(r.comments) == 0 {
		return ""
	}
	return doSQL("BEGIN IF " + condition + " THEN " + r.statements() +
		"END IF; EXCEPTION WHEN duplicate_object THEN RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = SQLERRM, DETAIL = " +
		QuoteLiteral(why) + ", HINT = 'Choose another name, or rename that role first.'; END")
}

// sweepSQL returns the statement that does it all or tells why it could not; empty where there is nothing to do.
func (r *renaming) sweepSQL(database string) string {
	if len(r.comments) == 0 {
		return ""
	}
	tell := func(level, message, more string) string {
		return "RAISE " + level + " USING MESSAGE = " + QuoteLiteral(fmt.Sprintf(message, database)) + more + "; "
	}
	return doSQL("BEGIN " + r.statements() + tell("NOTICE", `the markers and roles of database "%s" were made to fit it`, "") +
		"EXCEPTION WHEN OTHERS THEN " +
		tell("WARNING", `the markers and roles of database "%s" could not be made to fit it`, ", DETAIL = SQLERRM") + "END")
}

// renamesDatabase is a condition: the server would rename the database (RenameDatabase,
// src/backend/commands/dbcommands.c). Where it would not, it shall say why, and not that a role cannot be renamed.
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
