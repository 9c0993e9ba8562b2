package proxy

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Settings are the options that [Server.Reload] can change. Limits, timeouts and the policy hold for sessions under way as
// well; the rest for those that begin afterwards. The zero value of a field that has a default stands for it.
type Settings struct {
	// Mode is the mode of databases that Modes does not name; empty for transparent.
	Mode  scope.Mode
	Modes map[string]scope.Mode

	// Policy decides about role statements and logins. Sessions that a new one would not let begin are ended.
	Policy *policy.Policy

	// ClientTLS says what clients are offered; TLS holds the certificate, and the authorities of clients' certificates.
	ClientTLS TLSMode
	TLS       *tls.Config

	// Auth is how clients are let in that none of AuthRules matches; empty for passthrough. The first rule that matches
	// holds. To verify needs Options.Admin, as a role that may read pg_authid.
	Auth      AuthMethod
	AuthRules []AuthRule
	// LoginFailures is how many logins from one address may fail in a minute before it has to wait; 0 for any number.
	LoginFailures int
	// LoginFailureDelay is how long a client waits to be told that it is not who it says.
	LoginFailureDelay time.Duration
	// Proxies are load balancers in front; nil for none.
	Proxies *Proxies
	// AddHost puts the client's address into the application_name that the server shows.
	AddHost bool

	Limits   Limits
	Timeouts Timeouts
	// Grace is how long open transactions may go on when the server stops.
	Grace time.Duration
	// MaxStatement bounds the text of a statement in bytes; 0 means 64 MiB.
	MaxStatement int
}

func (t Settings) withDefaults() Settings {
	if t.Mode == "" {
		t.Mode = scope.Transparent
	}
	if t.ClientTLS == "" {
		t.ClientTLS = TLSOff
	}
	if t.Auth == "" {
		t.Auth = AuthPassthrough
	}
	if t.Timeouts.Login == 0 {
		t.Timeouts.Login = time.Minute
	}
	if t.MaxStatement == 0 {
		t.MaxStatement = 64 << 20
	}
	return t
}

// mode returns the mode that sessions in a database begin in.
func (t Settings) mode(database string) scope.Mode {
	if m := t.Modes[database]; m != "" {
		return m
	}
	return t.Mode
}

// settings are Settings in the form that sessions use. They are not changed; a session keeps those that it began with.
type settings struct {
	Settings
	admission admitOptions
	auth      authRules
}

// prepare checks settings.
func (s *Server) prepare(t Settings) (*settings, error) {
	t = t.withDefaults()
	p := &settings{Settings: t, admission: newAdmitOptions(t.ClientTLS, t.TLS, t.Timeouts.Login), auth: authRules{t.AuthRules, t.Auth}}
	p.admission.proxies = t.Proxies
	switch {
	case t.Policy == nil:
		return nil, errors.New("proxy: no policy")
	case t.ClientTLS != TLSOff && (t.TLS == nil || len(t.TLS.Certificates) == 0 && t.TLS.GetCertificate == nil):
		return nil, errors.New("proxy: TLS for clients needs a certificate")
	case p.auth.has(AuthVerify) && s.admin == nil:
		return nil, errors.New("proxy: to verify passwords, it needs an admin connection")
	case s.pool != nil && t.AddHost:
		return nil, errors.New("proxy: with the client's address in application_name, no client can have the server connection of another")
	}
	return p, nil
}

// Reload puts other settings in force, or after an error none of them. No session is ended, but those that the new policy
// would not let begin.
func (s *Server) Reload(t Settings) error {
	p, err := s.prepare(t)
	if err != nil {
		return err
	}
	s.failures.limit(t.LoginFailures)
	s.settings.Store(p)
	select {
	case s.reloaded <- struct{}{}:
	default: // who waits for it has not begun with the last one
	}
	s.recheck()
	return nil
}
