package keeper

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/reconcile"
)

// Outcome is how a database was found, or left, the last time.
type Outcome string

// Outcomes.
const (
	Unknown Outcome = "unknown" // nobody has looked yet
	InStep  Outcome = "in step" // it is as the manifest has it
	Drifted Outcome = "drifted" // it is not, and only reported
	Failed  Outcome = "failed"  // it could not be looked at, or not all of it be made as it should be
	Standby Outcome = "standby" // it is not, and another process is at it
)

// outcomes are all: those of runs follow the one of none.
var outcomes = []Outcome{Unknown, InStep, Drifted, Failed, Standby}

// State is how a database is.
type State struct {
	Database string
	Shared   bool // it is of what belongs to the whole cluster
	Outcome  Outcome
	Checked  time.Time // the zero Time where nobody has looked yet
	Changes  int       // that were found to be made
	Problems int       // what keeps changes from being made
}

func (s State) String() string {
	text := string(s.Outcome)
	if s.Outcome == Drifted || s.Outcome == Failed {
		text += fmt.Sprintf(" (changes to make: %d, problems: %d)", s.Changes, s.Problems)
	}
	if !s.Checked.IsZero() {
		text += ", looked at " + s.Checked.UTC().Format(time.RFC3339)
	}
	return text
}

// about is what people are told that the state is of.
func (s State) about() string {
	if s.Shared {
		return "cluster"
	}
	return fmt.Sprintf("database %q", s.Database)
}

func stateOf(p Part, r reconcile.Report, err error, onlyReport bool) State {
	s := State{Database: p.Database, Shared: p.Shared, Outcome: InStep, Problems: len(r.Plan.Problems)}
	for _, c := range r.Plan.Changes {
		if !c.Blind() {
			s.Changes++
		}
	}
	switch {
	case err != nil, s.Problems > 0:
		s.Outcome = Failed
	case r.Standby:
		s.Outcome = Standby
	case onlyReport && s.Changes > 0:
		s.Outcome = Drifted
	}
	return s
}

// States returns how every database is, in the order of the manifest.
func (k *Keeper) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]State, len(k.parts))
	for i, p := range k.parts {
		list[i] = p.state
	}
	return list
}

// Summary tells people how everything is, in one line for each database, and one for the cluster
// where an estate says something of that.
func (k *Keeper) Summary() string {
	var lines []string
	k.mu.Lock()
	broken := k.broken
	k.mu.Unlock()
	if broken != nil {
		lines = append(lines, "manifest: it cannot be read, and what was read before stays in force")
	}
	for _, s := range k.States() {
		lines = append(lines, fmt.Sprintf("%s: %v", s.about(), s))
	}
	return strings.Join(lines, "\n")
}

var errBroken = errors.New("the manifest cannot be read")

// Err returns why not everything is as the manifest has it; nil where it is, as far as is known. What another process is
// about to repair is no error.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []error
	if k.broken != nil {
		list = append(list, errBroken)
	}
	for _, p := range k.parts {
		switch p.state.Outcome {
		case Unknown, Drifted, Failed:
			list = append(list, fmt.Errorf("%s: %s", p.state.about(), p.state.Outcome))
		case InStep, Standby:
		}
	}
	return errors.Join(list...)
}
