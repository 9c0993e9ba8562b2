package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
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
	Cut         bool      `json:"cut,omitempty"`    // one of the two was longer than is kept, or there were more actions
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
	maxText    = 16 << 10 // of a statement that is kept, in bytes
	maxActions = 200      // of one statement that are kept
	// maxWritten is how long a line may be, in bytes: it has to pass through a socket for datagrams, which takes 208 KiB on
	// Linux (net.core.wmem_default). A line that is never taken would keep all others waiting.
	maxWritten = 192 << 10
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
func (l link) append(r Record, lost uint64) (text []byte, next link, err error) {
	r.Time = r.Time.UTC()
	// As a rule the first attempt will do. Characters that JSON escapes are up to six times as long in it.
	for texts, actions := maxText, maxActions; ; texts, actions = texts/2, actions/2 {
		if text, err = encode(line{l.seq + 1, l.hash, lost, r.shortened(texts, actions)}); err != nil {
			return nil, l, err
		}
		if len(text) <= maxWritten || texts == 0 {
			return text, link{l.seq + 1, hash(text)}, nil
		}
	}
}

func encode(l line) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(l)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// shortened is the record with so many bytes of each text, and so many actions, at most.
func (r Record) shortened(texts, actions int) Record {
	var cutStatement, cutSent bool
	r.Statement, cutStatement = cut(r.Statement, texts)
	r.Sent, cutSent = cut(r.Sent, texts)
	if len(r.Actions) > actions {
		r.Actions, r.Cut = slices.Clone(r.Actions[:actions]), true
	}
	r.Cut = r.Cut || cutStatement || cutSent
	return r
}

// size is about how many bytes the record takes.
func (r Record) size() int {
	const fields, action = 1 << 10, 1 << 9
	return fields + len(r.Statement) + len(r.Sent) + len(r.Actions)*action
}

// cut shortens a text.
func cut(s string, n int) (string, bool) {
	if len(s) <= n {
		return s, false
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n]), true // and let go of the rest
}
