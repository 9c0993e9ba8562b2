package rewrite

import (
	"fmt"
	"slices"

	"github.com/pgscope/pgscope-proxy/scope"
)

// ReadsCatalog reports whether the text reads or says role names by means of SQL, so that Rewrite needs the view's Columns.
func (a *Analysis) ReadsCatalog() bool {
	return slices.ContainsFunc(a.statements, (*statement).readsCatalog)
}

func (s *statement) readsCatalog() bool {
	return s.references != nil || slices.ContainsFunc(s.bodies, func(b body) bool {
		return slices.ContainsFunc(b.statements, (*statement).readsCatalog)
	})
}

// maxShown bounds how many bytes may stand for the catalogs in one text: 15 of the client's can become 7,000.
const maxShown = 32 << 20

// look puts the lens of the database before the statement's references. In explicit mode a session speaks of roles as the
// cluster does, and sees them so.
func (m *mapping) look() *Error {
	if m.mode != scope.Transparent || len(m.references) == 0 {
		return nil
	}
	l := newLens(m.view.DB, m.view.Census)
	var ends Edits // of expressions in expressions the inner ends first
	for _, ref := range m.references {
		if *m.room < 0 {
			return at(tooComplex(fmt.Sprintf("What would stand for the catalogs in it is longer than %d MiB.", maxShown>>20)), m.sql, ref.start)
		}
		switch ref.form {
		case fixed:
			m.edits = append(m.edits, edit{ref.start, ref.end, ref.as})
			m.commonplace = append(m.commonplace, ref.as)
		case subselect:
			columns := m.view.Columns[ref.relation]
			if columns == nil {
				continue // a version without it, or it is gone: the server says so
			}
			columns = ref.reads(columns)
			text := l.only(ref.relation, columns, ref.constant)
			if text == "" {
				text = l.relation(ref.relation, columns, ref.sample)
			}
			if ref.as != "" {
				text += " AS " + scope.QuoteIdent(ref.as)
			}
			m.edits = append(m.edits, edit{ref.start, ref.end, text})
			*m.room -= len(text)
		default:
			if text := l.said(ref.form, ref.constant); text != "" {
				m.edits = append(m.edits, edit{ref.start, ref.end, text})
				continue
			}
			l := l
			if ref.shown {
				l.path = noPath
			}
			before, after := l.wrap(ref.form, ref.as)
			if ref.bound {
				before, after = l.inPlace(ref.form)
			}
			m.edits = append(m.edits, edit{ref.start, ref.start, before})
			*m.room -= len(before) + len(after)
			ends = append(Edits{{ref.end, ref.end, ref.cast + after}}, ends...)
		}
	}
	m.edits = append(ends, m.edits...)
	return nil
}
