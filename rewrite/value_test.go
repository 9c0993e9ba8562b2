package rewrite

import (
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
)

func TestLocalizerValue(t *testing.T) {
	l := testLocalizer()
	own := l.Own
	l.Own = func(c scope.Cluster) (scope.Short, bool) {
		switch c {
		case "orders_select", `orders_q"uote`, "orders_a=b/c", "orders_sales_buyer":
			s := strings.TrimPrefix(string(c), "orders_")
			return scope.Short(strings.Replace(s, "sales_", "sales.", 1)), true
		}
		return own(c)
	}
	for _, tt := range []struct {
		typ        uint32
		text, want string
	}{
		{typeRegrole, "orders_customer", "customer"},
		{typeRegrole, "orders_unknown", "orders_unknown"},
		{typeRegrole, "-", "-"},
		{typeRegrole, "16384", "16384"},
		{typeRegrole, `"orders_Mixed Case"`, `"Mixed Case"`},
		{typeRegrole, `orders_select`, `"select"`},
		{typeRegrole, `"orders_customer"`, `"customer"`},
		{typeRegrole, `"orders_q""uote"`, `"q""uote"`},
		{typeRegrole, `orders_sales_buyer`, `"sales.buyer"`},
		{typeRegroles, `{orders_customer,-,"\"orders_Mixed Case\"",NULL,postgres}`, `{customer,-,"\"Mixed Case\"",NULL,postgres}`},
		{typeAclitem, "orders_customer=r*w/postgres", "customer=r*w/postgres"},
		{typeAclitem, "=r/orders_customer", "=r/customer"},
		{typeAclitem, `"orders_a=b/c"=r/"orders_Mixed Case"`, `"a=b/c"=r/"Mixed Case"`},
		{typeAclitem, `"orders_é"=r/orders_é`, `"é"=r/é`},
		{typeAclitem, `orders_select=r/orders_unknown`, `select=r/orders_unknown`},
		{typeAclitem, `orders_customer`, `orders_customer`},
		{typeAclitem, `"orders_customer=r/postgres`, `"orders_customer=r/postgres`},
		{typeAclitems, `{postgres=arwdDxt/postgres,orders_customer=r/postgres,"\"orders_q\"\"uote\"=r/orders_customer"}`, `{postgres=arwdDxt/postgres,customer=r/postgres,"\"q\"\"uote\"=r/customer"}`},
		{typeAclitems, `{"orders_a-=r/postgres","\"orders_a-\"=r/postgres"}`, `{"\"a-\"=r/postgres","\"a-\"=r/postgres"}`},
		{typeAclitems, `[0:1]={orders_customer=r/postgres,=r/postgres}`, `[0:1]={customer=r/postgres,=r/postgres}`},
		{typeAclitems, `{{orders_customer=r/postgres},{=r/postgres}}`, `{{customer=r/postgres},{=r/postgres}}`},
		{typeAclitems, `{postgres=CTc/postgres,pgscope_db_orders=c/postgres,orders_customer=c/postgres}`, `{postgres=CTc/postgres,customer=c/postgres}`},
		{typeAclitems, `{"\"pgscope_db_or ders\"=c/postgres"}`, `{}`},
		{typeAclitems, `{postgres=CTc/postgres,=c/pgscope_db_orders}`, `{postgres=CTc/postgres,=c/pgscope_db_orders}`},
		{typeAclitems, `[0:0]={pgscope_db_orders=c/postgres}`, `[0:0]={pgscope_db_orders=c/postgres}`},
		{typeAclitems, `{{pgscope_db_orders=c/postgres}}`, `{{pgscope_db_orders=c/postgres}}`},
		{typeAclitems, `{}`, `{}`},
		{typeAclitems, `orders_customer`, `orders_customer`},
		{25, "orders_customer", "orders_customer"},
	} {
		if got := l.Value(tt.typ, tt.text); got != tt.want {
			t.Errorf("%d %s\ngot  %s\nwant %s", tt.typ, tt.text, got, tt.want)
		}
	}
}

// FuzzValue maps what no server would send: values without a name of the database stay as they are, byte for byte.
func FuzzValue(f *testing.F) {
	f.Add(`{orders_a=r/b,"\"orders_ q\"=r/x"}`)
	f.Add(`[0:1]={{"orders_",NULL},{}}\`)
	l := Localizer{Prefix: "orders", Own: func(scope.Cluster) (scope.Short, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, scope.Reserved) { // markers are not shown
			t.Skip()
		}
		for _, typ := range []uint32{typeAclitem, typeAclitems, typeRegrole, typeRegroles} {
			if got := l.Value(typ, text); got != text {
				t.Errorf("type %d: got %q for %q", typ, got, text)
			}
		}
	})
}

// TestLocalizerKeyWords compares what is quoted with what servers of some versions quote.
func TestLocalizerKeyWords(t *testing.T) {
	for _, tt := range []struct {
		version      int
		word, quoted string
	}{
		{0, "json", `"json"`},
		{150000, "system_user", "system_user"},
		{160000, "system_user", `"system_user"`},
		{160000, "json", "json"},
		{170000, "json", `"json"`},
		{140000, "between", `"between"`},
		{140000, "Json", `"Json"`},
	} {
		own := func(c scope.Cluster) (scope.Short, bool) { return scope.Short(tt.word), string(c) == "orders_"+tt.word }
		l := Localizer{Prefix: "orders", Own: own, ServerVersion: tt.version}
		if got := l.Value(typeRegrole, "orders_"+tt.word); got != tt.quoted {
			t.Errorf("%d: got %s, want %s", tt.version, got, tt.quoted)
		}
	}
}

func TestParameter(t *testing.T) {
	own := func(s scope.Short) (scope.Cluster, bool) {
		return scope.Cluster("orders_" + s), s == "customer" || s == "Mixed Case" || s == "10"
	}
	for _, tt := range []struct {
		typ        uint32
		text, want string
	}{
		{typeRegrole, "customer", `"orders_customer"`},
		{typeRegrole, " Customer ", `"orders_customer"`},
		{typeRegrole, `"Customer"`, `"Customer"`},
		{typeRegrole, `"Mixed Case"`, `"orders_Mixed Case"`},
		{typeRegrole, "Mixed Case", "Mixed Case"},
		{typeRegrole, "postgres", "postgres"},
		{typeRegrole, "-", "-"},
		{typeRegrole, "16384", "16384"},
		{typeRegrole, "10", "10"},
		{typeRegrole, `"10"`, `"orders_10"`},
		{typeRegroles, `{customer,NULL,"\"Mixed Case\"",postgres}`, `{"\"orders_customer\"",NULL,"\"orders_Mixed Case\"",postgres}`},
		{typeRegroles, "customer", "customer"},
	} {
		if got := Parameter(tt.typ, tt.text, own); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
}
