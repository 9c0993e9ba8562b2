package access_test

import (
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
)

// Every privilege has a word, and every word and letter leads back to it.
func TestPrivileges(t *testing.T) {
	all := access.Privileges(1<<15 - 1)
	words := all.Words()
	if len(words) != 15 {
		t.Fatalf("%d words", len(words))
	}
	for i, w := range words {
		if p, ok := access.ParsePrivilege(w); !ok || p != 1<<i {
			t.Errorf("%s is %v, %t", w, p, ok)
		}
	}
	var letters access.Privileges
	for _, l := range []byte("arwdDxtXUCTcsAm") {
		p, ok := access.PrivilegeOfLetter(l)
		if !ok || letters.Has(p) {
			t.Errorf("letter %c: %v, %t", l, p, ok)
		}
		letters |= p
	}
	if letters != all {
		t.Errorf("letters give %v", letters)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range access.Kinds() {
		if back, ok := access.ParseKind(k.String()); !ok || back != k {
			t.Errorf("%v leads to %v, %t", k, back, ok)
		}
		if !k.Info().Privileges.Has(k.Info().Everyone | k.Info().Columns) {
			t.Errorf("%v: privileges that cannot be granted", k)
		}
	}
	if _, ok := access.ParseKind(""); ok {
		t.Error("the empty word is a kind")
	}
}
