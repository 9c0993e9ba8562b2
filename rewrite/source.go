package rewrite

import (
	"errors"
	"strings"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// source is a client's text, and the copy of it that can be read: in UTF-8, and as the server reads it with
// standard_conforming_strings on. Nearly always the two are one.
type source struct {
	client  string
	charset *charset.Charset
	layers  layers
	text    string // what is read
}

// readable returns the source of a text; an error where it cannot be known how the server reads it.
func readable(sql string, o Options) (*source, *Error) {
	refuse := func(message, hint string) *Error {
		return &Error{Error: scope.Error{Code: scope.CodeFeatureNotSupported, Message: message, Hint: hint}}
	}
	s := &source{client: sql, text: sql, charset: o.Charset()}
	decoded, ok := s.decode()
	if !ok || strings.IndexByte(sql, 0) >= 0 {
		return nil, refuse("a statement with a role name has characters that are not of the session's character set",
			`SET client_encoding TO 'UTF8', or write other characters than those of ASCII as escapes, U&"…".`)
	}
	s.text = decoded
	if !o.StandardStrings {
		l, ok := standardStrings(decoded)
		if !ok {
			return nil, refuse("the strings of a statement with a role name could not be read",
				"SET standard_conforming_strings TO on.")
		}
		if l != nil {
			s.layers, s.text = append(s.layers, l), l.text
		}
	}
	return s, nil
}

// decode adds the layer that is in UTF-8 where the client's text is not.
func (s *source) decode() (string, bool) {
	l := &layer{writers: []writer{{write: s.charset.Encode}}}
	text, ok := s.charset.Decode(s.client, func(decoded, encoded int) { l.runs = append(l.runs, run{decoded, encoded}) })
	if l.text = text; ok && text != s.client {
		s.layers = append(s.layers, l)
	}
	return text, ok
}

// Charset returns the character set of the session's texts.
func (o Options) Charset() *charset.Charset { return charset.Of(o.Encoding, o.ServerEncoding) }

// clientError makes an error about the text that is read one about the client's text.
func (s *source) clientError(err *Error) *Error {
	if err.place.text == "" || len(s.layers) == 0 && s.charset == charset.UTF8 {
		return err
	}
	moved := *err
	moved.place = place{s.client, s.layers.outer(err.place.at), s.charset}
	return &moved
}

// clientEdits makes edits of the text that is read edits of the client's text. It fails where a character that is to
// be written is none of the client's set.
func (s *source) clientEdits(edits Edits) (Edits, *scope.Error) {
	if len(s.layers) == 0 {
		if err := s.untranslatable(edits); err != nil {
			return nil, err
		}
		return edits, nil
	}
	lifted, err := s.layers.lift(edits)
	if err != nil {
		return nil, notWritten(err)
	}
	return lifted, nil
}

// untranslatable is for a text that is the same in UTF-8, as one in ASCII is in any set: what is put into it may not be.
func (s *source) untranslatable(edits Edits) *scope.Error {
	for i, e := range edits {
		text, err := s.charset.Encode(e.text)
		if err != nil {
			return notWritten(err)
		}
		edits[i].text = text
	}
	return nil
}

// notWritten is the error for a name that has no form in the text that it stands in.
func notWritten(err error) *scope.Error {
	var char *charset.UntranslatableError
	if errors.As(err, &char) {
		return &scope.Error{
			Code: codeUntranslatableCharacter, Message: err.Error(),
			Hint: "The name that the role has on the server cannot be written in this session: SET client_encoding TO 'UTF8'.",
		}
	}
	return &scope.Error{
		Code: scope.CodeFeatureNotSupported, Message: "a role name could not be mapped in the text that it stands in", Detail: err.Error(),
	}
}
