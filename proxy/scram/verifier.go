package scram

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Names of SASL mechanisms.
const (
	Mechanism     = "SCRAM-SHA-256"
	MechanismPlus = "SCRAM-SHA-256-PLUS" // with channel binding
)

// Key is one of the keys that are derived from a password.
type Key [sha256.Size]byte

// Verifier is what a server stores of a password.
type Verifier struct {
	iterations int
	salt       []byte
	stored     Key // H(ClientKey)
	server     Key
}

// ErrNotSCRAM says that what is stored of a password is no SCRAM verifier: the password is an MD5 hash, or there is none.
var ErrNotSCRAM = errors.New("the stored password is no SCRAM verifier")

// ParseVerifier reads a verifier as PostgreSQL stores it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
// (parse_scram_secret, src/backend/libpq/auth-scram.c).
func ParseVerifier(secret string) (Verifier, error) {
	scheme, rest, _ := strings.Cut(secret, "$")
	parameters, keys, ok := strings.Cut(rest, "$")
	iterations, salt, ok1 := strings.Cut(parameters, ":")
	stored, server, ok2 := strings.Cut(keys, ":")
	if scheme != Mechanism || !ok || !ok1 || !ok2 {
		return Verifier{}, ErrNotSCRAM
	}
	v := Verifier{}
	var err error
	if v.iterations, err = strconv.Atoi(iterations); err != nil || v.iterations < 1 {
		return Verifier{}, ErrNotSCRAM
	}
	if v.salt, err = decode(salt); err != nil || !v.stored.decode(stored) || !v.server.decode(server) {
		return Verifier{}, ErrNotSCRAM
	}
	return v, nil
}

// Mock returns the verifier of a role that does not exist, or has no password: nothing passes it, and its exchange looks
// like that of others. As on the server (scram_mock_salt, src/backend/libpq/auth-scram.c), the salt is the same for a
// name each time; whoever does not know the secret cannot tell it from a random one.
func Mock(secret []byte, name string) Verifier {
	const saltSize, iterations = 16, 4096 // SCRAM_DEFAULT_SALT_LEN, SCRAM_SHA_256_DEFAULT_ITERATIONS
	salt := mac(secret, []byte("salt of "+name))
	return Verifier{
		iterations: iterations, salt: salt[:saltSize],
		stored: mac(secret, []byte("key of "+name)), server: mac(secret, []byte("server key of "+name)),
	}
}

// Keys are what lets in to the server that has stored the verifier.
type Keys struct {
	verifier Verifier
	client   Key
}

func (k *Key) decode(text string) bool {
	b, err := decode(text)
	return err == nil && copy(k[:], b) == len(k) && len(b) == len(k)
}

func mac(key []byte, parts ...[]byte) (sum Key) {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

func (k Key) xor(other Key) (x Key) {
	for i := range k {
		x[i] = k[i] ^ other[i]
	}
	return x
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }
