package reconcile

import (
	"fmt"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// schemata makes the schemas that are declared, and gives them their owners.
func (p *planner) schemata() {
	for i := range p.desired.Schemas {
		s := &p.desired.Schemas[i]
		owner := scope.Cluster("")
		if s.Owner != (access.Ref{}) {
			var ok bool
			if owner, ok = p.cluster(s.Owner, s.Place); !ok {
				continue
			}
		}
		switch have := p.state.object(access.Schema, "", s.Name); {
		case have == nil:
			p.createSchema(s, owner)
		case owner != "" && owner != have.Owner:
			p.giveSchema(s, have, owner)
		}
	}
}

func (p *planner) createSchema(s *access.SchemaSpec, owner scope.Cluster) {
	if !p.state.Executor.Schemas {
		p.problem(s.Place, "grant it CREATE on the database", "role %q may not create schemas in database %q", p.state.Executor.Name, p.state.Scope.Name)
	}
	ident := scope.QuoteIdent(s.Name)
	create := Change{
		Step: CreateSchema, Subject: s.Name, Places: places(s.Place), Reason: "it does not exist",
		SQL: "CREATE SCHEMA " + ident, Undo: "DROP SCHEMA " + ident,
	}
	made := &Object{Kind: access.Schema, Name: s.Name, Owner: p.state.Executor.Name}
	switch {
	case owner == "":
		made.ACL = p.state.newSchema(made.Owner)
	case p.state.role(owner) == nil && s.Owner.Name.Schema != "": // a schema's role, which comes after its schema
		p.change(Change{
			Step: OwnSchema, fresh: true, Subject: s.Name, Places: places(s.Place), Reason: "it is new",
			SQL: ownSchemaSQL(ident, owner), Undo: ownSchemaSQL(ident, made.Owner),
			lent: []scope.Cluster{p.borrow(owner, sets, s.Place, "give schemas to")},
		})
		made.ACL, made.Owner = p.state.newSchema(made.Owner).transfer(made.Owner, owner), owner
	default:
		create.SQL += " AUTHORIZATION " + owner.Ident()
		create.lent = []scope.Cluster{p.borrow(owner, sets, s.Place, "make schemas for")}
		made.ACL, made.Owner = p.state.newSchema(owner), owner
	}
	p.change(create)
	p.virtual = append(p.virtual, made)
}

// giveSchema gives a schema another owner. What that had of it before becomes the owner's own, and its successor's: to
// undo it, it is given again.
func (p *planner) giveSchema(s *access.SchemaSpec, have *Object, owner scope.Cluster) {
	had := loss{grantee: owner, grantor: have.Owner}
	for _, e := range have.ACL.Entries {
		if e.Grantee == owner {
			had.privileges |= e.Privileges
			had.options |= e.Options
		}
	}
	ident := scope.QuoteIdent(s.Name)
	undo := append([]string{ownSchemaSQL(ident, have.Owner)}, againOf(have, "", had, 0).grants(" ON SCHEMA "+ident, owner.Ident())...)
	p.change(Change{
		Step: OwnSchema, Subject: s.Name, Places: places(s.Place),
		Reason: fmt.Sprintf("its owner is %s, and shall be %s", p.name(have.Owner), s.Owner),
		SQL:    ownSchemaSQL(ident, owner), Undo: strings.Join(undo, "; "),
		lent: []scope.Cluster{
			p.borrow(have.Owner, uses, s.Place, "give away schemas of"), p.borrow(owner, sets, s.Place, "give schemas to"),
		},
	})
}

func ownSchemaSQL(ident string, owner scope.Cluster) string {
	return "ALTER SCHEMA " + ident + " OWNER TO " + owner.Ident()
}
