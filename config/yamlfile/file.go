package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
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
	// maxKeys bounds the keys of one block of a file: for each the parser recurses, and copies all that follow.
	maxKeys = 10_000
)

// An Option changes what [Load] and [Parse] allow.
type Option func(*File)

// MaxSize sets the size in bytes up to which a file is read; by default 1 MiB.
func MaxSize(bytes int) Option { return func(f *File) { f.maxSize = bytes } }

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
	name    string
	maxSize int
	root    ast.Node
	errors  []*Error
}

// Load reads and parses a file. An error is that of reading it; mistakes in it are told by [File.Err].
func Load(path string, options ...Option) (*File, error) {
	limit := newFile(path, options).maxSize
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, data, options...), nil
}

func newFile(name string, options []Option) *File {
	f := &File{name: name, maxSize: maxSize}
	for _, set := range options {
		set(f)
	}
	return f
}

// Parse parses data; name stands for it in errors. It does not keep data.
func Parse(name string, data []byte, options ...Option) *File {
	f := newFile(name, options)
	if len(data) > f.maxSize {
		f.errorf(nil, "the file has more than %d bytes", f.maxSize)
		return f
	}
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(data, []byte("\uFEFF")))) // some editors begin a file with a byte order mark
	if t, problem := refused(tokens); t != nil {
		f.errorf(t.Position, "%s", problem)
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

// refused returns the first token that the parser is not given, and what is wrong: a directive,
// or one level or one key too many.
func refused(tokens token.Tokens) (at *token.Token, problem string) {
	type block struct{ column, keys int }
	brackets := 0
	var blocks []block // those that are open
	for _, t := range tokens {
		switch t.Type {
		case token.DirectiveType:
			return t, "a YAML directive, which has no use here: leave the line out"
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType:
			column := t.Position.Column
			if t.Type == token.MappingValueType && t.Prev != nil {
				column = t.Prev.Position.Column // of the key, not of its colon
			}
			for len(blocks) > 0 && blocks[len(blocks)-1].column > column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < column {
				blocks = append(blocks, block{column: column})
			}
			if t.Type != token.SequenceEntryType && brackets == 0 {
				top := &blocks[len(blocks)-1]
				if top.keys++; top.keys > maxKeys {
					return t, fmt.Sprintf("more than %d keys in one place", maxKeys)
				}
			}
		}
		if brackets+len(blocks) > maxDepth {
			return t, fmt.Sprintf("nested deeper than %d", maxDepth)
		}
	}
	return nil, ""
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

// maxErrors is how many mistakes are told. A file that a program wrote has one in each of its lines.
const maxErrors = 100

// Err returns the mistakes found so far in the order of the file, joined, each an [*Error] and once; nil if there are none.
// Of more than 100 the last says how many more there are.
func (f *File) Err() error {
	sorted := slices.Clone(f.errors)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Message, b.Message))
	})
	sorted = slices.CompactFunc(sorted, func(a, b *Error) bool { return *a == *b })
	if more := len(sorted) - maxErrors; more > 0 {
		sorted = append(sorted[:maxErrors], &Error{File: f.name, Message: fmt.Sprintf("%d more mistakes", more)})
	}
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
