package engine

import (
	"time"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Directory is what the proxy knows of the session's database beside the session: a cache that all sessions of the
// database share. It is safe for concurrent use.
type Directory interface {
	// Database returns the scope as it was last seen; whether it still is, each answer of the server tells.
	Database() scope.Database
	// Prefix is what the database's roles shall be prefixed with when it gets enrolled; empty for its name.
	Prefix() string
	// Own tells the short name of a role of this database.
	Own(scope.Cluster) (scope.Short, bool)
	// Recall returns what is known of a role of this database, one of no schema, that a name means under every search_path,
	// and what can be claimed of it; nil where that is not known, or for too long. The view is the caller's.
	Recall(scope.Short) (*scope.View, scope.Claim)
	// Census is what the last list of all roles told of others; nil where there was none.
	Census() *scope.Census
	// Rewritings are those that hold by what is known now.
	Rewritings() *Rewritings
	// Stale reports whether something about the database's roles should be asked with the next question. Doubt adds it to
	// a question.
	Stale() bool
	Doubt(*scope.Inquiry)
	// Admit notes that the role may log in here under that name; Admitted reports whether that is known.
	Admit(scope.Cluster, scope.Short)
	Admitted(scope.Cluster, scope.Short) bool
	// Learn takes what an answer of the server says.
	Learn(*scope.View)
	// Columns returns the columns of the catalogs' relations with role names, as a server of that version has them in this
	// database; nil where they are not known. LearnColumns takes them.
	Columns(serverVersion int) rewrite.Columns
	LearnColumns(serverVersion int, c rewrite.Columns)
	// Changed tells that the session may have changed these roles, and that others can see it now. Without any, it is not
	// known which roles.
	Changed(...scope.Cluster)
	// Prepared tells that a transaction that changes roles was left to be committed later (PREPARE TRANSACTION), Committed
	// that one was committed, it may be that one.
	Prepared()
	Committed()
}

// Host is what an engine runs in: it is asked, and told what happens. Its methods must not block; Vacate may, but not for
// long. Decide may be called by what is done apart.
type Host interface {
	// Decide is asked about each action of a role statement, when it is read, and again when a prepared one is executed.
	Decide(*policy.Facts, policy.Action) policy.Decision
	// Needs tells which facts it wants to know for that at a server of that version, of all actions or of some kinds.
	Needs(serverVersion int, kinds ...policy.Kind) policy.Need
	// Saw is told of each statement that named roles: what the client wrote and what became of it. It must not keep the
	// result.
	Saw(client string, result *rewrite.Result)
	// Failed is told of faults of the proxy's own for which statements are refused.
	Failed(fault string)
	// Vacate is told of each database that the session is about to drop, rename or copy, which the server refuses while
	// others are connected to it. Forget is told of each that it has dropped or renamed.
	Vacate(database string)
	Forget(database string)
	// Done is told of each statement that had to do with roles when its result is known, if the session is recorded. Room
	// tells whether it can take one more; while it cannot, statements are refused. Now is the clock of these records.
	Done(Statement)
	Room() bool
	Now() time.Time
	// AccessChanged is told when statements that change roles or access were run, and their transaction has ended.
	AccessChanged()
}

// Config is what an engine works with.
type Config struct {
	Host      Host
	Directory Directory
	Mode      scope.Mode // unless the session has another by its own wish
	// Login is the role that the session logged in as, and what the client calls it.
	Login     scope.Cluster
	LoginName scope.Short
	// Analyze reads a text; nil for rewrite.Analyze. One that remembers serves all sessions.
	Analyze func(sql string, o rewrite.Options) (*rewrite.Analysis, *rewrite.Error)
	// Reported gets the names of the parameters that the server tells before the session begins, if they are not in it; nil
	// where nobody wants them.
	Reported *[]string
	// MaxMessage bounds a message that must be read whole, in bytes: a statement's text, an error.
	MaxMessage int
	LongText   int32 // from how many bytes on a text is read apart: see Apart; 0 for never
	Walsender  bool  // it is a replication connection
	Recorded   bool  // Host.Done is to be told
	Keep       bool  // the server's connection is for another client afterwards, if it can be: see Kept
}

// Engine is the protocol core of one session, from the server's AuthenticationOk on. Its methods must not be called
// concurrently. There is one for each client, and most are at rest, so what is needed for moments only is behind a pointer.
type Engine struct {
	cfg     Config
	client  stream // what the client sends
	server  stream // what the server sends
	pending pending

	beginning *beginning // nil once the client may begin
	question  *question  // the proxy's own in the client's session; the last, nil before the first
	held      *held      // the client's statement that waits for its answer; nil for none
	claim     claim      // that stands in for a question
	aftermath *aftermath // what its statements may leave to do; nil for nothing
	userPath  userPath

	options  rewrite.Options // what of the session changes how a text is read
	prepared *registers      // the prepared statements and portals whose texts are tracked; nil as long as nobody has named one

	transaction *transaction // what the open one changes; nil for nothing

	key  string    // the body of BackendKeyData
	came time.Time // when the last text, or Execute, came that was looked at

	status      byte // of the last ReadyForQuery: I, T or E; 0 before the first
	switching   bool // its mode may not be the configured one: it has spoken of pgscope.*, or began with a mode
	crowded     bool // the client is held because it runs too far ahead of the server
	fetches     bool // statements were prepared, or cursors declared, by SQL whose rows are to be looked at: see rewrite.MayFetch
	goodbye     bool // the client sent Terminate
	goodbyeKept bool // and the server does not know, being at rest
	fatal       bool // the server ended the session by an error
}

var (
	fromClient = direction{
		plain: (*Engine).frontendPlain, note: (*Engine).frontendNote,
		begin: (*Engine).frontendBegin, whole: (*Engine).frontendWhole,
	}
	fromServer = direction{
		plain: (*Engine).backendPlain, note: (*Engine).backendNote,
		begin: (*Engine).backendBegin, whole: (*Engine).backendWhole, fromServer: true,
	}
)

// New returns the engine of a session that has just been authenticated, and is to start with those roles.
func New(cfg Config, start StartRole) *Engine {
	e := &Engine{cfg: cfg, beginning: &beginning{role: start.read()}, switching: start.Mode != ""}
	e.options.StandardStrings = true
	if e.cfg.Analyze == nil {
		e.cfg.Analyze = rewrite.Analyze
	}
	e.client.direction, e.server.direction = &fromClient, &fromServer
	return e
}

// own tells the short name of a role, for the texts that the client reads.
func (e *Engine) own(c scope.Cluster) (scope.Short, bool) {
	if c == e.cfg.Login {
		return e.cfg.LoginName, string(c) != string(e.cfg.LoginName)
	}
	return e.cfg.Directory.Own(c)
}

// Client takes bytes that came from the client and says in out what is to be written. It returns how many bytes it
// took: where that is not all of them, the client is held, and the rest shall be given again, with whatever came after
// it, when [Engine.Held] says that it no longer is. Until then the driver does not read from the client. Behind Terminate
// nothing is taken: see [Engine.Goodbye].
//
// An error ends the session; [Error.Field] tells what to say to the client. The output before it is still to be written.
func (e *Engine) Client(in []byte, out *Out) (taken int, err error) {
	out.Reset()
	if err := e.resume(out); err != nil {
		return 0, err
	}
	if e.Held() {
		return 0, nil
	}
	return e.client.pump(e, in, &out.Server, out)
}

// Server takes bytes that came from the server, all of them, and says in out what is to be written. It writes to the
// server only before [Engine.Started].
func (e *Engine) Server(in []byte, out *Out) error {
	out.Reset()
	_, err := e.server.pump(e, in, &out.Client, out)
	if e.crowded && !e.pending.full() {
		e.crowded = false
	}
	return err
}

// Started reports whether the client was told that it may begin. Until then the driver does not read from the client.
func (e *Engine) Started() bool { return e.beginning == nil }

// Held reports whether the client must wait: for the answer to a question of the proxy, for what is done apart, or
// because it runs too far ahead of the server for what it says next. Only a call of [Engine.Server] or [Engine.Worked]
// ends that.
func (e *Engine) Held() bool {
	return e.crowded || e.held != nil && !e.answered() || e.cleaningUp() && !e.aftermath.ready || e.userPath.asked
}

// answered reports whether what the held statement waits for has come.
func (e *Engine) answered() bool {
	switch e.held.step {
	case awaitsClaim:
		return e.claim.done
	case awaitsName:
		return e.prepared.settled(e.pending.syncs)
	case awaitsWork:
		return e.held.worked
	default:
		return e.question.done
	}
}

// Idle reports whether the session is at rest between two transactions: nothing is asked, nothing is half said.
func (e *Engine) Idle() bool { return e.ServerRests() && e.client.between() }

// ServerRests reports whether the server owes nothing, and is in no transaction and no pipeline.
func (e *Engine) ServerRests() bool {
	return e.status == wire.TxIdle && !e.Waiting() && e.server.between() && !e.pending.unsynced && !e.pending.skipping && !e.pending.copyIn
}

// Waiting reports whether the server is at work for the client.
func (e *Engine) Waiting() bool {
	return e.pending.first().awaits != none || e.held != nil || e.aftermath != nil
}

// ClientAtBoundary reports whether a message of the proxy may be put behind what the client was sent.
func (e *Engine) ClientAtBoundary() bool { return !e.server.passing() }

// ServerAtBoundary reports whether a message of the proxy may be put behind what the server was sent.
func (e *Engine) ServerAtBoundary() bool { return !e.client.passing() }

// CancelKey returns the body of BackendKeyData, empty where the server sent none.
func (e *Engine) CancelKey() string { return e.key }

// Fatal reports whether the client was told by the server that the session is over.
func (e *Engine) Fatal() bool { return e.fatal }

// Kept reports whether the client has ended the session while the server is at rest outside of a transaction. The server
// was not told.
func (e *Engine) Kept() bool { return e.goodbyeKept && e.ServerRests() }

// Goodbye reports whether the client has ended the session by Terminate.
func (e *Engine) Goodbye() bool { return e.goodbye }
