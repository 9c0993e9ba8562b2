package scope

// Mode says which role statements of a session are scoped to its database.
type Mode string

const (
	Transparent Mode = "transparent" // every role statement; the default
	Explicit    Mode = "explicit"    // only what says DBONLY; the rest as PostgreSQL, but for other databases' roles
	Off         Mode = "off"         // none: a plain proxy
)

// Modes lists them for messages and completions.
var Modes = []Mode{Transparent, Explicit, Off}

// ParseMode returns the mode that s names; false where it names none.
func ParseMode(s string) (Mode, bool) {
	for _, m := range Modes {
		if string(m) == s {
			return m, true
		}
	}
	return "", false
}

// The settings that a session may read, and the first of them set, to see and change how its names are read. They are
// placeholder parameters of the server, so that SET LOCAL, ROLLBACK and RESET work as for any other.
const (
	ModeSetting     = "pgscope.mode"
	DatabaseSetting = "pgscope.database"
)
