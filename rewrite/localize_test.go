package rewrite

import (
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
)

func testLocalizer() Localizer {
	db := scope.NewDatabase(1, "orders", "")
	own := map[scope.Cluster]bool{
		"orders_customer": true, "orders_customer_x": true, "orders_Mixed Case": true, "orders_a-": true,
		"orders_é": true, "orders_customer of table": true,
	}
	return Localizer{Prefix: "orders", Own: func(c scope.Cluster) (scope.Short, bool) {
		if !own[c] {
			return "", false
		}
		return db.Localize(c)
	}}
}

func TestLocalizerField(t *testing.T) {
	tests := []struct {
		field             byte
		sqlstate, routine string
		text, want        string
	}{
		{'M', "42704", "get_role_oid", `role "orders_customer" does not exist`, `role "customer" does not exist`},
		{'M', "42704", "get_role_oid", `le rôle « orders_customer » n'existe pas`, `le rôle « customer » n'existe pas`},
		{'M', "42704", "get_role_oid", "le rôle «\u00a0orders_customer\u00a0» n'existe pas", "le rôle «\u00a0customer\u00a0» n'existe pas"},
		{'M', "42704", "get_role_oid", `ロール"orders_customer"は存在しません`, `ロール"customer"は存在しません`},
		{'M', "42704", "get_role_oid", `Rolle »orders_é« existiert nicht`, `Rolle »é« existiert nicht`},
		{'M', "42704", "typenameType", `type "orders_customer" does not exist`, `type "orders_customer" does not exist`},
		{'M', "42704", "", `type "orders_customer" does not exist`, `type "orders_customer" does not exist`},
		{'M', "42P01", "parserOpenTable", `relation "orders_customer" does not exist`, `relation "orders_customer" does not exist`},
		{'M', "42501", "aclcheck_error", `permission denied for table orders_customer`, `permission denied for table orders_customer`},
		{'M', "42501", "AddRoleMems", `must have admin option on role "orders_customer"`, `must have admin option on role "customer"`},
		{'M', "42501", "", `must be member of role "orders_customer"`, `must be member of role "customer"`},
		{'W', "42501", "CreateRole", `SQL statement "create role orders_customer"`, `SQL statement "create role customer"`},
		{'s', "42501", "CreateRole", `orders_customer`, `orders_customer`},
		{'M', "0LP01", "AddRoleMems", `role "orders_customer" is a member of role "orders_customer_x"`, `role "customer" is a member of role "customer_x"`},
		{'M', "28P01", "auth_failed", `password authentication failed for user "orders_Mixed Case"`, `password authentication failed for user "Mixed Case"`},
		{
			'D', "2BP01", "DropRole", "owner of default privileges on new relations belonging to role orders_customer in schema s\nx",
			"owner of default privileges on new relations belonging to role customer in schema s\nx",
		},
		{'M', "2BP01", "reportDependentObjects", `cannot drop table orders_customer`, `cannot drop table orders_customer`},
		{
			'D', "00000", "reportDependentObjects", "drop cascades to user mapping for orders_customer on server s\ndrop cascades to table orders_customer",
			"drop cascades to user mapping for customer on server s\ndrop cascades to table orders_customer",
		},
		{
			'D', "2BP01", "reportDependentObjects", "сопоставление для пользователя orders_customer на сервере s зависит от сервер s",
			"сопоставление для пользователя customer на сервере s зависит от сервер s",
		},
		{'M', "42710", "CreateRole", `role "orders_unknown" already exists`, `role "orders_unknown" already exists`},
		{'M', "42710", "CreateRole", `role "my_orders_customer" already exists`, `role "my_orders_customer" already exists`},
		{'M', "42710", "CreateRole", `role "orders_customers" already exists`, `role "orders_customers" already exists`},
		{'M', "42710", "CreateRole", `role "orders_a-" already exists`, `role "a-" already exists`},
		{'M', "42710", "CreateRole", `orders_customer`, `customer`},
		{'M', "42710", "CreateRole", `orders_orders_customer`, `orders_orders_customer`},
		{'M', "42710", "CreateRole", "orders_customer\xff orders_customer", "customer\xff customer"},
		{'M', "42710", "CreateRole", ``, ``},
	}
	l := testLocalizer()
	for _, tt := range tests {
		if got := l.Field(tt.field, tt.sqlstate, tt.routine, tt.text); got != tt.want {
			t.Errorf("%c %s %s: %s\ngot  %s\nwant %s", tt.field, tt.sqlstate, tt.routine, tt.text, got, tt.want)
		}
	}
}

// TestLongFieldsStay: a text that is longer than what the server says of roles is not looked through.
func TestLongFieldsStay(t *testing.T) {
	l := testLocalizer()
	for _, tt := range []struct {
		blanks int
		want   string
	}{{maxField - len("orders_customer"), "customer"}, {maxField, "orders_customer"}} {
		blanks := strings.Repeat(" ", tt.blanks)
		for name, l := range map[string]Localizer{"listed": l, "met": {Prefix: l.Prefix, Unlisted: true, Own: func(scope.Cluster) (scope.Short, bool) { return "", false }}} {
			text := blanks + "orders_customer"
			if got := l.Met("28000", "exec_stmt_raise", text).Field('M', "28000", "exec_stmt_raise", text); got != blanks+tt.want {
				t.Errorf("%s, behind %d blanks: %q", name, tt.blanks, got[tt.blanks:])
			}
		}
	}
}
