package manifest

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Write writes a manifest that reads back as d, with the scope that d was read with. Equal values give equal bytes. What
// no manifest can say is left out: the database's name and prefix, which an estate has, and the surface of a bundle.
// Paths of passwords are written as they are in d. Global roles that are not external are written as external where own
// ones stand beside them: an estate has those.
func Write(w io.Writer, d *access.Desired) error {
	p := &printer{w: bufio.NewWriter(w)}
	p.desired(d)
	return p.w.Flush()
}

// DatabaseFile is a database of an estate whose manifest is in a file of its own.
type DatabaseFile struct{ Name, Prefix, Path string }

// WriteEstate writes an estate: what d says of the whole cluster, and the databases.
func WriteEstate(w io.Writer, d *access.Desired, databases []DatabaseFile) error {
	p := &printer{w: bufio.NewWriter(w)}
	p.printf("estate: 1\n")
	p.desired(d)
	section(p, "databases", databases, func(f DatabaseFile) {
		p.printf("  - name: %s\n", quote(f.Name))
		p.optional("prefix", f.Prefix, f.Prefix != scope.NewDatabase(0, f.Name, "").Prefix)
		p.optional("manifest", f.Path, true)
	})
	return p.w.Flush()
}

// printer writes YAML. Errors stay in w.
type printer struct{ w *bufio.Writer }

func (p *printer) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format, args...) }

func (p *printer) desired(d *access.Desired) {
	own := slices.ContainsFunc(d.Roles, func(r access.Role) bool { return r.Kind == access.Own })
	section(p, "schemas", d.Schemas, func(s access.SchemaSpec) {
		p.printf("  - name: %s\n", quote(s.Name))
		p.optional("owner", s.Owner.String(), s.Owner.Kind != 0)
	})
	section(p, "roles", d.Roles, func(r access.Role) { p.role(r, r.External || own && r.Kind == access.Global) })
	section(p, "memberships", d.Memberships, p.membership(d))
	grants := sameBut(d.Grants, func(g access.Grant) access.Grant {
		if g.On.Column != "" {
			g.On.Column = "…"
		}
		g.Place = access.Place{}
		return g
	}, func(g access.Grant) bool { return g.On.Column != "" })
	section(p, "grants", grants, p.grants)
	defaults := sameBut(d.Defaults, func(g access.DefaultPrivilege) access.DefaultPrivilege {
		return access.DefaultPrivilege{Owner: g.Owner, Schema: g.Schema}
	}, func(access.DefaultPrivilege) bool { return true })
	section(p, "default_privileges", defaults, p.defaults)
	section(p, "retirements", d.Retirements, func(r access.Retirement) {
		p.printf("  - role: %s\n", quote(string(r.Name.Role)))
		p.optional("schema", r.Name.Schema, r.Name.Schema != "")
		p.optional("reassign_owned_to", r.ReassignTo.String(), r.ReassignTo.Kind != 0)
		p.flag("drop_owned", r.DropOwned, false)
		p.flag("terminate_sessions", r.TerminateSessions, false)
	})
}

// section writes a list under a key; nothing where it is empty.
func section[T any](p *printer, key string, list []T, write func(T)) {
	if len(list) == 0 {
		return
	}
	p.printf("%s:\n", key)
	for _, one := range list {
		write(one)
	}
}

// sameBut puts neighbours together that are the same where rest says so, if they may be.
func sameBut[T comparable](list []T, rest func(T) T, may func(T) bool) [][]T {
	var groups [][]T
	for i, one := range list {
		if i > 0 && may(one) && rest(one) == rest(list[i-1]) {
			groups[len(groups)-1] = append(groups[len(groups)-1], one)
		} else {
			groups = append(groups, []T{one})
		}
	}
	return groups
}

func (p *printer) optional(key, value string, there bool) {
	if there {
		p.printf("    %s: %s\n", key, quote(value))
	}
}

// flag writes a truth value where it is not what is meant anyway.
func (p *printer) flag(key string, value, otherwise bool) {
	if value != otherwise {
		p.printf("    %s: %t\n", key, value)
	}
}

func (p *printer) role(r access.Role, external bool) {
	p.printf("  - name: %s\n", quote(string(r.Name.Role)))
	p.optional("schema", r.Name.Schema, r.Name.Schema != "")
	p.flag("external", external, false)
	p.flag("preserve_undeclared_grants", r.PreserveGrants, false)
	if external {
		return // what it is, is not said here
	}
	p.flag("login", r.Login, false)
	p.flag("superuser", r.Superuser, false)
	p.flag("createdb", r.CreateDB, false)
	p.flag("createrole", r.CreateRole, false)
	p.flag("replication", r.Replication, false)
	p.flag("bypassrls", r.BypassRLS, false)
	p.flag("inherit", r.Inherit, true)
	if r.ConnectionLimit != -1 {
		p.printf("    connection_limit: %d\n", r.ConnectionLimit)
	}
	p.optional("comment", r.Comment, r.Comment != "")
	if s := r.Password; s != nil {
		key, value := "from_env", s.FromEnv
		if s.FromFile != "" {
			key, value = "from_file", s.FromFile
		}
		p.printf("    password: { %s: %s }\n", key, quote(value))
	}
	p.optional("password_valid_until", r.ValidUntil, r.ValidUntil != "")
	for _, part := range []struct {
		key        string
		inDatabase bool
	}{{"config", false}, {"database_config", true}} {
		first := true
		for _, s := range r.Settings {
			if s.InDatabase != part.inDatabase {
				continue
			}
			if first {
				p.printf("    %s:\n", part.key)
				first = false
			}
			p.printf("      %s: %s\n", quote(s.Name), quote(s.Value))
		}
	}
}

func (p *printer) membership(d *access.Desired) func(access.Membership) {
	managed := make(map[access.Ref]bool, len(d.Roles))
	for _, r := range d.Roles {
		managed[r.Ref] = !r.External
	}
	return func(m access.Membership) {
		p.printf("  - role: %s\n", quote(m.Role.String()))
		p.flag("exclusive", m.Exclusive && !managed[m.Role], false)
		if len(m.Members) == 0 {
			p.printf("    members: []\n")
			return
		}
		p.printf("    members:\n")
		for _, one := range m.Members {
			p.printf("      - { name: %s", quote(one.String()))
			for _, flag := range []struct {
				key              string
				value, otherwise bool
			}{{"inherit", one.Inherit, true}, {"admin", one.Admin, false}, {"set", one.Set, true}} {
				if flag.value != flag.otherwise {
					p.printf(", %s: %t", flag.key, flag.value)
				}
			}
			p.printf(" }\n")
		}
	}
}

// grants writes grants that differ in their columns only.
func (p *printer) grants(list []access.Grant) {
	g := list[0]
	p.printf("  - role: %s\n    privileges: [%s]\n    object: { type: %s", quote(g.Grantee.String()), g.Privileges, g.On.Kind)
	if g.On.Schema != "" {
		p.printf(", schema: %s", quote(g.On.Schema))
	}
	switch {
	case g.On.Pattern == everyPattern:
		p.printf(", name: %s", quote(every))
	case g.On.Pattern != "":
		p.printf(", name_pattern: %s", quote(g.On.Pattern))
	case g.On.Name == every: // this one object, not all there are
		p.printf(", name_pattern: %s", quote(every))
	case g.On.Name == "": // the database, where nobody has said its name
	default:
		p.printf(", name: %s", quote(g.On.Name))
	}
	if g.On.Column != "" {
		columns := make([]string, len(list))
		for i, one := range list {
			columns[i] = quote(one.On.Column)
		}
		p.printf(", columns: [%s]", strings.Join(columns, ", "))
	}
	p.printf(" }\n")
	p.flag("grant_option", g.GrantOption, false)
	p.optional("ensure", absent, g.Absent)
}

// defaults writes default privileges of one owner in one place.
func (p *printer) defaults(list []access.DefaultPrivilege) {
	p.printf("  - owner: %s\n", quote(list[0].Owner.String()))
	if list[0].Schema != "" {
		p.optional("schema", list[0].Schema, true)
	} else {
		p.printf("    scope: { type: %s }\n", everywhere)
	}
	p.printf("    grant:\n")
	for _, g := range list {
		p.printf("      - { role: %s, privileges: [%s], on_type: %s", quote(g.Grantee.String()), g.Privileges, g.Kind)
		if g.GrantOption {
			p.printf(", grant_option: true")
		}
		if g.Absent {
			p.printf(", ensure: %s", absent)
		}
		p.printf(" }\n")
	}
}

// plain are scalars that every YAML reader takes for the text that they are, in lists and mappings too.
var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

// typed are words that some YAML readers take for something else (https://yaml.org/type/).
var typed = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$`)

// quote writes a text so that YAML reads it as it is.
func quote(s string) string {
	if plain.MatchString(s) && !typed.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case !unicode.IsPrint(r) && r <= 0xff:
			b.WriteString(`\x` + hex(r, 2))
		case !unicode.IsPrint(r) && r <= 0xffff:
			b.WriteString(`\u` + hex(r, 4))
		case !unicode.IsPrint(r):
			b.WriteString(`\U` + hex(r, 8))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func hex(r rune, digits int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", digits-len(s)) + s
}
