package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// verify: the proxy is the server of a SCRAM exchange, with the verifier that the real one has stored. A client that is not
// let in learns no more than it would from PostgreSQL (CheckSCRAMAuth, src/backend/libpq/auth-sasl.c): a role that does not
// exist, one without a password, with an expired or an MD5 one, and a wrong password look the same.

const codeInvalidPassword = "28P01" // invalid_password

// verifierSQL reads what is stored of a role's password, in its time, and something that only the server knows: all
// proxies in front of it make the same mock exchange for a role that does not exist.
const verifierSQL = `SELECT
	(SELECT rolpassword FROM pg_catalog.pg_authid
		WHERE rolname = $1 AND coalesce(rolvaliduntil > pg_catalog.now(), true)),
	(SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) ||
		coalesce((SELECT pg_catalog.string_agg(rolpassword, '' ORDER BY oid) FROM pg_catalog.pg_authid WHERE rolsuper), '')`

// storedPassword asks the server for the verifier of a role; empty stands for none. Where there is nothing to pass, it is a
// mock one for the name, and why says so, for the log. The server is asked each time: that costs little beside a new server
// process, and a password that was changed or revoked a moment ago is none any more.
func (a *admin) storedPassword(ctx context.Context, role scope.Cluster, name string) (v scram.Verifier, why, err error) {
	rows, err := a.query(ctx, verifierSQL, []string{string(role)})
	if err != nil {
		return scram.Verifier{}, nil, err
	}
	if v, why = scram.ParseVerifier(rows[0][0]); why != nil {
		secret := sha256.Sum256([]byte(rows[0][1]))
		v = scram.Mock(secret[:], name)
		if rows[0][0] == "" {
			why = errors.New("there is no such role, or its password is not set or has expired")
		}
	}
	return v, why, nil
}

// checkVerify tells at the start, and when settings have changed, if no password can be verified: else the first client
// would find out. Who is let in otherwise is, so the proxy runs all the same.
func (s *Server) checkVerify(ctx context.Context) {
	for {
		select {
		case <-s.reloaded:
		case <-ctx.Done():
			return
		}
		err := whenThere(ctx, func() (err error) {
			if s.settings.Load().auth.has(AuthVerify) {
				_, _, err = s.admin.storedPassword(ctx, "", "")
			}
			return err
		}, nil)
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("passwords cannot be verified: who must be is not let in", zap.String("role", s.o.Admin.User), zap.Error(err))
		}
	}
}

// verify lets the client prove that it knows the password of the role. Where nobody can log in under the user's name, role
// is the user itself, and known is false.
func (v *visitor) verify(ctx context.Context, a *admin, role scope.Cluster, known bool) (*scram.Keys, error) {
	asked := role
	if !known {
		asked = "" // whatever the server has under that name, it is not meant
	}
	verifier, why, err := a.storedPassword(ctx, asked, string(role))
	if err != nil {
		failed := v.turnAway(nil, cannotVerify())
		failed.side, failed.cause = byServer, fmt.Errorf("password of %q: %w", role, err)
		return nil, failed
	}
	keys, err := v.scramExchange(verifier)
	var told *loginError
	switch {
	case err == nil:
		return keys, nil
	case errors.As(err, &told):
		return nil, err
	case errors.Is(err, scram.ErrPassword):
		v.delayWrongPassword()
		told = v.turnAway(nil, &scope.Error{
			Code: codeInvalidPassword, Message: fmt.Sprintf(`password authentication failed for user "%s"`, v.startup.User()),
		})
	case errors.Is(err, scram.ErrBinding):
		told = v.turnAway(nil, &scope.Error{
			Code: scope.CodeInvalidAuthorization, Message: "SCRAM channel binding check failed", Detail: err.Error(),
		})
	default:
		told = v.turnAway(nil, &scope.Error{Code: scope.CodeProtocolViolation, Message: err.Error()})
	}
	told.cause = fmt.Errorf("password of %q: %w", role, errors.Join(err, why))
	return nil, told
}

// cannotVerify is what a client is told when the server cannot be asked for what it has stored.
func cannotVerify() *scope.Error {
	return &scope.Error{
		Code: scope.CodeCannotConnect, Message: "the proxy cannot check passwords now", Hint: "Try again. The proxy's log says more.",
	}
}

// scramExchange asks the client for its proof.
func (v *visitor) scramExchange(verifier scram.Verifier) (*scram.Keys, error) {
	binding, err := v.channelBinding()
	if err != nil {
		return nil, err
	}
	offer := []string{scram.Mechanism}
	if binding != nil {
		offer = []string{scram.MechanismPlus, scram.Mechanism}
	}
	request, err := (&pgproto3.AuthenticationSASL{AuthMechanisms: offer}).Encode(v.greet(min(v.startup.Version, wire.Version32)))
	if err != nil {
		return nil, err
	}
	answer, err := v.ask(request, "SASL")
	if err != nil {
		return nil, err
	}
	var choice pgproto3.SASLInitialResponse
	if err := choice.Decode(wire.Body(answer)); err != nil {
		return nil, err
	}
	plus := choice.AuthMechanism == scram.MechanismPlus && binding != nil
	if choice.AuthMechanism != scram.Mechanism && !plus {
		return nil, errors.New("client selected an invalid SASL authentication mechanism")
	}
	exchange := scram.NewServer(verifier, binding, plus)
	first, err := exchange.First(choice.Data)
	if err != nil {
		return nil, err
	}
	if request, err = (&pgproto3.AuthenticationSASLContinue{Data: first}).Encode(nil); err != nil {
		return nil, err
	}
	if answer, err = v.ask(request, "SASL"); err != nil {
		return nil, err
	}
	final, keys, err := exchange.Final(wire.Body(answer))
	if err != nil {
		return nil, err
	}
	last, err := (&pgproto3.AuthenticationSASLFinal{Data: final}).Encode(nil)
	if err != nil {
		return nil, err
	}
	if _, err := v.conn.Write(last); err != nil {
		return nil, clientGone(err)
	}
	return &keys, nil
}

// channelBinding returns what the client can bind its exchange to; nil where it has nothing of the kind.
func (v *visitor) channelBinding() ([]byte, error) {
	if v.tls == nil {
		return nil, nil
	}
	certificate, err := leaf(v.certificate)
	if err != nil {
		return nil, err
	}
	binding, err := scram.EndPoint(certificate)
	if err != nil {
		return nil, nil //nolint:nilerr // a certificate without one is offered none, as by the server
	}
	return binding, nil
}
