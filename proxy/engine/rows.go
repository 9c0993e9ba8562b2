package engine

import (
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Access lists and regroles are written by the server, whatever a query's text says of them: in SELECT *, out of a
// subquery, from a cursor. In the results of texts that may have such values they are mapped row by row, and keep their
// types. A result is looked at if its description has a column of such a type; rows of all others pass.

// rows is what is known of the results of a text that is looked at. A prepared statement and its portals share it.
type rows struct {
	results rewrite.Results
	columns []column // of the result that is being sent, or that Execute will send
	takes   []uint32 // the types of the parameters, as far as they are known
}

// column is one with role names in it.
type column struct {
	at    int
	plain bool // the values are texts in the binary format too
	show  func(rewrite.Localizer, string) string
}

// maxDescription bounds the description of a result, or of a statement's parameters, in bytes: of 1,664 columns
// (MaxTupleAttributeNumber, htup_details.h) each has less than 100, of 65,535 parameters each has 4.
const maxDescription = 512 << 10

// maxMapped bounds what of one row is looked through for names, in bytes. The server's own values have some KiB; to look through
// 64 MiB takes seconds, for which other sessions would wait.
const maxMapped = 256 << 10

// maxFormats bounds the format codes of a Bind message that are remembered.
const maxFormats = 1 << 10

// textFormat is the format code of values that are texts.
const textFormat = 0

// lookAt returns what is to be known of the results of a held statement, nil where they pass.
func (h *held) lookAt() *rows {
	r := h.analysis.Results()
	if h.mode != scope.Transparent || !r.Typed && r.Named == nil && r.Plans == nil {
		return nil
	}
	return &rows{results: r, takes: h.declared()}
}

// askRoles asks what the roles are called now, before an Execute whose rows may have their names: the statement may have
// been prepared long ago.
func (e *Engine) askRoles(t *tracked, frame []byte, out *Out) {
	h := &held{step: asksRoles, tracked: t, frame: frame, inquiry: e.cfg.Directory.Database().Inquire()}
	e.doubt(&h.inquiry)
	e.held = h
	sql, params := h.inquiry.SQL()
	if err := e.ask(sql, params, out); err != nil { // then their names cannot be written in the rows either
		e.held = nil
		e.forward(t, frame, out)
	}
}

// rolesKnown goes on with the Execute.
func (e *Engine) rolesKnown(out *Out) error {
	h := e.held
	view, err := e.inquired(h.inquiry)
	if err != nil {
		return err
	}
	e.cfg.Directory.Learn(view)
	e.held = nil
	e.forward(h.tracked, h.frame, out)
	return nil
}

// looked reports whether the results of the text are looked at.
func (t *tracked) looked() bool { return t != nil && t.rows != nil }

// shows reports whether the rows of the result have roles' names in them.
func (t *tracked) shows() bool { return t.looked() && len(t.rows.columns) > 0 }

// described takes a message of the answer to the proxy's Describe.
func (e *Engine) described(frame []byte) error {
	t := e.pending.first().tracked
	if frame[0] == wire.ParameterDescription {
		var d pgproto3.ParameterDescription
		if err := d.Decode(frame[wire.HeaderSize:]); err != nil {
			return serverViolation(err.Error(), frame[0])
		}
		t.rows.takes = d.ParameterOIDs
		return nil
	}
	e.pending.pop()
	if frame[0] == wire.NoData {
		return nil
	}
	return e.describe(t, frame)
}

// describe notes which columns of a text's result have roles' names in them.
func (e *Engine) describe(t *tracked, frame []byte) error {
	var d pgproto3.RowDescription
	if err := d.Decode(frame[wire.HeaderSize:]); err != nil {
		return serverViolation(err.Error(), frame[0])
	}
	t.rows.columns = t.rows.columns[:0]
	for i, f := range d.Fields {
		switch {
		case contains(t.rows.results.Named[t.completed], i):
			t.rows.columns = append(t.rows.columns, column{i, true, showName})
		case len(d.Fields) == 1 && contains(t.rows.results.Plans, t.completed):
			plan := rewrite.Plan(e.cfg.Directory.Database())
			t.rows.columns = append(t.rows.columns, column{i, true, func(_ rewrite.Localizer, s string) string { return plan(s) }})
		case rewrite.NamesRoles(f.DataTypeOID):
			t.rows.columns = append(t.rows.columns, column{i, false, func(l rewrite.Localizer, s string) string { return l.Value(f.DataTypeOID, s) }})
		}
	}
	return nil
}

// contains reports whether a list in ascending order has a number.
func contains(list []int, n int) bool {
	_, found := slices.BinarySearch(list, n)
	return found
}

// showName shows a role's name by itself.
func showName(l rewrite.Localizer, name string) string {
	if short, own := l.Own(scope.Cluster(name)); own {
		return string(short)
	}
	return name
}

// bindRoles returns a Bind with the cluster's names in parameters that the server reads as roles' names; nil where it has
// none that is another one there.
func (e *Engine) bindRoles(t *tracked, bind []byte) []byte {
	var b pgproto3.Bind
	if !t.looked() || !slices.ContainsFunc(t.rows.takes, rewrite.TakesRoles) || b.Decode(bind[wire.HeaderSize:]) != nil {
		return nil
	}
	changed := false
	for i, typ := range t.rows.takes[:min(len(t.rows.takes), len(b.Parameters))] {
		if value := b.Parameters[i]; value != nil && rewrite.TakesRoles(typ) && formatOf(b.ParameterFormatCodes, i) == textFormat {
			mapped, ok := e.mapped(string(value), func(text string) string { return rewrite.Parameter(typ, text, e.called) })
			if ok {
				b.Parameters[i], changed = []byte(mapped), true
			}
		}
	}
	if !changed {
		return nil
	}
	frame, err := b.Encode(nil)
	if err != nil {
		return nil
	}
	return frame
}

// called returns what a role of the database is called in the cluster.
func (e *Engine) called(name scope.Short) (scope.Cluster, bool) {
	c, err := e.cfg.Directory.Database().Qualify(name)
	if err != nil {
		return "", false
	}
	short, ok := e.own(c)
	return c, ok && short == name
}

// bindFormats makes a portal of t one that knows its results' formats, where they are not texts.
func (t *tracked) bindFormats(bind []byte) *tracked {
	var b pgproto3.Bind
	if !t.looked() || b.Decode(bind) != nil { // the server will say so
		return t
	}
	if !slices.ContainsFunc(b.ResultFormatCodes, func(f int16) bool { return f != textFormat }) {
		return t
	}
	portal := *t
	portal.notices = nil // they come with the statement
	portal.formats = slices.Clone(b.ResultFormatCodes[:min(len(b.ResultFormatCodes), maxFormats)])
	return &portal
}

// format returns the format code of a column.
func (t *tracked) format(at int) int16 {
	return formatOf(t.formats, at)
}

// formatOf returns the format code of one of several values.
func formatOf(formats []int16, at int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case at < len(formats):
		return formats[at]
	default:
		return textFormat
	}
}

// row writes a row of a result for the client. One without a name that is another one here passes.
func (e *Engine) row(frame []byte, t *tracked, out *Out) (verdict, error) {
	at := wire.HeaderSize + 2 // behind the number of columns
	if len(frame) < at {
		return drop, serverViolation("invalid message length", frame[0])
	}
	l := e.localizer(t)
	var mapped []byte // the row for the client, from where it is another one
	copied := 0       // what of the frame is in it
	columns, room := t.rows.columns, maxMapped
	for i := range int(binary.BigEndian.Uint16(frame[wire.HeaderSize:])) {
		if len(frame)-at < 4 {
			return drop, serverViolation("invalid message length", frame[0])
		}
		size := max(0, int(int32(binary.BigEndian.Uint32(frame[at:])))) //nolint:gosec // -1 is NULL
		begin, end := at, at+4+size
		if len(frame) < end {
			return drop, serverViolation("invalid message length", frame[0])
		}
		at = end
		if len(columns) == 0 || columns[0].at != i {
			continue
		}
		c := columns[0]
		columns = columns[1:]
		if size == 0 || size > room || !c.plain && t.format(i) != textFormat {
			continue
		}
		room -= size
		value, ok := e.mapped(string(frame[begin+4:end]), func(s string) string { return c.show(l, s) })
		if !ok {
			continue
		}
		mapped = append(slices.Grow(mapped, end-copied+len(value)), frame[copied:begin]...)
		mapped = binary.BigEndian.AppendUint32(mapped, uint32(len(value))) //nolint:gosec // shorter than a message
		mapped = append(mapped, value...)
		copied = end
	}
	if mapped == nil {
		return pass, nil
	}
	out.Client.write(wire.End(append(mapped, frame[copied:]...), 0))
	return drop, nil
}

// mapped maps a value in the client's character set; false where it stays as it is, since it holds no name, or one that
// cannot be read or written.
func (e *Engine) mapped(value string, to func(string) string) (string, bool) {
	set := e.options.Charset()
	decoded, ok := set.Decode(value, nil)
	if !ok {
		return "", false
	}
	mapped := to(decoded)
	if mapped == decoded {
		return "", false
	}
	encoded, err := set.Encode(mapped)
	return encoded, err == nil
}

// localizer speaks of roles as a text does, or the session.
func (e *Engine) localizer(t *tracked) rewrite.Localizer {
	own := func(c scope.Cluster) (scope.Short, bool) {
		if t != nil {
			if s, ok := t.names[c]; ok {
				return s, true
			}
		}
		return e.own(c)
	}
	l := rewrite.Localizer{Prefix: e.cfg.Directory.Database().Prefix, Own: own, ServerVersion: e.options.ServerVersion}
	l.Unlisted = !e.Started() // what is said of roles then is about stored settings
	if t != nil && t.result != nil {
		l.Quoted, l.Unlisted = t.result.Quotes, l.Unlisted || t.result.Makes
	}
	return l
}
