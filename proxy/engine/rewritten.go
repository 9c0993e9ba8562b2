package engine

import (
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// text is a text that went to the server otherwise than the client wrote it.
type text struct {
	client string
	result *rewrite.Result
	names  map[scope.Cluster]scope.Short // what the client calls the roles in it
	// instead are the fields of an error that answers the failure of a text that was sent to fail: the server's own
	// answer to a question of the proxy, which the client's statement could not go without.
	instead []byte
	notices []byte // messages that the client shall get with the first answer to the text
	trail   *trail // the record of it; nil where it has nothing to do with roles

	rows      *rows   // what is known of its results; nil where they pass
	formats   []int16 // of a portal: the format codes of its results, where not all are texts
	completed int     // of a Query: how many of its statements have been
	consequences
}

// fails reports whether it is certain to fail.
func (t *text) fails() bool { return t.instead != nil || t.result != nil && len(t.result.Refusals) > 0 }

// notify gives the client the notices about the text, once.
func (t *text) notify(out *Out) {
	if t.notices != nil {
		out.Client.write(t.notices)
		t.notices = nil
	}
}

// maxRewritten bounds how many prepared statements and portals are remembered; of more, positions in errors that come
// after Parse point into the text that the server has, and rows pass as they are. Of those that have a trail there cannot
// be more.
const maxRewritten = 1 << 10

// rewritten remembers prepared statements and portals whose texts are not the client's: utility statements are analysed
// at Execute, and their errors have positions then. Most sessions have none.
type rewritten struct {
	statements, portals map[string]*text
}

func (r *rewritten) any() bool { return len(r.statements)+len(r.portals) > 0 }

// prepare notes what a statement's text became; false where it had to be noted and could not be.
func (r *rewritten) prepare(name string, t *text) bool {
	if len(r.statements) >= maxRewritten {
		return t.trail == nil
	}
	if r.statements == nil {
		r.statements = make(map[string]*text)
	}
	r.statements[name] = t
	return true
}

// bind notes what a portal runs, and returns it; false as prepare. body is that of the Bind message.
func (r *rewritten) bind(portal, statement string, body []byte) (*text, bool) {
	delete(r.portals, portal)
	t := r.statements[statement].bindFormats(body)
	switch {
	case t == nil:
		return nil, true
	case len(r.portals) >= maxRewritten:
		return t, t.trail == nil
	case r.portals == nil:
		r.portals = make(map[string]*text)
	}
	r.portals[portal] = t
	return t, true
}

// close forgets a prepared statement ('S') or a portal ('P').
func (r *rewritten) close(what byte, name string) {
	switch what {
	case 'S':
		delete(r.statements, name)
	case 'P':
		delete(r.portals, name)
	}
}
