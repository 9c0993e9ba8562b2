package proxy

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What the proxy does with the server's requests, by their code. A code that is not here is refused: its proof depends
// on the role's name or on the connection, and would be about another one than the client means.
var loginRequests = map[uint32]func(*loginRelay, *loginAttempt) error{
	wire.AuthCleartextPassword: (*loginRelay).askPassword,
	wire.AuthMD5Password:       (*loginRelay).askMD5,
	wire.AuthSASL:              (*loginRelay).offerSASL,
	wire.AuthSASLContinue:      (*loginRelay).continueSASL,
	wire.AuthSASLFinal:         (*loginRelay).finishSASL,
}

// Names of requests, for messages about them.
var loginMethods = map[uint32]string{
	wire.AuthCleartextPassword: "clear-text password", wire.AuthMD5Password: "MD5 password",
	wire.AuthSASL: "SASL", wire.AuthSASLContinue: "SASL", wire.AuthSASLFinal: "SASL",
	wire.AuthKerberosV4: "Kerberos V4", wire.AuthKerberosV5: "Kerberos V5", wire.AuthCryptPassword: "crypt",
	wire.AuthSCMCreds: "SCM credentials", wire.AuthGSS: "GSSAPI", wire.AuthGSSContinue: "GSSAPI", wire.AuthSSPI: "SSPI",
}

// exchange relays one request of the server and the client's answer, and waits for the server's next.
func (l *loginRelay) exchange(a *loginAttempt) error {
	if l.proof != nil {
		return l.prove(a)
	}
	relay, ok := loginRequests[a.answer.code]
	if !ok {
		return l.refuse(a, byServer, &scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf("the server asks for %s authentication, which cannot be relayed", loginMethod(a.answer.code)),
			Hint:    "In the server's pg_hba.conf, use scram-sha-256 for connections that come from the proxy.",
		})
	}
	return relay(l, a)
}

func loginMethod(code uint32) string {
	if name, ok := loginMethods[code]; ok {
		return name
	}
	return fmt.Sprintf("unknown (%d)", code)
}

// askPassword relays a request for the password in clear text.
func (l *loginRelay) askPassword(a *loginAttempt) error {
	answer, err := l.ask(a, a.answer.frame, "password")
	if err != nil {
		return err
	}
	l.forget()
	l.password = answer
	return a.reply(answer)
}

// askMD5 relays a request for the password, hashed with the user's name and a salt: of use only where the client and the
// server mean the same name.
func (l *loginRelay) askMD5(a *loginAttempt) error {
	if string(a.user) != l.visitor.startup.User() {
		return l.refuse(a, byServer, &scope.Error{
			Code:    scope.CodeInvalidAuthorization,
			Message: fmt.Sprintf(`MD5 password authentication is not possible for user "%s"`, l.visitor.startup.User()),
			Detail:  "An MD5 password is hashed together with the role's name, which on the server is another one.",
			Hint: "Set password_encryption to scram-sha-256 and the role's password anew; " +
				"pg_hba.conf may say md5 or scram-sha-256.",
		})
	}
	answer, err := l.ask(a, a.answer.frame, "password")
	if err != nil {
		return err
	}
	return a.reply(answer)
}

// offerSASL relays the list of SASL mechanisms without SCRAM-SHA-256-PLUS, which proves that nobody ends TLS between
// client and server, as the proxy does.
func (l *loginRelay) offerSASL(a *loginAttempt) error {
	var offer pgproto3.AuthenticationSASL
	if err := offer.Decode(wire.Body(a.answer.frame)); err != nil {
		return a.serverBroke(err.Error())
	}
	offer.AuthMechanisms = slices.DeleteFunc(offer.AuthMechanisms, func(m string) bool { return m == scram.MechanismPlus })
	if len(offer.AuthMechanisms) == 0 {
		return l.refuse(a, byServer, &scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: "the server offers no SASL authentication mechanism that can be relayed",
			Hint:    "The server has to offer SCRAM-SHA-256 to connections that come from the proxy.",
		})
	}
	frame, err := offer.Encode(nil)
	if err != nil {
		return a.serverBroke(err.Error())
	}
	answer, err := l.ask(a, frame, "SASL")
	if err != nil {
		return err
	}
	if e := l.checkSASL(a, offer.AuthMechanisms, answer); e != nil {
		return l.refuse(a, byClient, e)
	}
	return a.reply(answer)
}

// checkSASL looks at the client's choice. The flag that a SCRAM exchange begins with (RFC 5802, gs2-cbind-flag) is "y"
// where the client could bind it to its TLS connection and believes that the server could not. A server that can, and is
// on TLS itself, takes that for an attack.
func (l *loginRelay) checkSASL(a *loginAttempt, offered []string, answer []byte) *scope.Error {
	var choice pgproto3.SASLInitialResponse
	if err := choice.Decode(wire.Body(answer)); err != nil || !slices.Contains(offered, choice.AuthMechanism) {
		return &scope.Error{
			Code: scope.CodeProtocolViolation, Message: "client selected an invalid SASL authentication mechanism",
		}
	}
	if choice.AuthMechanism == scram.Mechanism && a.server.tls != nil && bytes.HasPrefix(choice.Data, []byte("y")) {
		return &scope.Error{
			Code:    scope.CodeInvalidAuthorization,
			Message: "SCRAM channel binding negotiation error",
			Detail: "The client supports channel binding, and so does the server, " +
				"but the TLS connection of each ends at the proxy.",
			Hint: "Use channel_binding=disable in the client, " +
				"or connect the proxy to the server by a Unix socket or without TLS.",
		}
	}
	return nil
}

// continueSASL relays one message of each side, as they are.
func (l *loginRelay) continueSASL(a *loginAttempt) error {
	answer, err := l.ask(a, a.answer.frame, "SASL")
	if err != nil {
		return err
	}
	return a.reply(answer)
}

// finishSASL relays the server's own proof, to which the client says nothing.
func (l *loginRelay) finishSASL(a *loginAttempt) error {
	l.out = append(l.out, a.answer.frame...)
	return a.next()
}

// ask sends the client a request, and returns its answer: the frame of a password message.
func (l *loginRelay) ask(a *loginAttempt, request []byte, what string) ([]byte, error) {
	l.greet(a)
	request = append(l.out, request...)
	l.out = nil
	return l.visitor.ask(request, what)
}

// ask sends frames that end in a request for authentication, and returns the client's answer to it: the frame of a password
// message. It is the only place where a client that is not let in yet is read. The error is a *loginError.
func (v *visitor) ask(request []byte, what string) ([]byte, error) {
	v.asked = true
	if _, err := v.conn.Write(request); err != nil {
		return nil, clientGone(err)
	}
	answer, err := wire.ReadFrame(v.conn, wire.MaxAuthToken)
	switch {
	case err != nil:
		return nil, clientGone(err)
	case answer[0] == wire.Terminate:
		return nil, clientGone(fmt.Errorf("client ended the login when it was asked for %s authentication", what))
	case answer[0] != wire.Password:
		return nil, v.refuse(&scope.Error{
			Code:    scope.CodeProtocolViolation,
			Message: fmt.Sprintf("expected %s response, got message type %d", what, answer[0]),
		})
	}
	return answer, nil
}

// refuse tells the client an error of the proxy's own. from is the side that asks for what cannot be.
func (l *loginRelay) refuse(a *loginAttempt, from side, e *scope.Error) error {
	l.greet(a)
	out := l.out
	l.out = nil
	failed := l.visitor.turnAway(out, e)
	failed.side = from
	return failed
}
