package scope

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// cluster is what a server would know: the tests answer inquiries from it.
type cluster struct {
	db      Database
	schemas map[string]uint32     // namespaces, by name
	markers map[Cluster]markerOf  // of schemas
	roles   map[Cluster][]Cluster // role: the markers that it is a member of
	others  map[Cluster]Database  // markers of other databases
	path    []string
}

type markerOf struct{ name, now, comment string }

// orders is the cluster of the table tests.
func orders(path ...string) *cluster {
	db := NewDatabase(16384, "orders", "")
	db.Enrolled = true
	other := NewDatabase(20000, "orders_x", "")
	c := &cluster{
		db: db, path: path,
		schemas: map[string]uint32{"public": 2200, "sales": 30000, "hr": 30001, "renamed": 30002, "empty": 30003},
		others:  map[Cluster]Database{other.Marker: other},
		markers: map[Cluster]markerOf{},
		roles: map[Cluster][]Cluster{
			"postgres": nil, "ann": nil, "orders_taken": nil,
			"orders_customer": {db.Marker}, "orders_clerk": {db.Marker}, "dba": {db.Marker},
			"orders_x_y": {other.Marker}, db.Marker: nil,
			"orders_empty.twin": {db.Marker}, "empty.folk": nil, "orders_x_empty.other": {other.Marker},
		},
	}
	c.schema("sales", 30000, "sales", "customer", "buyer", "ann", "pg_x")
	c.schema("hr", 30001, "hr", "customer", "boss")
	c.schema("old", 30002, "renamed", "customer")
	c.schema("gone", 29000, "", "customer")
	return c
}

// schema adds the marker of a schema that was called name when it got it, and is called now so, with its roles.
func (c *cluster) schema(name string, oid uint32, now string, roles ...Short) {
	s := c.db.newSchema(oid, name)
	c.markers[s.Marker] = markerOf{name, now, c.db.schemaComment(s).text()}
	c.roles[s.Marker] = []Cluster{c.db.Marker}
	for _, r := range roles {
		q, err := s.Qualify(r)
		if err != nil {
			panic(err)
		}
		c.roles[q] = append(c.roles[q], s.Marker)
	}
}

func (c *cluster) answer(t testing.TB, q Inquiry) *View {
	t.Helper()
	path, err := json.Marshal(append([]string{}, c.path...))
	if err != nil {
		t.Fatal(err)
	}
	rows := [][]string{
		{"database", c.db.Name, fmt.Sprint(c.db.OID), "explicit"},
		{"marker", string(c.db.Marker), "1", c.db.Comment()},
		{"session", `["orders_customer", "orders_customer"]`, `"$user", public`, string(path)},
	}
	for name, oid := range c.schemas {
		rows = append(rows, []string{"namespace", name, fmt.Sprint(oid), ""})
	}
	for name, m := range c.markers {
		rows = append(rows, []string{"schema", string(name), m.now, m.comment})
	}
	for _, name := range q.Names {
		in, ok := c.roles[name]
		if !ok {
			continue
		}
		var list [][3]any
		for _, marker := range in {
			if m, ok := c.markers[marker]; ok {
				list = append(list, [3]any{marker, m.comment, m.now})
			} else if other, ok := c.others[marker]; ok {
				list = append(list, [3]any{marker, other.Comment(), nil})
			} else {
				list = append(list, [3]any{marker, c.db.Comment(), nil})
			}
		}
		b, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, []string{"role", string(name), "true", string(b)})
	}
	v, err := q.Answer(rows, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// view asks about the names as the proxy does: with what it believes, and once more with what it was told.
func (c *cluster) view(t testing.TB, names ...Name) *View {
	t.Helper()
	v := c.answer(t, NewDatabase(0, c.db.Name, "").Inquire(names...))
	if !v.Knows(names...) {
		v = c.answer(t, v.DB.Inquire(names...))
	}
	if !v.Knows(names...) {
		t.Fatalf("%v cannot be known", names)
	}
	return v
}

func TestResolve(t *testing.T) {
	sales := []string{"sales"}
	for _, tt := range []struct {
		name Name
		path []string
		want Cluster
		home Home
		err  string // SQLSTATE and message
	}{
		{Name{"", "pg_monitor"}, sales, "pg_monitor", Global, ""},
		{Name{"", "pg_x"}, sales, "pg_x", Global, ""}, // whatever stands along the path

		{Name{"", "customer"}, nil, "orders_customer", Own, ""},
		{Name{"", "customer"}, sales, "orders_sales_customer", Own, ""},
		{Name{"", "customer"}, []string{"hr", "sales"}, "orders_hr_customer", Own, ""},
		{Name{"", "customer"}, []string{"sales", "hr"}, "orders_sales_customer", Own, ""},
		{Name{"", "customer"}, []string{"empty", "public", "hr"}, "orders_hr_customer", Own, ""},
		{Name{"", "customer"}, []string{"renamed"}, "orders_old_customer", Own, ""},
		{Name{"", "boss"}, []string{"sales", "hr"}, "orders_hr_boss", Own, ""},
		{Name{"", "clerk"}, sales, "orders_clerk", Own, ""},
		{Name{"", "ann"}, sales, "orders_sales_ann", Own, ""},
		{Name{"", "ann"}, nil, "ann", Global, ""},
		{Name{"", "dba"}, sales, "dba", Global, ""},
		{Name{"", "nobody"}, sales, "orders_nobody", Missing, ""},
		{Name{"", "taken"}, nil, "", Missing, `42704 role "taken" does not exist`},
		{Name{"", "x_y"}, nil, "", Missing, `42704 role "x_y" does not exist`},
		{Name{"", "orders_x_y"}, nil, "orders_orders_x_y", Missing, ""},
		{Name{"", "sales_customer"}, nil, "", Missing, `42704 role "sales_customer" does not exist`},
		{Name{"", "sales_customer"}, sales, "", Missing, `42704 role "sales_customer" does not exist`},
		{Name{"", "pgscope_db_orders"}, nil, "orders_pgscope_db_orders", Missing, ""},

		{Name{"sales", "customer"}, nil, "orders_sales_customer", Own, ""},
		{Name{"sales", "customer"}, []string{"hr"}, "orders_sales_customer", Own, ""},
		{Name{"sales", "clerk"}, nil, "orders_sales_clerk", Missing, ""},
		{Name{"renamed", "customer"}, nil, "orders_old_customer", Own, ""},
		{Name{"old", "customer"}, nil, "", Missing, `3F000 schema "old" does not exist`},
		{Name{"gone", "customer"}, nil, "orders_gone_customer", Own, ""}, // to be dropped
		{Name{"empty", "customer"}, nil, "orders_empty_customer", Missing, ""},
		{Name{"nowhere", "customer"}, nil, "orders_nowhere_customer", Missing, `3F000 schema "nowhere" does not exist`},
		{Name{"Sales", "customer"}, nil, "orders_Sales_customer", Missing, `3F000 schema "Sales" does not exist`},
	} {
		t.Run(fmt.Sprintf("%s along %v", tt.name.Short(), tt.path), func(t *testing.T) {
			v := orders(tt.path...).view(t, tt.name)
			c, home, err := resolve(v, tt.name)
			if c != tt.want || home != tt.home || text(err) != tt.err {
				t.Errorf("%q, %v, %s", c, home, text(err))
			}
		})
	}
}

func resolve(v *View, n Name) (Cluster, Home, *Error) {
	if n.Schema == "" {
		return v.Resolve(n.Role)
	}
	return v.ResolveIn(n.Schema, n.Role)
}

func create(v *View, n Name) (Cluster, *Error) {
	if n.Schema == "" {
		return v.Create(n.Role)
	}
	return v.CreateIn(n.Schema, n.Role)
}

func text(err *Error) string {
	if err == nil {
		return ""
	}
	return err.Code + " " + err.Message
}

func TestCreate(t *testing.T) {
	for _, tt := range []struct {
		name Name
		path []string
		want Cluster
		err  string
		hint string
	}{
		{Name{"", "buyer"}, []string{"sales"}, "orders_buyer", "", ""},
		{Name{"", "customer"}, nil, "orders_customer", "", ""}, // the server says that it exists
		{Name{"", "ann"}, nil, "", `42710 role "ann" already exists`, "Use that role, or another name."},
		{
			Name{"", "taken"},
			nil, "", `42710 role "taken" already exists`,
			`On the server it would be "orders_taken", which exists and belongs to no database.`,
		},
		{
			Name{"", "x_y"},
			nil, "", `42710 role "x_y" already exists`,
			`On the server it would be "orders_x_y", which is a role of database "orders_x".`,
		},
		{
			Name{"", "sales_buyer"},
			nil, "", `42710 role "sales_buyer" already exists`,
			`On the server it would be "orders_sales_buyer", which is role "sales.buyer" of this database.`,
		},
		{Name{"", "pg_x"}, nil, "", `42939 role name "pg_x" is reserved`, ""},

		{Name{"sales", "clerk"}, nil, "orders_sales_clerk", "", ""},
		{Name{"sales", "customer"}, nil, "orders_sales_customer", "", ""},
		{Name{"empty", "ann"}, nil, "orders_empty_ann", "", ""},
		{Name{"empty", "other"}, nil, "orders_empty_other", "", ""},
		{Name{"empty", "twin"}, nil, "", `42710 role "empty.twin" already exists`, "Rename that role, or use another name."},
		{Name{"empty", "folk"}, []string{"empty"}, "", `42710 role "empty.folk" already exists`, "Rename that role, or use another name."},
		{Name{"renamed", "x"}, nil, "orders_old_x", "", ""},
		{Name{"sales", "pgscope_x"}, nil, "", `42939 role name "pgscope_x" is reserved`, ""},
		{
			Name{"gone", "x"},
			nil, "", `3F000 schema "gone" does not exist`,
			"A schema must exist before the text is sent that creates a role in it.",
		},
		{
			Name{"nowhere", "x"},
			nil, "", `3F000 schema "nowhere" does not exist`,
			"A schema must exist before the text is sent that creates a role in it.",
		},
	} {
		t.Run(string(tt.name.Short()), func(t *testing.T) {
			v := orders(tt.path...).view(t, tt.name)
			c, err := create(v, tt.name)
			if c != tt.want || text(err) != tt.err || err != nil && err.Hint != tt.hint {
				t.Errorf("%q, %+v", c, err)
			}
		})
	}
}

// TestEffects: what the statements of a text do to roles, later ones see.
func TestEffects(t *testing.T) {
	names := []Name{{"sales", "customer"}, {"sales", "client"}, {"", "customer"}, {"", "client"}, {"empty", "x"}}
	v := orders("sales").view(t, names...)
	expect := func(step string, name Short, want Cluster, home Home) {
		t.Helper()
		if c, h, err := v.Resolve(name); c != want || h != home || err != nil {
			t.Errorf("%s: %s is %q, %v, %s", step, name, c, h, text(err))
		}
	}
	v.Renamed("orders_sales_customer", "orders_sales_client")
	expect("renamed", "customer", "orders_customer", Own)
	expect("renamed", "client", "orders_sales_client", Own)
	if short, _ := v.Localize("orders_sales_client"); short != "sales.client" {
		t.Errorf("renamed: %s", short)
	}
	v.Dropped("orders_sales_client")
	expect("dropped", "client", "orders_client", Missing)
	v.Created("orders_client", Own)
	expect("created", "client", "orders_client", Own)
	v.CreatedIn("sales", "orders_sales_client")
	expect("created in a schema", "client", "orders_sales_client", Own)
	v.CreatedIn("empty", "orders_empty_x")
	if short, ok := v.Localize("orders_empty_x"); short != "empty.x" || !ok {
		t.Errorf("created in an empty schema: %s", short)
	}
	if name, ok := v.Within("orders_sales_client", "orders_sales_other"); !ok || name != (Name{"sales", "other"}) {
		t.Errorf("within: %v, %v", name, ok)
	}
	for _, other := range []Cluster{"orders_client", "orders_sales_", "sales_client"} {
		if _, ok := v.Within("orders_sales_client", other); ok {
			t.Errorf("%s is within schema sales", other)
		}
	}
}

// TestLogin: nobody logs in as a role of a schema, by whatever name.
func TestLogin(t *testing.T) {
	for name, want := range map[Short]Cluster{
		"customer": "orders_customer", "ann": "ann", "dba": "dba", "nobody": "nobody",
		"sales_customer": "sales_customer", "sales.customer": "sales.customer", // which the server does not have
		"orders_sales_customer": "", "orders_customer": "", "orders_x_y": "", "pgscope_db_orders": "",
	} {
		v := orders("sales").view(t, Name{Role: name})
		if c, err := v.Login(name); c != want && (err == nil || want != "") || err == nil && want == "" {
			t.Errorf("%s logs in as %q, %s", name, c, text(err))
		}
	}
}

// TestNumberedMarker: where the readable name of a schema's marker is another's, it gets one by numbers.
func TestNumberedMarker(t *testing.T) {
	c := orders()
	c.roles["pgscope_schema_orders_empty"] = nil
	v := c.view(t, Name{"empty", "x"})
	if s := v.DB.Schema("empty"); s.Marker != "pgscope_schema_16384_30003" || s.Enrolled {
		t.Errorf("a schema whose marker's name is taken: %+v", s)
	}
}

// TestUnaskedIsNotMissing: to take a name that was not asked about for a missing role would let through another database's.
func TestUnaskedIsNotMissing(t *testing.T) {
	v := orders().view(t, Name{Role: "customer"})
	defer func() {
		if recover() == nil {
			t.Error("a name was resolved that nobody asked about")
		}
	}()
	_, _, _ = v.Resolve("clerk") //nolint:dogsled // it must not return
}

// TestNoTwoNamesAreOne: whatever roles are made in a database and its schemas, in whatever order, no name of the server
// belongs to two of them, none is another's, and each is found again under the name that it was given.
func TestNoTwoNamesAreOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 1+rng.IntN(4))
		for i := range b {
			b[i] = "ab_"[rng.IntN(3)]
		}
		return string(b)
	}
	for range 500 {
		c := orders()
		c.db.Prefix = word()
		c.markers, c.schemas = map[Cluster]markerOf{}, map[string]uint32{}
		for i := range 3 {
			c.schemas[word()] = uint32(40000 + i)
		}
		var names []Name
		for range 12 {
			n := Name{Role: Short(word())}
			for schema := range c.schemas {
				if rng.IntN(2) == 0 {
					n.Schema = schema
				}
			}
			names = append(names, n)
			if q, err := c.db.Qualify(Short(word())); err == nil && rng.IntN(4) == 0 {
				c.roles[q] = []Cluster{"pgscope_db_orders_x"} // whether it carries that one's prefix or not
			}
		}
		v := c.view(t, names...)
		owner := make(map[Cluster]Name)
		for _, n := range names {
			q, err := create(v, n)
			if err != nil {
				continue
			}
			if _, exists := c.roles[q]; exists {
				t.Fatalf("%v would be %q, which is not of this database", n, q)
			}
			if other, taken := owner[q]; taken && other != n {
				t.Fatalf("%v and %v are both %q", n, other, q)
			}
			owner[q] = n
			if n.Schema == "" {
				v.Created(q, Own)
			} else {
				v.CreatedIn(n.Schema, q)
			}
		}
		for q, n := range owner {
			got, home, err := resolve(v, n)
			if short, _ := v.Name(q); got != q || home != Own || err != nil || short != n {
				t.Fatalf("%v was made as %q, and is %q (%v, %s), called %v", n, q, got, home, text(err), short)
			}
		}
	}
}
