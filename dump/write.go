package dump

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// defaults are what CREATE ROLE gives by itself.
var defaults = []string{"NOSUPERUSER", "NOCREATEDB", "NOCREATEROLE", "INHERIT", "NOLOGIN", "NOREPLICATION", "NOBYPASSRLS"}

// Write writes the statements that make the roles again, for psql.
func (r *Roles) Write(w io.Writer) error { return r.write(w, true) }

// write is Write. here says whether with the settings that the roles have in the database alone: pg_dump --create writes
// them too.
func (r *Roles) write(w io.Writer, here bool) error {
	var b strings.Builder
	if r.global {
		b.WriteString("--\n-- Roles of the cluster\n--\n\nSET client_encoding = 'UTF8';\nSET pgscope.mode = 'explicit';\n\n")
	} else {
		b.WriteString("--\n-- Roles of the database\n--\n\nSET client_encoding = 'UTF8';\n\n")
	}
	for _, s := range r.schemas {
		fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\n", scope.QuoteIdent(s))
	}
	for _, x := range r.roles {
		b.WriteString(x.create())
	}
	for _, m := range r.memberships {
		b.WriteString(m.sql())
	}
	for _, x := range r.roles {
		for _, s := range x.settings {
			where := ""
			if s.here {
				where = ` IN DATABASE :"DBNAME"`
			}
			if here || !s.here {
				fmt.Fprintf(&b, "ALTER %s%s SET %s TO %s;\n", x.called(), where, scope.SettingIdent(s.name), s.value)
			}
		}
	}
	for _, x := range r.roles {
		if x.comment != "" {
			fmt.Fprintf(&b, "COMMENT ON %s IS %s;\n", x.called(), literal(x.comment))
		}
	}
	for _, x := range r.roles {
		for _, l := range x.labels { // as pg_dumpall does: a server without the module refuses it
			fmt.Fprintf(&b, "SECURITY LABEL FOR %s ON %s IS %s;\n", scope.QuoteIdent(l.provider), x.called(), literal(l.text))
		}
	}
	for _, g := range r.grants {
		fmt.Fprintf(&b, "SELECT %s WHERE %s \\gexec\n", literal(g.sql), g.condition)
	}
	for _, remark := range r.remarks {
		fmt.Fprintf(&b, "-- %s\n", remark)
	}
	if r.global {
		b.WriteString("\nRESET pgscope.mode;\n")
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// Connect writes what makes psql go on in another database (appendPsqlMetaConnect, src/fe_utils/string_utils.c).
func Connect(w io.Writer, database string) error {
	if strings.ContainsAny(database, "\r\n") {
		return fmt.Errorf("the name of database %q cannot be written in a line of psql", database)
	}
	value := "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
	_, err := fmt.Fprintf(w, "\\connect -reuse-previous=on %s\n\n", scope.QuoteIdent(value))
	return err
}

// sql makes the membership. From PostgreSQL 16 on who restores the file has the admin option of each role that it makes,
// and may not give it to itself once more.
func (m membership) sql() string {
	grant := func(options string) string {
		if options == "" {
			return "GRANT " + m.role + " TO " + m.member
		}
		return "GRANT " + m.role + " TO " + m.member + " WITH " + options
	}
	if m.maker == "" {
		return grant(m.options) + ";\n"
	}
	const when = "SELECT %s WHERE %s(current_user = %s AND pg_catalog.current_setting('server_version_num')::int >= 160000) \\gexec\n"
	_, rest, _ := strings.Cut(m.options, ", ")
	text := fmt.Sprintf(when, literal(grant(m.options)), "NOT ", literal(string(m.maker)))
	if rest != "INHERIT FALSE, SET FALSE" { // what it has anyway
		text += fmt.Sprintf(when, literal(grant(rest)), "", literal(string(m.maker)))
	}
	return text
}

// called is the role as statements about it name it.
func (r role) called() string {
	if r.global {
		return "ROLE " + r.name.Ident()
	}
	return "DBONLY ROLE " + r.name.Ident()
}

// create makes the role. Some global roles every cluster has: those are changed only.
func (r role) create() string {
	if r.global {
		return fmt.Sprintf("SELECT %s WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s) \\gexec\nALTER %s WITH %s%s;\n",
			literal("CREATE "+r.called()), literal(string(r.name.Role)),
			r.called(), strings.Join(r.attributes, " "), r.options())
	}
	changed := slices.DeleteFunc(slices.Clone(r.attributes), func(a string) bool { return slices.Contains(defaults, a) })
	return strings.Join(append([]string{"CREATE", r.called()}, changed...), " ") + r.options() + ";\n"
}

// options are those of CREATE ROLE that have a value.
func (r role) options() string {
	var b strings.Builder
	if r.limit != "-1" {
		b.WriteString(" CONNECTION LIMIT " + r.limit)
	}
	if r.password != "" {
		b.WriteString(" PASSWORD " + literal(r.password))
	}
	if r.until != "" {
		b.WriteString(" VALID UNTIL " + literal(r.until))
	}
	return b.String()
}

// literal quotes a string that a blank stands before.
func literal(s string) string { return strings.TrimPrefix(scope.QuoteLiteral(s), " ") }
