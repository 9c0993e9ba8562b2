package engine

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// keepingSession is one of a role of the database, whose "$user" is kept.
func keepingSession(t *testing.T) *session {
	s := newTestSession(t, newBook())
	s.e.userPath = userPath{standard: commonPath, replaced: "app, public"}
	return s
}

var reset = &pgproto3.CommandComplete{CommandTag: []byte("RESET")}

// TestTagBeforeQuestion: the tag of a statement before the one that is asked about is for the client, whole or in pieces.
func TestTagBeforeQuestion(t *testing.T) {
	for _, size := range []int{1, 1000} {
		s := keepingSession(t)
		s.chunk = func(n int) int { return min(n, size) }
		s.client(&pgproto3.Parse{Query: "RESET ALL"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Parse{Query: "DROP ROLE reader"})
		s.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, reset).wants(&s.toUser, "1", "2", "C RESET|")
		if !s.e.userPath.lost {
			t.Error("not noticed that the search_path is the session's default")
		}
	}
}

// TestPathIsNotAskedForInCopy: where a COPY may have begun, the server takes data only.
func TestPathIsNotAskedForInCopy(t *testing.T) {
	data := &pgproto3.CopyData{Data: []byte("1")}
	in, done := &pgproto3.CopyInResponse{}, &pgproto3.CommandComplete{CommandTag: []byte("COPY 1")}

	s := keepingSession(t)
	s.client(&pgproto3.Query{String: "RESET ALL"}, &pgproto3.Query{String: "COPY t FROM STDIN"})
	s.server(reset, idle)
	s.toServer.Reset()
	s.client(data, &pgproto3.CopyDone{}).wants(&s.toServer, "d 1", "c")
	s.client(&pgproto3.Query{String: "SELECT 1"}).wants(&s.toServer)
	s.server(in).wants(&s.toServer)
	s.server(done, idle).wantsQuestion(askSync)
	s.server(append(names(), idle)...).wants(&s.toServer, "Q SELECT 1|")

	s = keepingSession(t)
	s.client(&pgproto3.Query{String: "RESET ALL"}, &pgproto3.Parse{Query: "COPY t FROM STDIN"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})
	s.server(reset, idle, &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, in)
	s.toServer.Reset()
	s.client(data, &pgproto3.CopyDone{}, &pgproto3.Sync{}).wants(&s.toServer, "d 1", "c", "S")
	s.server(done, idle)
	s.client(&pgproto3.Query{String: "SELECT 1"}).wantsQuestion(askSync)
}

// TestPathTold: what stands in for the session's default, however the server quotes it, is that to the client.
func TestPathTold(t *testing.T) {
	s := newTestSession(t, newBook())
	s.e.userPath = userPath{standard: commonPath, replaced: `"app", public`}
	path := func(value string) *pgproto3.ParameterStatus {
		return &pgproto3.ParameterStatus{Name: searchPath, Value: value}
	}
	s.server(path("app, public"), path(`"app", public`), path(commonPath)).wants(&s.toUser)
	s.server(path("other")).wants(&s.toUser, "S search_path|other|")
	s.server(path("app, public")).wants(&s.toUser, "S search_path|"+commonPath+"|")
}
