package proxy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// The server's side of a login whose client the proxy has checked itself. The client sees nothing of it but the result.

// proof is what the proxy has to show to the server for a client that it has checked.
type proof struct {
	method AuthMethod
	keys   *scram.Keys // with verify
}

// prove answers a request of the server, and waits for its next.
func (l *loginRelay) prove(a *loginAttempt) error {
	if l.proof.keys == nil {
		return l.refuse(a, byServer, &scope.Error{
			Code:    scope.CodeInvalidAuthorization,
			Message: fmt.Sprintf("the server asks for a password, which the proxy does not have after %s authentication", l.proof.method),
			Hint: "The server's pg_hba.conf has to let the proxy in by itself: by a client certificate of the proxy, " +
				"or by peer authentication on a Unix socket, with a user name map.",
		})
	}
	if a.answer.code != wire.AuthSASL {
		return l.refuse(a, byServer, &scope.Error{
			Code: scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf("the server asks for %s authentication, for which the proxy has no password",
				loginMethod(a.answer.code)),
			Hint: "In the server's pg_hba.conf, use scram-sha-256 for connections that come from the proxy.",
		})
	}
	err := a.proveSASL(*l.proof.keys)
	if errors.Is(err, scram.ErrChanged) {
		refused := l.refuse(a, byServer, &scope.Error{
			Code:    codeInvalidPassword,
			Message: fmt.Sprintf(`password authentication failed for user "%s"`, l.visitor.startup.User()),
			Hint:    "The password may have been changed just now: try again.",
		})
		return errors.Join(refused, err)
	}
	return err
}

// proveSASL is a whole SCRAM exchange, with channel binding where the connection has TLS and the server offers it. It ends
// early with a refusal of the server, which is the attempt's answer then.
func (a *loginAttempt) proveSASL(keys scram.Keys) error {
	var offer pgproto3.AuthenticationSASL
	if err := offer.Decode(wire.Body(a.answer.frame)); err != nil {
		return a.serverBroke(err.Error())
	}
	mechanism, binding := scram.Mechanism, []byte(nil)
	if a.server.tls != nil && slices.Contains(offer.AuthMechanisms, scram.MechanismPlus) {
		if data, err := scram.EndPoint(a.server.tls.PeerCertificates[0]); err == nil { // some certificates have none
			mechanism, binding = scram.MechanismPlus, data
		}
	}
	if !slices.Contains(offer.AuthMechanisms, mechanism) {
		return a.serverBroke("no SASL mechanism that the proxy knows")
	}
	exchange := scram.NewClient(keys, binding)
	frame, err := (&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: exchange.First()}).Encode(nil)
	if err != nil {
		return err
	}
	first, err := a.replySASL(frame, wire.AuthSASLContinue)
	if err != nil || a.answer.refused != "" {
		return err
	}
	last, err := exchange.Final(first)
	if err != nil {
		return err
	}
	if frame, err = (&pgproto3.SASLResponse{Data: last}).Encode(nil); err != nil {
		return err
	}
	final, err := a.replySASL(frame, wire.AuthSASLFinal)
	if err != nil || a.answer.refused != "" {
		return err
	}
	if err := exchange.Check(final); err != nil {
		return err
	}
	return a.next()
}

// replySASL sends a frame and returns the data of the server's answer, which has to be of the kind.
func (a *loginAttempt) replySASL(frame []byte, want uint32) ([]byte, error) {
	if err := a.reply(frame); err != nil || a.answer.refused != "" {
		return nil, err
	}
	if a.answer.code != want {
		return nil, a.serverBroke(fmt.Sprintf("%s request in a SCRAM exchange", loginMethod(a.answer.code)))
	}
	const codeSize = 4
	return wire.Body(a.answer.frame)[codeSize:], nil
}
