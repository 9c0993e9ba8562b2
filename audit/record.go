package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Record is what one line says, without its place in the chain. Texts must have no secrets in them. The keys
// are part of the contract with scripts.
type Record struct {
	Time        time.Time `json:"time"`
	Event       string    `json:"event"`            // statement, or login
	Client      string    `json:"client"`           // address and port; local for a Unix socket
	Database    string    `json:"database"`         // what the client asked for
	User        string    `json:"user"`             // as the client calls it
	Role        string    `json:"role,omitempty"`   // that it logged in as on the server
	Application string    `json:"application_name"` // as the client said at its login
	Statement   string    `json:"statement,omitempty"`
	Sent        string    `json:"sent,omitempty"`   // to the server
	Number      int       `json:"number,omitempty"` // of the statement, where the text had several about roles
	Of          int       `json:"of,omitempty"`     // how many those were
	Cut         bool      `json:"cut,omitempty"`    // one of the two was longer than maxText
	Actions     []Action  `json:"actions,omitempty"`
	Decision    string    `json:"decision"`         // allow, warn, deny; refuse: by the proxy, not the policy
	Rule        string    `json:"rule,omitempty"`   // that decided
	Result      string    `json:"result"`           // SQLSTATE: 00000 for success; unknown: the session ended before the answer
	Reason      string    `json:"reason,omitempty"` // of a refused login
}

// Action is one thing that a statement wanted, with the rule that decided about it.
type Action struct {
	Kind       string   `json:"kind"`
	Role       string   `json:"role,omitempty"`
	Cluster    string   `json:"cluster,omitempty"` // the role's name on the server
	Grantee    string   `json:"grantee,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
	Object     string   `json:"object,omitempty"`
	Decision   string   `json:"decision,omitempty"`
	Rule       string   `json:"rule,omitempty"`
}

// The events.
const (
	Statement = "statement"
	Login     = "login"
)

// Unknown is the result of what was not answered.
const Unknown = "unknown"

const (
	maxText    = 16 << 10 // of a statement that is kept, in bytes: a line must pass through syslog
	maxActions = 200      // of one statement that are kept
)

// line is what is written.
type line struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"` // SHA-256 of the line before, without its newline, in hexadecimal
	Lost uint64 `json:"lost,omitempty"`
	Record
}

// link is the end of a chain: the number and the hash of its last line.
type link struct {
	seq  uint64
	hash string
}

// start is before the first line.
var start = link{hash: hex.EncodeToString(make([]byte, sha256.Size))}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// append returns the next line of a chain, without its newline.
func (l link) append(r Record, lost uint64) ([]byte, link, error) {
	var cutStatement, cutSent bool
	r.Statement, cutStatement = cut(r.Statement)
	r.Sent, cutSent = cut(r.Sent)
	r.Cut = cutStatement || cutSent || len(r.Actions) > maxActions
	r.Actions = r.Actions[:min(len(r.Actions), maxActions)]
	r.Time = r.Time.UTC()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(line{l.seq + 1, l.hash, lost, r}); err != nil {
		return nil, l, err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return text, link{l.seq + 1, hash(text)}, nil
}

// cut shortens a text to what is kept.
func cut(s string) (string, bool) {
	if len(s) <= maxText {
		return s, false
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
