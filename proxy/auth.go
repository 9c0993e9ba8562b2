package proxy

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pgscope/pgscope-proxy/scope"
)

// How a client is let in is decided per connection, by the first rule that it matches, as in pg_hba.conf. In passthrough
// the server checks the client, and the proxy relays what they say. With all other methods the proxy has checked the
// client before it connects to the server, and then has to get in itself:
//
//	method       the client shows                   the server is shown
//	passthrough  whatever the server asks for       what the client shows
//	verify       that it knows the password         the same, by the key that the client has given away: package scram
//	cert         a certificate with its name        nothing: pg_hba.conf has to let the proxy in, by the proxy's own
//	peer         its operating system user            certificate, its address or its operating system user
//	trust        nothing                            likewise

// AuthMethod is a way in which clients are let in.
type AuthMethod string

// The methods.
const (
	AuthPassthrough AuthMethod = "passthrough" // the server decides
	AuthVerify      AuthMethod = "verify"      // by SCRAM, against what the server has stored
	AuthCert        AuthMethod = "cert"        // by a client certificate; for connections with TLS
	AuthPeer        AuthMethod = "peer"        // by the operating system's user; for Unix sockets
	AuthTrust       AuthMethod = "trust"
	AuthReject      AuthMethod = "reject"
)

// AuthRule says how some clients are let in. A list that is empty matches everything; names match as they are.
type AuthRule struct {
	Databases []string // a physical replication connection is in none
	Users     []string // as clients name them
	Clients   AddressSet
	Method    AuthMethod // cert matches connections with TLS only, peer those on Unix sockets
	// Names are the users as whom a certificate's common name, or a user of the operating system, may log in, for cert and
	// peer. A name that is not in it, only as the user of that name.
	Names map[string][]string
}

// AddressSet is a set of client addresses. The zero value stands for all of them.
type AddressSet struct {
	Networks []netip.Prefix
	Local    bool // those on Unix sockets, which have no address
}

// contains reports whether the address, which is not valid on Unix sockets, is in the set.
func (s AddressSet) contains(a netip.Addr) bool {
	if !a.IsValid() {
		return s.Local || len(s.Networks) == 0
	}
	return len(s.Networks) == 0 && !s.Local || slices.ContainsFunc(s.Networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// authRules are the rules, and what holds where none matches.
type authRules struct {
	rules    []AuthRule
	fallback AuthMethod
}

func (r authRules) has(m AuthMethod) bool {
	return r.fallback == m || slices.ContainsFunc(r.rules, func(rule AuthRule) bool { return rule.Method == m })
}

// of returns the rule for a client.
func (r authRules) of(v *visitor) AuthRule {
	for _, rule := range r.rules {
		if rule.matches(v) {
			return rule
		}
	}
	return AuthRule{Method: r.fallback}
}

func (r AuthRule) matches(v *visitor) bool {
	switch {
	case r.Method == AuthCert && v.tls == nil, r.Method == AuthPeer && !onUnixSocket(v.conn):
		return false
	case len(r.Databases) > 0 && (v.replication == physical || !slices.Contains(r.Databases, v.database())):
		return false
	default:
		return (len(r.Users) == 0 || slices.Contains(r.Users, v.startup.User())) && r.Clients.contains(v.client.Addr())
	}
}

// admits reports whether somebody of that name elsewhere, in a certificate or in the operating system, may log in as user.
func (r AuthRule) admits(name, user string) bool {
	if users, listed := r.Names[name]; listed {
		return slices.Contains(users, user)
	}
	return name == user
}

// identify checks a client by what it is, rather than by what it knows. An error is for the log.
func (r AuthRule) identify(ctx context.Context, v *visitor) error {
	var name string
	switch r.Method {
	case AuthTrust:
		return nil
	case AuthCert:
		if len(v.tls.VerifiedChains) == 0 {
			return fmt.Errorf("the client has no certificate, or no authority is configured for it")
		}
		name = commonName(v.tls.PeerCertificates[0])
	case AuthPeer:
		var err error
		if name, err = peerNameOffLoop(ctx, v.conn); err != nil {
			return err
		}
	case AuthReject, AuthPassthrough, AuthVerify:
		return fmt.Errorf("the method is %s", r.Method)
	}
	if name == "" || !r.admits(name, v.startup.User()) {
		return fmt.Errorf("%s name %q may not log in as user %q", r.Method, name, v.startup.User())
	}
	return nil
}

// peerNameOffLoop is peerName off the loop: looking up the user may ask a directory service.
func peerNameOffLoop(ctx context.Context, c net.Conn) (name string, err error) {
	offLoop(ctx, func(context.Context) { name, err = peerName(c) })
	return name, err
}

// commonName returns the common name of a certificate; of several the first, as the server does (be_tls_open_server,
// src/backend/libpq/be-secure-openssl.c). Go's parser keeps the last.
func commonName(c *x509.Certificate) string {
	common := asn1.ObjectIdentifier{2, 5, 4, 3}
	for _, n := range c.Subject.Names {
		if n.Type.Equal(common) {
			name, _ := n.Value.(string)
			return name
		}
	}
	return ""
}

// notIdentified is what a client is told that identify turns away, in the words of auth_failed (src/backend/libpq/auth.c).
func (r AuthRule) notIdentified(v *visitor) *scope.Error {
	e := &scope.Error{Code: scope.CodeInvalidAuthorization}
	user := v.startup.User()
	switch r.Method {
	case AuthCert:
		e.Message = fmt.Sprintf(`certificate authentication failed for user "%s"`, user)
	case AuthPeer:
		e.Message = fmt.Sprintf(`peer authentication failed for user "%s"`, user)
	default:
		e.Message = fmt.Sprintf(`authentication failed for user "%s": connection rejected`, user)
	}
	return e
}
