package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// A login is the exchange between client and server, relayed: the proxy holds no secret. This file and
// login_auth.go have what it changes on the way. Where the proxy has checked the client itself (auth.go),
// login_proof.go answers the server in the client's place.
//
//	client                        proxy                                      server
//	  │ StartupMessage user=app ───▶ user=orders_app, _pq_.* taken out ────────▶ │
//	  │ ◀── NegotiateProtocolVersion   of both sides' findings ◀──────────────── │
//	  │ ◀── AuthenticationSASL         without SCRAM-SHA-256-PLUS ◀───────────── │
//	  │ SASLInitialResponse … ───▶     as it is ───────────────────────────────▶ │
//	  │ ◀── AuthenticationOk           held back until the next message ◀─────── │
//
// Where the proxy does not know yet which role of the cluster a user means, it tries the possible names in turn, each on a
// connection of its own, as long as the client does not notice: see choose and again.

// loginNames are the names in the cluster that the client's user may stand for.
type loginNames struct {
	candidates []scope.Cluster // in the order in which they are tried; one where it is certain
	prefer     int             // which of them to use when the server asks for an exchange that cannot be repeated (SCRAM)
	refused    *scope.Error    // instead: nobody logs in under the name
}

// loginOptions are the parts of a login that the caller decides.
type loginOptions struct {
	// params are added to the client's startup parameters, or take the place of those of the same name.
	params []wire.Parameter
	// proof is what the proxy shows to the server in the client's place, where it has checked the client itself; nil to
	// relay what they say.
	proof *proof
	// localize returns a frame of an error or notice in the words of a client who is logged in as user.
	localize func(user scope.Cluster, frame []byte) []byte
	// pool is where server connections wait for a client; nil for none.
	pool *pool
	// onRefused is called when the server has refused a candidate, before the client is told; nil for nothing.
	onRefused func(candidate int)
}

// loggedIn is a session that has begun: the server has said AuthenticationOk, and the client is to be told.
type loggedIn struct {
	server    *serverLink
	user      scope.Cluster
	candidate int          // the user's place in loginNames
	version   wire.Version // what both sides speak
	welcome   []byte       // what the client is to be sent first: AuthenticationOk, and what comes before it
	rest      []byte       // what was read of the server behind AuthenticationOk
	lease     *lease       // what the server's connection can be kept for; nil where it is to be closed
}

// leave closes the server's connection of a login that is refused after all.
func (in *loggedIn) leave() {
	_, _ = in.server.Write(wire.AppendHeader(nil, wire.Terminate, 0)) // it sees the connection end in any case
	_ = in.server.Close()
}

// loginRounds bounds the messages of a server in a login. SCRAM has five.
const loginRounds = 20

// loginRelay is a login under way.
type loginRelay struct {
	visitor  *visitor
	upstream *Upstream
	names    loginNames
	loginOptions

	ended    func() bool  // whether the login is ended because the proxy stops
	version  wire.Version // that the server is asked for
	lease    *lease       // of the connection, where it can be kept
	refused  []bool       // per candidate: the server does not let it in
	madeRoom bool         // among the connections that wait for a client
	out      []byte       // frames for the client that wait for the next that it has to answer

	// password is the client's answer to a request for a password in clear text, kept while there is another name to
	// offer it for. It is wiped in the end.
	password []byte
}

// login relays between client and server until the server lets the client in, or the deadline passes: the visitor's,
// which is that of ctx too. The server's connection has that deadline afterwards. When login fails, the client has been
// told, and the server's connection is closed; the client's is still open. The error is a *loginError.
func login(ctx context.Context, v *visitor, u *Upstream, names loginNames, o loginOptions) (*loggedIn, error) {
	l := &loginRelay{
		visitor: v, upstream: u, names: names, loginOptions: o,
		ended:   func() bool { return errors.Is(ctx.Err(), context.Canceled) }, // not: is too late
		version: min(v.startup.Version, wire.Version32),
	}
	if a := l.reuse(ctx); a != nil {
		return l.enter(ctx, a)
	}
	defer interruptReading(ctx, v.conn)()
	defer l.forget()
	l.refused = make([]bool, len(names.candidates))
	a, err := l.choose(ctx)
	if err != nil {
		return nil, err
	}
	for range loginRounds {
		if a.answer.refused == scope.CodeTooManyConnections && l.makeRoom(ctx, a) {
			a.close()
			if a, err = l.open(ctx, a.candidate); err != nil {
				return nil, err
			}
		}
		if a.answer.refused != "" {
			if a, err = l.again(ctx, a); err != nil {
				return nil, err
			}
		}
		if a.answer.code == wire.AuthOk {
			var settled bool
			if a, settled, err = l.settle(ctx, a); err != nil {
				return nil, err
			}
			if settled {
				return l.enter(ctx, a)
			}
			continue
		}
		if err := l.exchange(a); err != nil {
			return nil, l.abandon(a, err)
		}
	}
	return nil, l.abandon(a, a.serverBroke("authentication does not come to an end"))
}

// choose finds the name to log in as: the first that the server does not refuse at once. Where the server asks for
// something that can be answered only once, choose takes the preferred name instead. Where all are refused, it
// returns the attempt whose refusal says most.
func (l *loginRelay) choose(ctx context.Context) (*loginAttempt, error) {
	var telling *loginAttempt
	for pick := 0; ; {
		a, err := l.open(ctx, pick)
		if err != nil {
			return nil, err
		}
		next := pick
		switch {
		case a.answer.refused == scope.CodeInvalidAuthorization:
			l.refused[pick] = true
			if next = l.other(); telling == nil || a.answer.checkedFurther(telling.answer) {
				telling = a
			}
		case a.answer.refused == "" && !a.answer.repeatable() && !l.refused[l.names.prefer]:
			next = l.names.prefer
		}
		if next == pick {
			return a, nil
		}
		a.close()
		if next < 0 {
			return telling, nil
		}
		pick = next
	}
}

// other returns a candidate that was not refused yet; -1 where none is left.
func (l *loginRelay) other() int {
	for i, refused := range l.refused {
		if !refused {
			return i
		}
	}
	return -1
}

// again goes on after a refusal: it offers the password that the client has given under the other names, as long as the
// server asks for no more than that. Where none is let in, the client is sent the refusal.
func (l *loginRelay) again(ctx context.Context, a *loginAttempt) (*loginAttempt, error) {
	wrongName := a.answer.refused == codeInvalidPassword || a.answer.refused == scope.CodeInvalidAuthorization
	l.refused[a.candidate] = true
	for next := l.other(); l.password != nil && wrongName && next >= 0; next = l.other() {
		l.refused[next] = true
		b, err := l.open(ctx, next)
		if err != nil {
			a.close()
			return nil, err
		}
		if b.answer.refused == "" && b.answer.code == wire.AuthCleartextPassword && b.version == a.version {
			if err := b.reply(l.password); err != nil {
				a.close()
				return nil, l.abandon(b, err)
			}
		}
		if b.answer.refused == "" && b.answer.code == wire.AuthOk && b.version == a.version {
			a.close()
			return b, nil
		}
		b.close()
	}
	return nil, l.turnAway(a)
}

// turnAway sends the client the server's refusal.
func (l *loginRelay) turnAway(a *loginAttempt) error {
	defer a.close()
	l.greet(a)
	if a.answer.refused == codeInvalidPassword {
		l.visitor.delayWrongPassword()
	}
	l.visitor.failing(a.answer.refused)
	if l.onRefused != nil && unauthorized(a.answer.refused) {
		l.onRefused(a.candidate)
	}
	refusal := a.answer.refusal()
	if a.answer.after != nil {
		l.out = append(l.out, a.answer.frame...) // AuthenticationOk
	}
	cause := fmt.Errorf("server refuses %q: %s", a.user, wire.Field(refusal, 'M'))
	told := l.localize(a.user, refusal)
	if a.answer.refused == codeInvalidPassword && len(l.names.candidates) > 1 {
		told = wire.WithField(told, 'H', "The proxy could not ask which role is meant, and may have tried the wrong one. Try again.")
	}
	return &loginError{
		side: byServer, sqlstate: a.answer.refused, candidate: a.candidate,
		cause: errors.Join(cause, l.visitor.lastWords(append(l.out, told...))),
	}
}

// enter ends the login: the client is let in.
func (l *loginRelay) enter(ctx context.Context, a *loginAttempt) (*loggedIn, error) {
	l.greet(a)
	l.out = append(l.out, a.answer.frame...)
	if !a.stop() {
		return nil, l.abandon(a, &loginError{side: byShutdown, cause: ctx.Err()})
	}
	return &loggedIn{
		server: a.server, user: a.user, candidate: a.candidate, version: a.version, lease: l.lease,
		welcome: l.out, rest: append(a.answer.after, a.unread()...),
	}, nil
}

// abandon ends an attempt after an error.
func (l *loginRelay) abandon(a *loginAttempt, err error) error {
	a.close()
	return l.fail(a.candidate, err)
}

// fail makes err a *loginError, and tells the client, if nobody has yet.
func (l *loginRelay) fail(candidate int, err error) error {
	var failed *loginError
	known := errors.As(err, &failed)
	told, from := untold(err), byServer
	if l.ended() {
		told, from = stopping(), byShutdown
	}
	if !known || failed.sqlstate == "" && from == byShutdown {
		failed = l.visitor.turnAway(l.out, told)
		failed.side, failed.cause = from, err
	}
	failed.candidate = candidate
	return failed
}

// untold is what the client is told of an error that it has not been told of.
func untold(err error) *scope.Error {
	var unreachable *dialError
	var own *scope.Error
	switch {
	case errors.As(err, &unreachable):
		return unreachable.forClient()
	case errors.As(err, &own):
		return own
	case errors.Is(err, os.ErrDeadlineExceeded):
		return notInTime()
	default:
		return &scope.Error{
			Code: scope.CodeConnectionFailure, Message: "the server closed the connection during the login",
			Hint: "Try again. The proxy's log says more.",
		}
	}
}

// greet puts what comes before the first request of the server: NegotiateProtocolVersion, if the client asked for what
// it does not get, and the server's notices. The client is asked for nothing before, and greeted once.
func (l *loginRelay) greet(a *loginAttempt) {
	l.out = append(l.out, l.visitor.greet(a.version)...)
	for _, notice := range a.notices {
		l.out = append(l.out, l.localize(a.user, notice)...)
	}
	a.notices = nil
}

// forget wipes the password.
func (l *loginRelay) forget() {
	clear(l.password)
	l.password = nil
}

// startup returns the StartupMessage for the server: the client's, with the name that the user has in the cluster, and
// without the protocol's options, which would be between the client and the proxy.
func (l *loginRelay) startup(user scope.Cluster) wire.Startup {
	said := l.visitor.startup
	own := map[string]bool{"user": true, "database": true}
	for _, p := range l.params {
		own[p.Name] = true
	}
	s := wire.Startup{Version: l.version, Parameters: make([]wire.Parameter, 0, len(own)+len(said.Parameters))}
	s.Parameters = append(s.Parameters, wire.Parameter{Name: "user", Value: string(user)}, wire.Parameter{Name: "database", Value: said.Database()})
	for _, p := range said.Parameters {
		if !own[p.Name] && !strings.HasPrefix(p.Name, wire.ProtocolOption) {
			s.Parameters = append(s.Parameters, p)
		}
	}
	s.Parameters = append(s.Parameters, l.params...)
	return s
}
