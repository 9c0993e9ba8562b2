package reconcile

import "fmt"

// Mode says how far a plan goes.
type Mode uint8

// The modes.
const (
	Authoritative Mode = iota // what is there is what the manifest says
	Additive                  // nothing is taken away, nothing that exists is altered
	Adopt                     // nothing is dropped; roles with the database's prefix become its own
)

var modes = [...]string{"authoritative", "additive", "adopt"}

func (m Mode) String() string { return modes[m] }

// ParseMode returns the mode of a word.
func ParseMode(word string) (Mode, error) {
	for m, name := range modes {
		if name == word {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q: authoritative, additive or adopt", word)
}
