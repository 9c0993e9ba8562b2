package scram

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// errMalformed is the cause of every message that does not follow the grammar of RFC 5802, section 7.
var errMalformed = errors.New("malformed SCRAM message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

// attributes reads a message's attributes, which have to begin with those of the names given, in that order. It returns
// their values, and what follows them.
func attributes(message, names string) (values []string, rest string, err error) {
	rest = message
	for _, name := range []byte(names) {
		var a string
		a, rest, _ = strings.Cut(rest, ",")
		if len(a) < 2 || a[0] != name || a[1] != '=' {
			return nil, "", malformed("attribute %q expected", name)
		}
		values = append(values, a[2:])
	}
	return values, rest, nil
}

// checkNonce reports a nonce that the grammar does not allow: it is printable ASCII without commas.
func checkNonce(nonce string) error {
	if nonce == "" {
		return malformed("empty nonce")
	}
	for i := range len(nonce) {
		if c := nonce[i]; c <= ' ' || c > '~' || c == ',' {
			return malformed("nonce with a character that is not allowed")
		}
	}
	return nil
}

// newNonce returns a nonce of 18 random bytes, as PostgreSQL's (SCRAM_RAW_NONCE_LEN).
func newNonce() string {
	var raw [18]byte
	_, _ = rand.Read(raw[:]) // it never fails
	return encode(raw[:])
}

// The channel binding flags that a client's first message begins with (RFC 5802, gs2-cbind-flag).
const (
	flagUnsupported = "n" // the client cannot bind
	flagNotOffered  = "y" // the client could, and believes that the server cannot
	flagBound       = "p=tls-server-end-point"
)

// bindingInput is what the final message says of the channel: the header of the first one, and the binding's data.
func bindingInput(flag string, data []byte) string { return encode(append([]byte(flag+",,"), data...)) }
