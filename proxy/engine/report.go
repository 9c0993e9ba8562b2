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
// place of one that the proxy provoked, its own. t is the rewritten text that it is about, if any.
func (e *Engine) report(frame []byte, t *text, out *Out) (verdict, error) {
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
	if frame[0] == wire.ErrorResponse && get(list, 'V') != "ERROR" {
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
func (e *Engine) refusal(list []field, t *text) []field {
	if severity := get(list, 'V'); severity != "ERROR" {
		return nil // the session ends, and not for us
	}
	if t.instead != nil {
		own, _ := fields(wire.Body(t.instead))
		own, _ = e.localize(own, nil)
		return plain(own)
	}
	n, ok := rewrite.RefusedBy(get(list, 'M'))
	if !ok || n >= len(t.result.Refusals) {
		return nil
	}
	err := t.result.Refusals[n]
	own := []field{{'S', get(list, 'S')}, {'V', "ERROR"}, {'C', err.Code}, {'M', err.Message}}
	for _, f := range []field{{'D', err.Detail}, {'H', err.Hint}} {
		if f.value != "" {
			own = append(own, f)
		}
	}
	if err.Position > 0 {
		own = append(own, field{'P', strconv.Itoa(err.Position)})
	}
	return own
}

// plain leaves of a report on one of the proxy's questions what does not tell of the question's text.
func plain(list []field) []field {
	return slices.DeleteFunc(list, func(f field) bool { return !strings.ContainsRune("SVCMDHR", rune(f.code)) })
}

// say gives the client what the server reports on a question or a foreword of the proxy. An error in an aftermath is a warning, since
// the client's own statement has succeeded, unless the client's transaction has failed with it.
func (e *Engine) say(frame []byte, out *Out) error {
	typ := frame[0]
	list, ok := fields(wire.Body(frame))
	if !ok {
		return serverViolation("invalid field", typ)
	}
	severity := get(list, 'V')
	e.fatal = e.fatal || typ == wire.ErrorResponse && severity != "ERROR"
	list, _ = e.localize(list, nil)
	list = plain(list)
	if typ == wire.ErrorResponse && severity == "ERROR" && e.cleaningUp() && e.status == wire.TxIdle {
		typ = wire.NoticeResponse
		for i, f := range list {
			if f.code == 'S' || f.code == 'V' {
				list[i].value = "WARNING"
			}
		}
	}
	out.Client.write(appendReport(nil, typ, list))
	return nil
}

// localize makes a report speak the client's language.
func (e *Engine) localize(list []field, t *text) (_ []field, changed bool) {
	code := get(list, 'C')
	if marker := string(e.cfg.Directory.Database().Marker); code == scope.CodeInsufficientPriv &&
		strings.Contains(get(list, 'M'), marker) {
		return e.notAdministrator(list), true
	}
	own := func(c scope.Cluster) (scope.Short, bool) {
		if t != nil {
			if s, ok := t.names[c]; ok {
				return s, true
			}
		}
		return e.own(c)
	}
	changed = translate(list, rewrite.Localizer{Prefix: e.cfg.Directory.Database().Prefix, Own: own})
	if t != nil && t.result != nil {
		changed = t.reposition(list) || changed
	}
	return list, changed
}

// translate puts short names in the place of cluster names.
func translate(list []field, l rewrite.Localizer) (changed bool) {
	code, routine := get(list, 'C'), get(list, 'R')
	for i, f := range list {
		list[i].value = l.Field(f.code, code, routine, f.value)
		changed = changed || list[i].value != f.value
	}
	return changed
}

// reposition makes positions point into the text that the client wrote.
func (t *text) reposition(list []field) (changed bool) {
	for i, f := range list {
		if p, err := strconv.Atoi(f.value); f.code == 'P' && err == nil {
			list[i].value = strconv.Itoa(t.result.Edits.Position(t.client, t.result.SQL, p))
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

// notAdministrator makes of the server's refusal to let a session use the marker one that speaks of the database.
func (e *Engine) notAdministrator(list []field) []field {
	db := e.cfg.Directory.Database()
	return []field{
		{'S', get(list, 'S')}, {'V', get(list, 'V')}, {'C', scope.CodeInsufficientPriv},
		{'M', "permission denied to create role"},
		{'D', fmt.Sprintf(`Only administrators of the roles of database "%s" may create roles in it.`, db.Name)},
		{'H', fmt.Sprintf("A superuser can make this role one: GRANT %s TO … WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"+
			" (on the server itself; before PostgreSQL 16: WITH ADMIN OPTION).", db.Marker.Ident())},
	}
}

// notEnrolled says that the database's marker cannot be made in the client's session.
func notEnrolled(db scope.Database) scope.Error {
	return scope.Error{
		Code:    scope.CodeInsufficientPriv,
		Message: fmt.Sprintf(`database "%s" is not enrolled`, db.Name),
		Detail:  fmt.Sprintf(`A role "%s" exists, but its comment does not say that it is the marker of this database.`, db.Marker),
		Hint:    "An administrator can enrol the database: pgscope-proxy init.",
	}
}
