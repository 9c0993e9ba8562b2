package config

import (
	"reflect"
	"strings"
)

// setting is one row of the table: a value of a T, how it is called, and what there is to say of it. Its value is a text
// in every source.
type setting[T any] struct {
	key     string // in the file; a dot leads into a section
	arg     string // what stands for the value in a usage text
	def     string
	example string // as a line or block of the file
	doc     string // the effect; its first sentence is the flag's usage text
	list    bool   // the flag may be repeated
	secret  bool   // not shown, and read from a file where PGSCOPE_…_FILE names one
	fixed   bool   // a change has no effect until the proxy is started again
	set     field[T]
}

// flag returns the name of the command line's flag, without dashes.
func (s *setting[T]) flag() string { return strings.ReplaceAll(s.key, ".", "-") }

// env returns the name of the environment variable.
func (s *setting[T]) env() string { return envName(s.flag()) }

// check reports what is wrong with a text.
func (s *setting[T]) check(text string) error { return s.set.parse(new(T), text) }

const envPrefix = "PGSCOPE_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fileSuffix makes of a secret's variable the one that names a file.
const fileSuffix = "_FILE"

// field is where in a T the value of a setting is.
type field[T any] struct {
	parse func(*T, string) error
	same  func(a, b *T) bool
}

// into makes a field of a way to it and a parser.
func into[T, V any](at func(*T) *V, parse func(string) (V, error)) field[T] {
	return field[T]{
		parse: func(t *T, text string) error {
			v, err := parse(text)
			if err == nil {
				*at(t) = v
			}
			return err
		},
		same: func(a, b *T) bool { return reflect.DeepEqual(*at(a), *at(b)) },
	}
}
