package access

import (
	"fmt"
	"math/bits"
	"strings"
)

// Privileges is a set of privileges, one bit each, as AclMode has them (src/include/nodes/parsenodes.h).
type Privileges uint16

// The privileges in the order of AclMode. Where there is more than one, texts name them in this order.
const (
	Insert Privileges = 1 << iota
	Select
	Update
	Delete
	Truncate
	References
	Trigger
	Execute
	Usage
	Create
	Temporary
	Connect
	Set
	AlterSystem
	Maintain // PostgreSQL 17
)

// privileges are all there are: the word of GRANT and the letter in an aclitem
// (ACL_ALL_RIGHTS_STR, src/include/utils/acl.h).
var privileges = [...]struct {
	word   string
	letter byte
}{
	{"INSERT", 'a'},
	{"SELECT", 'r'},
	{"UPDATE", 'w'},
	{"DELETE", 'd'},
	{"TRUNCATE", 'D'},
	{"REFERENCES", 'x'},
	{"TRIGGER", 't'},
	{"EXECUTE", 'X'},
	{"USAGE", 'U'},
	{"CREATE", 'C'},
	{"TEMPORARY", 'T'},
	{"CONNECT", 'c'},
	{"SET", 's'},
	{"ALTER SYSTEM", 'A'},
	{"MAINTAIN", 'm'},
}

// ParsePrivilege returns the privilege of a word as GRANT has it, upper case. TEMP is TEMPORARY.
func ParsePrivilege(word string) (Privileges, bool) {
	if word == "TEMP" {
		return Temporary, true
	}
	for i, p := range privileges {
		if p.word == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// PrivilegeOfLetter returns the privilege that a letter stands for in an aclitem.
func PrivilegeOfLetter(letter byte) (Privileges, bool) {
	for i, p := range privileges {
		if p.letter == letter {
			return 1 << i, true
		}
	}
	return 0, false
}

// Words returns the words of the privileges in the set.
func (p Privileges) Words() []string {
	words := make([]string, 0, bits.OnesCount16(uint16(p)))
	for i := range privileges {
		if p&(1<<i) != 0 {
			words = append(words, privileges[i].word)
		}
	}
	return words
}

func (p Privileges) String() string { return strings.Join(p.Words(), ", ") }

// Has reports whether all of q are in p.
func (p Privileges) Has(q Privileges) bool { return p&q == q }

// Kind is what an object is, as far as privileges differ.
type Kind uint8

// The kinds of objects that privileges are granted on.
const (
	Table Kind = iota + 1 // partitioned ones too
	View
	MaterializedView
	ForeignTable
	Sequence
	Routine // functions, procedures and aggregates
	Schema
	Database
	Type
	Domain
	Language
	ForeignDataWrapper
	ForeignServer
	LargeObject
	Parameter // PostgreSQL 15
	Tablespace
)

// KindInfo is what there is to know of a kind.
type KindInfo struct {
	Name       string     // in manifests
	Word       string     // after GRANT … ON, and before the object's name
	Privileges Privileges // all that can be granted on it, in the newest version
	Columns    Privileges // all that can be granted on its columns
	InSchema   bool       // its name is qualified with a schema's
	Default    byte       // pg_default_acl.defaclobjtype of new ones; 0 where there are no default privileges
	Since      int        // the first version of PostgreSQL that has default privileges on it; 0 for every one
	Everyone   Privileges // what PUBLIC has where no ACL is stored (acldefault, src/backend/utils/adt/acl.c)
	Cluster    bool       // it belongs to no database, and looks the same from each
}

const (
	relation = Insert | Select | Update | Delete | Truncate | References | Trigger | Maintain
	columns  = Insert | Select | Update | References
)

var kinds = [...]KindInfo{
	Table:              {Name: "table", Word: "TABLE", Privileges: relation, Columns: columns, InSchema: true, Default: 'r'},
	View:               {Name: "view", Word: "TABLE", Privileges: relation, Columns: columns, InSchema: true},
	MaterializedView:   {Name: "materialized_view", Word: "TABLE", Privileges: relation, Columns: columns, InSchema: true},
	ForeignTable:       {Name: "foreign_table", Word: "TABLE", Privileges: relation, Columns: columns, InSchema: true},
	Sequence:           {Name: "sequence", Word: "SEQUENCE", Privileges: Select | Update | Usage, InSchema: true, Default: 'S'},
	Routine:            {Name: "function", Word: "ROUTINE", Privileges: Execute, InSchema: true, Default: 'f', Everyone: Execute},
	Schema:             {Name: "schema", Word: "SCHEMA", Privileges: Usage | Create, Default: 'n'},
	Database:           {Name: "database", Word: "DATABASE", Privileges: Create | Temporary | Connect, Everyone: Temporary | Connect},
	Type:               {Name: "type", Word: "TYPE", Privileges: Usage, InSchema: true, Default: 'T', Everyone: Usage},
	Domain:             {Name: "domain", Word: "DOMAIN", Privileges: Usage, InSchema: true, Everyone: Usage},
	Language:           {Name: "language", Word: "LANGUAGE", Privileges: Usage, Everyone: Usage},
	ForeignDataWrapper: {Name: "foreign_data_wrapper", Word: "FOREIGN DATA WRAPPER", Privileges: Usage},
	ForeignServer:      {Name: "foreign_server", Word: "FOREIGN SERVER", Privileges: Usage},
	LargeObject:        {Name: "large_object", Word: "LARGE OBJECT", Privileges: Select | Update, Default: 'L', Since: 18},
	Parameter:          {Name: "parameter", Word: "PARAMETER", Privileges: Set | AlterSystem, Cluster: true},
	Tablespace:         {Name: "tablespace", Word: "TABLESPACE", Privileges: Create, Cluster: true},
}

// Info returns what there is to know of the kind.
func (k Kind) Info() KindInfo { return kinds[k] }

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("Kind(%d)", k)
	}
	return kinds[k].Name
}

// ParseKind returns the kind of a manifest's word.
func ParseKind(name string) (Kind, bool) {
	for k := range kinds {
		if kinds[k].Name == name && name != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

// KindOfDefault returns the kind of pg_default_acl.defaclobjtype; 0 for one that is not known.
func KindOfDefault(letter string) Kind {
	for k := range kinds {
		if kinds[k].Default != 0 && letter == string(kinds[k].Default) {
			return Kind(k)
		}
	}
	return 0
}

// Kinds returns all kinds in order.
func Kinds() []Kind {
	all := make([]Kind, 0, len(kinds)-1)
	for k := range kinds[1:] {
		all = append(all, Kind(k+1))
	}
	return all
}
