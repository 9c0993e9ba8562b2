package config

import (
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// configFlag names the file. It is no setting, as a file does not name itself.
const configFlag = "config"

// AddFlags adds a flag for each setting, and --config for the file.
func AddFlags(flags *pflag.FlagSet) {
	flags.Var(&textFlag{arg: "FILE"}, configFlag, "YAML file with settings")
	for i := range settings {
		s := &settings[i]
		f := &textFlag{arg: s.arg, list: s.list}
		if !s.secret { // the error of package pflag would show it; Load checks it
			f.check = s.check
		}
		flags.Var(f, s.flag(), s.summary())
		flags.Lookup(s.flag()).DefValue = s.def
	}
}

// textFlag is a flag's value as it is written.
type textFlag struct {
	arg   string
	list  bool
	check func(string) error
	text  string
	set   bool
}

func (f *textFlag) Set(text string) error {
	if f.check != nil {
		if err := f.check(text); err != nil {
			return err
		}
	}
	if f.set && f.list {
		text = f.text + "," + text
	}
	f.text, f.set = text, true
	return nil
}

func (f *textFlag) String() string { return f.text }

// Type is what stands for the value in a usage text.
func (f *textFlag) Type() string { return f.arg }

// summary is the first sentence of what there is to say. Other settings have their flags' names in it.
func (s *setting[T]) summary() string {
	first, _, _ := strings.Cut(s.doc, ". ")
	return flagNames().Replace(strings.TrimSuffix(first, "."))
}

// flagNames puts the names of flags in the place of keys that lead into a section.
var flagNames = sync.OnceValue(func() *strings.Replacer {
	var pairs []string
	for i := range settings {
		if s := &settings[i]; s.key != s.flag() {
			pairs = append(pairs, s.key, s.flag())
		}
	}
	return strings.NewReplacer(pairs...)
})
