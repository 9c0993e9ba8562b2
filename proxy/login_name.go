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

// The places in loginNames of the roles that a name may be, where that cannot be told.
const (
	ownCandidate   = iota // the database's
	plainCandidate        // the cluster's
)

// loginNames tells what roles of the cluster the user may be: one where that is known.
func (x *session) loginNames(ctx context.Context, v *visitor, user scope.Short) (loginNames, error) {
	s := x.server
	database := v.database()
	plain := scope.Cluster(user)
	if v.replication == physical || x.settings.mode(database) == scope.Off {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	likely := plain
	if d := s.directories.known(database); d != nil {
		c, certain := d.login(user)
		if certain {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		likely = c
	}
	db := scope.NewDatabase(0, database, s.directories.prefixes[database])
	if s.admin != nil {
		c, refused, err := x.askLogin(ctx, db, user)
		if refused != nil {
			return loginNames{refused: refused}, nil
		}
		if err == nil {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		x.log().Warn("the admin connection could not tell whose role logs in", zap.Error(err))
	}
	own, err := db.Qualify(user)
	if err != nil {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	names := loginNames{candidates: []scope.Cluster{ownCandidate: own, plainCandidate: plain}, prefer: plainCandidate}
	if likely == own {
		names.prefer = ownCandidate
	}
	if last, ok := s.guesses.Get(guess{database, user}); ok {
		names.prefer = last
	}
	return names, nil
}

// askLogin asks the server, by the admin connection, which role logs in to a database under a name.
func (x *session) askLogin(ctx context.Context, db scope.Database, user scope.Short) (c scope.Cluster, refused *scope.Error, err error) {
	s := x.server
	inquiry := db.Inquire(scope.Name{Role: user})
	inquiry.Own = true
	view, err := s.admin.ask(ctx, inquiry, db.Prefix)
	if err != nil {
		return "", nil, err
	}
	if view.DB.Prefix != db.Prefix {
		return x.askLogin(ctx, view.DB, user) // the marker has another: it does not change
	}
	if view.DB.OID != 0 { // there is such a database
		s.directories.of(db.Name).Learn(view)
	}
	c, refused = view.Login(user)
	if refused != nil {
		refused.Code = scope.CodeInvalidAuthorization
	}
	return c, refused, nil
}

// expectLogins notes which roles of a database a session lets log in: one of them may do so before they are listed.
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
