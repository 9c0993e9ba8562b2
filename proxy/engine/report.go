package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// field is a field of an ErrorResponse or NoticeResponse (protocol documentation, "Error and Notice Message Fields").
type field struct {
	code  byte
	value string
}

// fields reads the body of an ErrorResponse or NoticeResponse.
func fields(body []byte) ([]field, bool) {
	var list []field
	for len(body) > 0 && body[0] != 0 {
		value, rest, ok := cutString(body[1:])
		if !ok {
			return nil, false
		}
		list = append(list, field{body[0], string(value)})
		body = rest
	}
	return list, len(body) == 1
}

func get(list []field, code byte) string {
	for _, f := range list {
		if f.code == code {
			return f.value
		}
	}
	return ""
}

// report passes an error or a notice of the server on: with short names, and with its position in the client's text; in
// place of one that the proxy provoked, its own. t is the tracked text that it is about, if any.
func (e *Engine) report(frame []byte, t *tracked, out *Out) (verdict, error) {
	list, ok := fields(frame[wire.HeaderSize:])
	if !ok {
		return drop, serverViolation("invalid field", frame[0])
	}
	if frame[0] == wire.ErrorResponse && t != nil {
		if own := e.refusal(list, t); own != nil {
			out.Client.write(appendReport(nil, wire.ErrorResponse, own))
			return drop, nil
		}
	}
	if frame[0] == wire.ErrorResponse && get(list, 'V') != wire.SeverityError {
		e.fatal = true
	}
	list, changed := e.localize(list, t)
	if !changed {
		return pass, nil
	}
	out.Client.write(appendReport(nil, frame[0], list))
	return drop, nil
}

// refusal returns the fields that the client shall see instead of the failure that the proxy provoked; nil where the
// server's error is another.
func (e *Engine) refusal(list []field, t *tracked) []field {
	if severity := get(list, 'V'); severity != wire.SeverityError || t.result == nil && t.substitute == nil {
		return nil // the session ends, and not for us
	}
	if t.substitute != nil {
		own, _ := fields(wire.Body(t.substitute))
		own, _ = e.localize(own, nil)
		return plain(own)
	}
	n, ok := rewrite.RefusedBy(get(list, 'M'))
	switch code := get(list, 'C'); {
	case t.result.Tried && get(list, 'R') == "exec_parse_message" && code == codeSyntaxError: // a Parse of two statements, which it could read
		ok = true
	case code == codeFailedTransaction: // it reads a text before it says so
		ok = len(t.result.Refusals) == 1 && t.result.Refusals[0].Grammar
	}
	if !ok || n >= len(t.result.Refusals) {
		return nil
	}
	own := appendError([]field{{'S', get(list, 'S')}, {'V', wire.SeverityError}}, t.result.Refusals[n], t.result.Refusals[n].Position())
	encodeFields(own[len("SV"):], e.options.Charset())
	return own
}

// toldCode returns the SQLSTATE that the client gets to see of an error of the server.
func (e *Engine) toldCode(body []byte, t *tracked) string {
	list, ok := fields(body)
	if !ok {
		return ""
	}
	if t != nil {
		if own := e.refusal(list, t); own != nil {
			return get(own, 'C')
		}
	}
	if own, ok := crossed(list); ok {
		return get(own, 'C')
	}
	return get(list, 'C')
}

// appendError appends the fields of an error of the proxy's own, with its position, to those of its severity.
func appendError(list []field, err *rewrite.Error, position int) []field {
	list = append(list, field{'C', err.Code}, field{'M', err.Message})
	for _, f := range []field{{'D', err.Detail}, {'H', err.Hint}} {
		if f.value != "" {
			list = append(list, f)
		}
	}
	if position > 0 {
		list = append(list, field{'P', strconv.Itoa(position)})
	}
	return list
}

// plain leaves of a report on one of the proxy's questions what does not tell of the question's text.
func plain(list []field) []field {
	return slices.DeleteFunc(list, func(f field) bool { return !strings.ContainsRune("SVCMDHR", rune(f.code)) })
}

// say gives the client what the server reports on a question or a foreword of the proxy. An error in an aftermath is a
// warning, since the client's own statement has succeeded, unless the client's transaction has failed with it.
func (e *Engine) say(frame []byte, out *Out) error {
	typ := frame[0]
	list, ok := fields(wire.Body(frame))
	if !ok {
		return serverViolation("invalid field", typ)
	}
	severity := get(list, 'V')
	e.fatal = e.fatal || typ == wire.ErrorResponse && severity != wire.SeverityError
	if message, ok := e.options.Charset().Decode(get(list, 'M'), nil); ok && e.aftermath != nil {
		e.aftermath.said = append(e.aftermath.said, message)
	}
	list, _ = e.localize(list, nil)
	list = plain(list)
	if typ == wire.ErrorResponse && severity == wire.SeverityError && e.cleaningUp() && e.status == wire.TxIdle {
		typ = wire.NoticeResponse
		for i, f := range list {
			if f.code == 'S' || f.code == 'V' {
				list[i].value = wire.SeverityWarning
			}
		}
	}
	out.Client.write(appendReport(nil, typ, list))
	return nil
}

// localize makes a report speak the client's language.
func (e *Engine) localize(list []field, t *tracked) (_ []field, changed bool) {
	if get(list, 'C') == scope.CodeInsufficientPriv {
		if own, ok := e.notAdministrator(list); ok {
			return own, true
		}
	}
	own, met := crossed(list)
	if met {
		list = own
	}
	changed = e.translate(list, t, e.localizer(t)) || met
	if t != nil && t.result != nil {
		changed = t.reposition(list) || changed
	}
	return list, changed
}

// translate makes a report that is in the client's character set speak the client's language. What cannot be read, or
// written when it is changed, stays as it is.
func (e *Engine) translate(list []field, t *tracked, l rewrite.Localizer) (changed bool) {
	set := e.options.Charset()
	read := make([]field, len(list))
	for i, f := range list {
		decoded, ok := set.Decode(f.value, nil)
		if !ok {
			return translate(list, l)
		}
		read[i] = field{f.code, decoded}
	}
	if t != nil && t.result != nil {
		changed = restore(read, t.result)
	}
	changed = translate(read, l) || changed
	if !changed {
		return false
	}
	for i, f := range read {
		if encoded, err := set.Encode(f.value); err == nil {
			list[i].value = encoded
		}
	}
	return true
}

// restore makes what the server quotes of SQL inside a body, and its position in it, the client's again.
func restore(list []field, result *rewrite.Result) (changed bool) {
	at := slices.IndexFunc(list, func(f field) bool { return f.code == 'p' }) // once: a server may send any number of fields
	for i, f := range list {
		switch f.code {
		case 'W':
			list[i].value, _ = result.Restore(f.value, 0)
		case 'q':
			position := 0
			if at >= 0 {
				position, _ = strconv.Atoi(list[at].value)
			}
			list[i].value, position = result.Restore(f.value, position)
			if position > 0 {
				list[at].value = strconv.Itoa(position)
			}
		}
		changed = changed || list[i].value != f.value
	}
	return changed
}

// translate puts short names in the place of cluster names.
func translate(list []field, l rewrite.Localizer) (changed bool) {
	code, routine := get(list, 'C'), get(list, 'R')
	l = l.Met(code, routine, get(list, 'M'))
	for i, f := range list {
		list[i].value = l.Field(f.code, code, routine, f.value)
		changed = changed || list[i].value != f.value
	}
	return changed
}

// reposition makes positions point into the text that the client wrote.
func (t *tracked) reposition(list []field) (changed bool) {
	for i, f := range list {
		if p, err := strconv.Atoi(f.value); f.code == 'P' && err == nil {
			list[i].value = strconv.Itoa(t.result.Position(p))
			changed = changed || list[i].value != f.value
		}
	}
	return changed
}

// Localize returns an ErrorResponse or NoticeResponse with short names in the place of cluster names: for those that a
// session gets before it has an engine.
func Localize(frame []byte, l rewrite.Localizer) ([]byte, error) {
	list, ok := fields(wire.Body(frame))
	if !ok {
		return nil, serverViolation("invalid field", frame[0])
	}
	translate(list, l)
	return appendReport(nil, frame[0], list), nil
}

// appendReport appends an ErrorResponse or NoticeResponse of the given fields.
func appendReport(dst []byte, typ byte, list []field) []byte {
	start := len(dst)
	dst = wire.Begin(dst, typ)
	for _, f := range list {
		dst = append(dst, f.code)
		dst = append(append(dst, f.value...), 0)
	}
	return wire.End(append(dst, 0), start)
}

// crossed makes of the error of a server two of whose sessions have changed the same in its catalogs at the same time
// what the second would have heard a moment later, or what tells it that it can try again. GRANT takes no lock under
// which the second would wait for the first (simple_heap_update, src/backend/access/heap/heapam.c), CREATE ROLE and
// RENAME wait where they write into the index (_bt_check_unique, src/backend/access/nbtree/nbtinsert.c).
func crossed(list []field) ([]field, bool) {
	told := []field{{'S', get(list, 'S')}, {'V', get(list, 'V')}}
	switch code := get(list, 'C'); {
	case code == codeInternal && strings.HasPrefix(get(list, 'M'), "tuple concurrently "):
		return append(told,
			field{'C', scope.CodeSerializationFailure},
			field{'M', "could not serialize access due to concurrent update"},
			field{'D', "Another session has changed the same role, or the access to the same object, at the same time."},
			field{'H', "Try again."}), true
	case code == codeUniqueViolation && get(list, 'n') == "pg_authid_rolname_index":
		_, name, _ := strings.Cut(get(list, 'D'), "(rolname)=(")
		end := strings.LastIndexByte(name, ')')
		if end < 0 {
			return nil, false
		}
		return append(told,
			field{'C', scope.CodeDuplicateObject},
			field{'M', fmt.Sprintf(`role "%s" already exists`, name[:end])},
			field{'R', "CreateRole"}), true
	}
	return nil, false
}

const (
	codeInternal          = "XX000" // internal_error
	codeUniqueViolation   = "23505" // unique_violation
	codeSyntaxError       = "42601" // syntax_error
	codeFailedTransaction = "25P02" // in_failed_sql_transaction
)

// notAdministrator makes of the server's refusal to let a session use a marker one that speaks of the database or schema;
// false where the refusal is another.
func (e *Engine) notAdministrator(list []field) ([]field, bool) {
	db := e.cfg.Directory.Database()
	for _, s := range append(db.Schemas[:len(db.Schemas):len(db.Schemas)], scope.Schema{Marker: db.Marker}) {
		if !strings.Contains(get(list, 'M'), string(s.Marker)) {
			continue
		}
		whose := fmt.Sprintf(`database "%s"`, db.Name)
		if s.Name != "" {
			whose = fmt.Sprintf(`schema "%s"`, s.Name)
		}
		return []field{
			{'S', get(list, 'S')},
			{'V', get(list, 'V')},
			{'C', scope.CodeInsufficientPriv},
			{'M', "permission denied to create role"},
			{'D', fmt.Sprintf(`Only administrators of the roles of %s may create roles in it.`, whose)},
			{'H', fmt.Sprintf("A superuser can make this role one: GRANT %s TO … WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"+
				" (on the server itself; before PostgreSQL 16: WITH ADMIN OPTION).", s.Marker.Ident())},
		}, true
	}
	return nil, false
}
