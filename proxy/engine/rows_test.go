package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/scope"
)

// reader is a book of the roles reader and "Mixed Case".
func reader() *book {
	b := newBook()
	b.roles = map[scope.Cluster]scope.Short{"orders_reader": "reader", "orders_Mixed Case": "Mixed Case"}
	return b
}

func described1(name string, typ uint32) *pgproto3.RowDescription {
	return &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a"), DataTypeOID: 23}, {Name: []byte(name), DataTypeOID: typ}}}
}

// rowsToUser are the values that the client was sent.
func (s *session) rowsToUser() (rows [][]string) {
	s.t.Helper()
	f := pgproto3.NewFrontend(&s.toUser, nil)
	for s.toUser.Len() > 0 || f.ReadBufferLen() > 0 {
		m, err := f.Receive()
		if err != nil {
			s.t.Fatal(err)
		}
		if d, ok := m.(*pgproto3.DataRow); ok {
			var values []string
			for _, v := range d.Values {
				values = append(values, string(v))
			}
			rows = append(rows, values)
		}
	}
	return rows
}

func (s *session) wantsRows(want ...[]string) *session {
	s.t.Helper()
	if diff := cmp.Diff(want, s.rowsToUser()); diff != "" {
		s.t.Errorf("rows (-want +got):\n%s", diff)
	}
	return s
}

var (
	selected = &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}
	access   = described1("relacl", 1034)
)

func TestRowsSpeakShortNames(t *testing.T) {
	s := newTestSession(t, reader())
	s.client(&pgproto3.Query{String: "SELECT 1, relacl FROM pg_class; SELECT 1; SELECT * FROM pg_class"})
	s.server(
		access, row("1", `{"\"orders_Mixed Case\"=r/orders_reader",orders_other=r/x}`), row("1", "{=r/postgres}"), selected,
		described1("text", 25), row("1", "{orders_reader=r/x}"), selected,
		access, row("1", "{orders_reader=r/x}"), selected, idle,
	).wantsRows(
		[]string{"1", `{"\"Mixed Case\"=r/reader",orders_other=r/x}`}, []string{"1", "{=r/postgres}"},
		[]string{"1", "{orders_reader=r/x}"}, []string{"1", "{reader=r/x}"},
	)
	s.client(&pgproto3.Query{String: "SELECT 1, x FROM y"})
	s.server(access, row("1", "{orders_reader=r/x}"), selected, idle).wantsRows([]string{"1", "{orders_reader=r/x}"})
}

// TestLongValuesStay: values that are longer than the server's own are not looked through, nor are too many in one row.
func TestLongValuesStay(t *testing.T) {
	half := func(name string) string {
		return "{" + name + "=r/x" + strings.Repeat(",=r/x", maxMapped/2/len(",=r/x")) + "}"
	}
	s := newTestSession(t, reader())
	s.client(&pgproto3.Query{String: "SELECT relacl, relacl FROM pg_class"})
	two := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{DataTypeOID: 1034}, {DataTypeOID: 1034}}}
	short, long := "{orders_reader=r/x}", half("orders_reader")
	s.server(two, row(long, long), row(long+long, short), selected, idle).
		wantsRows([]string{half("reader"), long}, []string{long + long, "{reader=r/x}"})
}

// TestRowsOfPreparedStatements: the proxy asks for the description itself, and keeps the answer to itself.
func TestRowsOfPreparedStatements(t *testing.T) {
	for _, tt := range []struct {
		name    string
		formats []int16
		value   string
		want    string
	}{
		{"texts", nil, "orders_reader", "reader"},
		{"all binary", []int16{1}, "orders_reader", "orders_reader"},
		{"one binary", []int16{0, 1}, "orders_reader", "orders_reader"},
		{"another binary", []int16{1, 0}, "orders_reader", "reader"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestSession(t, reader())
			s.client(
				&pgproto3.Parse{Name: "p", Query: "SELECT 1, oid::regrole FROM pg_authid"},
				&pgproto3.Bind{PreparedStatement: "p", ResultFormatCodes: tt.formats}, &pgproto3.Execute{}, &pgproto3.Sync{},
			)
			s.server(
				&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{}, described1("oid", 4096),
				&pgproto3.BindComplete{}, row("1", tt.value), selected, idle,
			)
			if got := describe(t, s.toUser.Bytes()); len(got) != 5 || got[1][0] != '2' {
				t.Errorf("the client was sent %q", got)
			}
			s.wantsRows([]string{"1", tt.want})
			s.client(&pgproto3.Bind{PreparedStatement: "p"}, &pgproto3.Execute{}, &pgproto3.Sync{})
			s.server(&pgproto3.BindComplete{}, row("1", "orders_reader"), selected, idle).wantsRows([]string{"1", "reader"})
			if !s.e.Idle() {
				t.Error("not idle after the answers")
			}
		})
	}
}

func TestSettingsOfRolesAreShown(t *testing.T) {
	role := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("role"), DataTypeOID: 25}}}
	shown := &pgproto3.CommandComplete{CommandTag: []byte("SHOW")}
	s := newTestSession(t, reader())
	s.client(&pgproto3.Query{String: "SELECT x AS role FROM y; SHOW role"}).wants(&s.toServer, "Q SELECT x AS role FROM y; SHOW role|")
	s.server(role, row("orders_reader"), selected, role, row("orders_reader"), shown, idle).
		wantsRows([]string{"orders_reader"}, []string{"reader"})
}

// TestNamesAreShownInRows: the text stays as it is, and the columns are told by their places.
func TestNamesAreShownInRows(t *testing.T) {
	const sql = "SELECT a, user FROM t; SELECT session_user FROM t"
	s := newTestSession(t, reader())
	s.client(&pgproto3.Query{String: sql}).wants(&s.toServer, "Q "+sql+"|")
	one := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("session_user"), DataTypeOID: 19}}}
	s.server(
		described1("user", 19), row("orders_reader", "orders_reader"), row("1", "orders_other"), selected, one, row("orders_Mixed Case"), selected, idle,
	).wantsRows([]string{"orders_reader", "reader"}, []string{"1", "orders_other"}, []string{"Mixed Case"})
	s.client(
		&pgproto3.Parse{Query: "SELECT a, user FROM t"}, &pgproto3.Bind{ResultFormatCodes: []int16{1}}, &pgproto3.Execute{}, &pgproto3.Sync{},
	)
	s.server(
		&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{}, described1("user", 19),
		&pgproto3.BindComplete{}, row("1", "orders_reader"), selected, idle,
	).wantsRows([]string{"1", "reader"})
}

// TestRowsOfCursors: which texts show what was declared before, is not told by their words.
func TestRowsOfCursors(t *testing.T) {
	const fetch = "FETCH ALL FROM c"
	s := newTestSession(t, reader())
	s.client(&pgproto3.Query{String: fetch})
	s.server(access, row("1", "{orders_reader=r/x}"), selected, idle).wantsRows([]string{"1", "{orders_reader=r/x}"})
	s.client(&pgproto3.Query{String: "DECLARE c CURSOR WITH HOLD FOR SELECT 1, relacl FROM pg_class"})
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("DECLARE CURSOR")}, idle).wantsRows()
	s.client(&pgproto3.Query{String: fetch})
	s.server(access, row("1", "{orders_reader=r/x}"), selected, idle).wantsRows([]string{"1", "{reader=r/x}"})
}

func TestMalformedRowsEndTheSession(t *testing.T) {
	for name, frame := range map[string]string{
		"no columns":     "D\x00\x00\x00\x04",
		"no length":      "D\x00\x00\x00\x08\x00\x01\x00\x00",
		"a short column": "D\x00\x00\x00\x0a\x00\x01\x00\x00\x00\x09",
	} {
		s := newTestSession(t, reader())
		s.client(&pgproto3.Query{String: "SELECT relacl FROM pg_class"}).server(access)
		var out Out
		if err := s.e.Server([]byte(frame), &out); err == nil {
			t.Errorf("%s is taken for a row", name)
		}
	}
}
