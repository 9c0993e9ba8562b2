package rewrite

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/scope"
)

// layer is a text that was made of another one to be read, and the way back. Layers lie upon each other:
//
//	the client's bytes ─▶ in UTF-8 ─▶ with E'…' for '…' ─▶ the body of a DO block ─▶ the string of an EXECUTE in it
type layer struct {
	text string
	runs []run // ascending
	// ends are the places in the outer text where what ends before a byte of the text does so, if something else of the outer
	// text stands between that and the byte.
	ends map[int]int
	// behind is the place in the outer text where || can join more to the text; 0 where a writer serves at its end too.
	behind  int
	writers []writer // ascending
}

// writer says how a text is written into the outer one, from a byte of a layer's text on.
type writer struct {
	at     int
	quotes string // what it relies on around it
	write  func(text string) (string, error)
}

// write returns how an edit's text is written into the outer one: between where the edit begins, and what ends before its
// end.
func (l *layer) write(e edit) (string, error) {
	end := e.end
	if _, ok := l.ends[end]; ok {
		end--
	}
	last := l.writer(end)
	if e.start < e.end && l.writer(e.start).quotes != last.quotes {
		return "", errMixed
	}
	return last.write(e.text)
}

// writer returns the writer of a byte of the text.
func (l *layer) writer(at int) writer {
	behind, _ := slices.BinarySearchFunc(l.writers, at+1, func(w writer, at int) int { return w.at - at })
	return l.writers[max(behind-1, 0)]
}

// run says that from a byte of a layer's text on, it goes on like the outer text from another byte on.
type run struct{ at, outer int }

// outer returns where a byte of the text, or its end, stands in the outer one.
func (l *layer) outer(at int) int {
	i, found := slices.BinarySearchFunc(l.runs, at, func(r run, at int) int { return r.at - at })
	if !found {
		i--
	}
	from := run{}
	if i >= 0 {
		from = l.runs[i]
	}
	b := from.outer + at - from.at
	if i+1 < len(l.runs) {
		b = min(b, l.runs[i+1].outer)
	}
	return b
}

// outerEnd is outer of a place that something ends at.
func (l *layer) outerEnd(at int) int {
	if end, ok := l.ends[at]; ok {
		return end
	}
	return l.outer(at)
}

// lift makes edits of the text edits of the outer one.
func (l *layer) lift(edits Edits) (Edits, error) {
	lifted := make(Edits, len(edits))
	for i, e := range edits {
		if l.behind > 0 && e.start == len(l.text) {
			lifted[i] = edit{l.behind, l.behind, " || " + scope.QuoteLiteral(e.text)}
			continue
		}
		text, err := l.write(e)
		if err != nil {
			return nil, err
		}
		end := l.outerEnd(e.end)
		lifted[i] = edit{min(l.outer(e.start), end), end, text}
	}
	return lifted, nil
}

// layers are layers upon each other, the outermost first. No layer is as good as one in which nothing changes.
type layers []*layer

func (s layers) outer(at int) int {
	for _, l := range slices.Backward(s) {
		at = l.outer(at)
	}
	return at
}

func (s layers) lift(edits Edits) (_ Edits, err error) {
	for _, l := range slices.Backward(s) {
		if edits, err = l.lift(edits); err != nil {
			return nil, err
		}
	}
	return edits, nil
}

// liftError makes an error about the innermost text one about the outer text.
func (s layers) liftError(err *Error, outer string) *Error {
	if len(s) == 0 || err.place.text == "" {
		return err
	}
	return at(err.Error, outer, s.outer(err.place.at))
}
