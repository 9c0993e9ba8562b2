package scram

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrPassword says that the client does not know the password.
	ErrPassword = errors.New("the client does not know the password")
	// ErrBinding says that the client sees another TLS connection, or other offers, than the server: that somebody stands
	// between them.
	ErrBinding = errors.New("channel binding check failed")
)

// Server is the server's end of one exchange. Messages of the client that break the protocol are errors that say how.
type Server struct {
	verifier Verifier
	offered  []byte // channel binding data; nil where there is none to bind to
	plus     bool   // the client has chosen SCRAM-SHA-256-PLUS

	nonce      string // the server's part of it
	flag       string
	message    string // the AuthMessage so far
	wholeNonce string
}

// NewServer begins an exchange. binding is the channel binding that the client was offered with [MechanismPlus], nil where
// it was not; plus tells whether the client has chosen that mechanism.
func NewServer(v Verifier, binding []byte, plus bool) *Server {
	return &Server{verifier: v, offered: binding, plus: plus, nonce: newNonce()}
}

// First takes the client's first message, and returns the server's. The name in it does not count: the startup packet has
// said who logs in.
func (s *Server) First(message []byte) ([]byte, error) {
	flag, rest, _ := strings.Cut(string(message), ",")
	authorization, bare, ok := strings.Cut(rest, ",")
	switch {
	case !ok:
		return nil, malformed("no channel binding flag")
	case authorization != "":
		return nil, malformed("an authorization identity is not supported")
	case s.plus && flag != flagBound:
		return nil, malformed("%s without channel binding of type tls-server-end-point", MechanismPlus)
	case !s.plus && flag == flagNotOffered && s.offered != nil:
		return nil, fmt.Errorf("%w: the client supports channel binding, but thinks that the server does not", ErrBinding)
	case !s.plus && flag != flagUnsupported && flag != flagNotOffered:
		return nil, malformed("unexpected channel binding flag")
	}
	values, _, err := attributes(bare, "nr")
	if err != nil {
		return nil, err
	}
	if err := checkNonce(values[1]); err != nil {
		return nil, err
	}
	s.flag, s.wholeNonce = flag, values[1]+s.nonce
	reply := fmt.Sprintf("r=%s,s=%s,i=%d", s.wholeNonce, encode(s.verifier.salt), s.verifier.iterations)
	s.message = bare + "," + reply
	return []byte(reply), nil
}

// Final takes the client's proof, and returns the server's, and the keys that the client has shown to have. The error is
// [ErrPassword] or [ErrBinding], if the client did not break the protocol.
func (s *Server) Final(message []byte) ([]byte, Keys, error) {
	text := string(message)
	at := strings.LastIndex(text, ",p=")
	if s.message == "" || at < 0 {
		return nil, Keys{}, malformed("no proof")
	}
	without := text[:at]
	var proof Key
	if !proof.decode(text[at+len(",p="):]) {
		return nil, Keys{}, malformed("a proof of another size")
	}
	values, _, err := attributes(without, "cr")
	if err != nil {
		return nil, Keys{}, err
	}
	if values[1] != s.wholeNonce {
		return nil, Keys{}, malformed("another nonce")
	}
	var data []byte
	if s.plus {
		data = s.offered
	}
	if values[0] != bindingInput(s.flag, data) {
		return nil, Keys{}, ErrBinding
	}
	whole := []byte(s.message + "," + without)
	client := proof.xor(mac(s.verifier.stored[:], whole))
	if stored := sha256.Sum256(client[:]); !hmac.Equal(stored[:], s.verifier.stored[:]) {
		return nil, Keys{}, ErrPassword
	}
	signature := mac(s.verifier.server[:], whole)
	return []byte("v=" + encode(signature[:])), Keys{verifier: s.verifier, client: client}, nil
}
