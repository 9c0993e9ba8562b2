package yamlfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxSize bounds a file in bytes. One written by hand has a few thousand.
	maxSize = 1 << 20
	// maxDepth bounds how deep a file nests: the parser recurses.
	maxDepth = 32
)

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1; Line is 0 for the file as a whole
	Message      string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// File is a file that is being read. It collects the mistakes found in it.
type File struct {
	name   string
	root   ast.Node
	errors []*Error
}

// Load reads and parses a file. An error is that of reading it; mistakes in it are told by [File.Err].
func Load(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data), nil
}

// Parse parses data; name stands for it in errors. It does not keep data.
func Parse(name string, data []byte) *File {
	f := &File{name: name}
	if len(data) > maxSize {
		f.errorf(nil, "the file has %d bytes, more than %d", len(data), maxSize)
		return f
	}
	tokens := lexer.Tokenize(string(data))
	if t := tooDeep(tokens); t != nil {
		f.errorf(t.Position, "nested deeper than %d", maxDepth)
		return f
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // a key that stands twice is reported here
	if err != nil {
		f.syntaxError(err)
		return f
	}
	for _, document := range parsed.Docs {
		switch {
		case document.Body == nil:
		case f.root == nil:
			f.root = document.Body
		default:
			Value{file: f, node: document.Body}.Errorf("a second document; the file has one only")
		}
	}
	return f
}

// tooDeep returns the token that opens one level too many.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets := 0
	var blocks []int // the columns of the blocks that are open
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType:
			for len(blocks) > 0 && blocks[len(blocks)-1] >= t.Position.Column {
				blocks = blocks[:len(blocks)-1]
			}
			blocks = append(blocks, t.Position.Column)
		}
		if brackets+len(blocks) > maxDepth {
			return t
		}
	}
	return nil
}

func (f *File) syntaxError(err error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) {
		f.errorf(nil, "%v", err)
		return
	}
	var at *token.Position
	if syntax.Token != nil {
		at = syntax.Token.Position
	}
	f.errorf(at, "%s", syntax.Message)
}

func (f *File) errorf(at *token.Position, format string, args ...any) {
	e := &Error{File: f.name, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		e.Line, e.Column = at.Line, at.Column
	}
	f.errors = append(f.errors, e)
}

// Err returns all mistakes found so far in the order of the file, joined, each an [*Error]; nil if there are none.
func (f *File) Err() error {
	sorted := slices.Clone(f.errors)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Message, b.Message))
	})
	joined := make([]error, len(sorted))
	for i, e := range sorted {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// Name returns the name that the file was parsed under.
func (f *File) Name() string { return f.name }

// Root returns the file's only value. Where the file is empty, or could not be parsed, it is [Value.Empty].
func (f *File) Root() Value { return Value{file: f, node: f.root} }
