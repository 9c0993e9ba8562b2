package proxy

import (
	"context"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// The indexes in loginNames.candidates where a name may be one of two roles.
const (
	ownCandidate   = iota // the database's
	plainCandidate        // the cluster's
)

// loginNames returns the roles of the cluster that the user may be: one, where that is known.
func (s *session) loginNames(ctx context.Context, v *visitor, user scope.Short) (loginNames, error) {
	srv := s.server
	database := v.database()
	plain := scope.Cluster(user)
	if v.replication == physical || s.settings.mode(database) == scope.Off {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	likely := plain
	if d := srv.directories.known(database); d != nil {
		c, certain := d.login(user)
		if certain {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		likely = c
	}
	db := scope.NewDatabase(0, database, srv.directories.prefixes[database])
	if srv.admin != nil {
		c, refused, err := s.askLogin(ctx, db, user)
		if refused != nil {
			return loginNames{refused: refused}, nil
		}
		if err == nil {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		s.log().Warn("the admin connection could not tell whose role logs in", zap.Error(err))
	}
	own, err := db.Qualify(user)
	if err != nil {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	names := loginNames{candidates: []scope.Cluster{ownCandidate: own, plainCandidate: plain}, prefer: plainCandidate}
	if likely == own {
		names.prefer = ownCandidate
	}
	if last, ok := srv.guesses.Get(guess{database, user}); ok {
		names.prefer = last
	}
	return names, nil
}

// askLogin asks the server, by the admin connection, which role logs in to a database under a name.
func (s *session) askLogin(ctx context.Context, db scope.Database, user scope.Short) (c scope.Cluster, refused *scope.Error, err error) {
	srv := s.server
	inquiry := db.Inquire(scope.Name{Role: user})
	inquiry.Own = true
	view, err := srv.admin.ask(ctx, inquiry, db.Prefix)
	if err != nil {
		return "", nil, err
	}
	if view.DB.Prefix != db.Prefix {
		return s.askLogin(ctx, view.DB, user) // the marker has another: it does not change
	}
	if view.DB.OID != 0 { // there is such a database
		srv.directories.of(db.Name).Learn(view)
	}
	c, refused = view.Login(user)
	if refused != nil {
		refused.Code = scope.CodeInvalidAuthorization
	}
	return c, refused, nil
}

// expectLogins notes the roles that a session has just permitted to log in: they may do so before the directory lists them.
func (s *Server) expectLogins(database string, actions []policy.Action) {
	for _, a := range actions {
		switch {
		case a.Role.Home != scope.Own:
		case a.Kind == policy.RenameRole:
			s.guesses.Add(guess{database, a.Grantee.Name}, ownCandidate)
		case slices.Contains(a.Attributes, "LOGIN"):
			s.guesses.Add(guess{database, a.Role.Name}, ownCandidate)
		}
	}
}

// localizeLogin makes an error of a login speak of the user as the client called it.
func localizeLogin(c scope.Cluster, user scope.Short, frame []byte) []byte {
	if string(c) == string(user) {
		return frame
	}
	own := func(name scope.Cluster) (scope.Short, bool) { return user, name == c }
	prefix := strings.TrimSuffix(string(c), scope.Separator+string(user))
	localized, err := engine.Localize(frame, rewrite.Localizer{Prefix: prefix, Own: own})
	if err != nil {
		return frame
	}
	return localized
}
