package reconcile

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// iterations of the hash, where the server does not say how many (SCRAM_SHA_256_DEFAULT_ITERATIONS,
// src/include/common/scram-common.h).
const (
	iterations    = 4096
	maxIterations = 1 << 22 // a stored verifier with more is not compared: it would take minutes
	saltLength    = 16
)

// Passwords are the roles whose passwords are known to be set.
type Passwords map[scope.Cluster]bool

func (p Passwords) add(made []Change) {
	for _, c := range made {
		if p != nil && c.password != nil {
			p[c.role] = true
		}
	}
}

// secret reads the password. An empty one is an error: the server would take it for none.
func secret(p *access.Password) (string, error) {
	var password, from string
	if p.FromEnv != "" {
		from = "environment variable " + p.FromEnv
		password = os.Getenv(p.FromEnv)
	} else {
		from = "file " + p.FromFile
		text, err := os.ReadFile(p.FromFile)
		if err != nil {
			return "", err
		}
		password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	}
	switch {
	case password == "":
		return "", fmt.Errorf("%s: no password in it", from)
	case strings.ContainsRune(password, 0):
		return "", fmt.Errorf("%s: a password cannot hold a zero byte", from)
	}
	return password, nil
}

// prepare is what both ends do to a password before they hash it (pg_saslprep, src/common/saslprep.c): one that SASLprep
// does not allow is taken as it is.
func prepare(password string) string {
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return password
	}
	return prepared
}

// verifier returns what the server stores for a password: it never sees the password itself
// (scram_build_secret, src/common/scram-common.c).
func verifier(password string, salt []byte, rounds int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, prepare(password), salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// newVerifier is verifier with a new salt.
func newVerifier(password string, rounds int) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return verifier(password, salt, rounds)
}

// matches reports whether a stored verifier is the password's. One of another kind (md5) is not: it is to be replaced.
func matches(stored, password string) bool {
	fields := strings.FieldsFunc(stored, func(r rune) bool { return r == '$' || r == ':' })
	if len(fields) != 5 || fields[0] != "SCRAM-SHA-256" {
		return false
	}
	rounds, err := strconv.Atoi(fields[1])
	if err != nil || rounds < 1 || rounds > maxIterations {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return false
	}
	same, err := verifier(password, salt, rounds)
	return err == nil && subtle.ConstantTimeCompare([]byte(same), []byte(stored)) == 1
}

// passwords compares the passwords that were given with those that the server has, where it shows them.
func (o *observer) passwords(ctx context.Context) error {
	if !o.verifiers {
		return nil
	}
	byName := make(map[string]string, len(o.extent.Passwords))
	var names []string
	for ref, password := range o.extent.Passwords {
		if n := o.state.Names[ref]; n.Is == Present || n.Is == Stranger {
			byName[string(n.Cluster)] = password
			names = append(names, string(n.Cluster))
		}
	}
	if len(names) == 0 {
		return nil
	}
	const sql = `SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY ($1)`
	return o.ask(ctx, question{sql, []string{scope.Array(names...)}, func(r row) error {
		role := o.state.Roles[o.intern.name(r[0])]
		if role == nil {
			return errors.New("a role came to be within a snapshot")
		}
		role.Password = PasswordDiffers
		if matches(r.text(1), byName[string(role.Name)]) {
			role.Password = PasswordMatches
		}
		return nil
	}})
}
