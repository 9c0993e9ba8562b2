package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// DSN is a libpq connection string. Printed, logged or marshalled in whatever way it shows where it leads, and no
// password; [DSN.Reveal] alone returns it as it is.
type DSN struct{ text string }

// ParseDSN checks that text has the form of a libpq URI or a keyword=value string with keywords that libpq knows, or is
// empty. The error shows nothing of it: what looks like a keyword may be a part of a password.
func ParseDSN(text string) (DSN, error) {
	if _, isURI := cutScheme(text); !isURI && len(pairs.ReplaceAllString(text, "")) > 0 {
		return DSN{}, errors.New("neither a URI like postgres://db:5432 nor keywords like host=db port=5432")
	}
	for i, k := range keywordsOf(text) {
		if !keywords[k] {
			return DSN{}, fmt.Errorf("keyword %d of the connection string is none that libpq has", i+1)
		}
	}
	return DSN{text}, nil
}

// keywordsOf returns the keywords in the order of the text; of a URI those of its parameters.
func keywordsOf(text string) []string {
	var found []string
	if rest, isURI := cutScheme(text); isURI {
		_, query, _ := strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], "?")
		for parameter := range strings.SplitSeq(query, "&") {
			if keyword, _, _ := strings.Cut(parameter, "="); keyword != "" {
				found = append(found, keyword)
			}
		}
		return found
	}
	for _, p := range pairs.FindAllStringSubmatch(text, -1) {
		if p[1] != "" {
			found = append(found, p[1])
		}
	}
	return found
}

// keywords are those of PostgreSQL 18 (PQconninfoOptions, src/interfaces/libpq/fe-connect.c),
// and what URIs may have of JDBC's.
var keywords = func() map[string]bool {
	known := make(map[string]bool)
	for _, k := range strings.Fields(`
		service servicefile user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
		application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
		sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl sslcrldir sslsni sslkeylogfile
		requirepeer require_auth min_protocol_version max_protocol_version ssl_min_protocol_version ssl_max_protocol_version
		gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts scram_client_key scram_server_key
		oauth_issuer oauth_client_id oauth_client_secret oauth_scope authtype requiressl ssl`) {
		known[k] = true
	}
	return known
}()

// Reveal returns the connection string with its secrets.
func (d DSN) Reveal() string { return d.text }

// Empty reports whether there is none.
func (d DSN) Empty() bool { return d.text == "" }

// String returns the connection string with xxxxx for what could be a secret.
func (d DSN) String() string {
	if rest, ok := cutScheme(d.text); ok {
		return d.text[:len(d.text)-len(rest)] + redactURI(rest)
	}
	var shown []string
	for _, p := range pairs.FindAllStringSubmatch(d.text, -1) {
		shown = append(shown, p[1]+"="+redact(p[1], p[2]))
	}
	return strings.Join(shown, " ")
}

// Format prints [DSN.String] under every verb: no verb reaches the text itself.
func (d DSN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) } // as in fmt, there is nowhere to tell

// MarshalText makes JSON and YAML show [DSN.String].
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

const redacted = "xxxxx"

// shown are the keywords whose values are shown. What is not known to be harmless is not.
var shown = map[string]bool{
	"host": true, "hostaddr": true, "port": true, "dbname": true, "user": true, "service": true, "sslmode": true,
	"sslnegotiation": true, "sslrootcert": true, "connect_timeout": true, "application_name": true, "target_session_attrs": true,
}

// harmless matches values that cannot have swallowed a second keyword=value, as a missing one does.
var harmless = regexp.MustCompile(`^[^=?@&]*$`)

func redact(keyword, value string) string {
	if shown[keyword] && harmless.MatchString(value) {
		return value
	}
	return redacted
}

// pairs matches one keyword=value and the space around it (conninfo_parse, src/interfaces/libpq/fe-connect.c).
var pairs = regexp.MustCompile(`^\s+$|\s*([^\s='\\]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)`)

func cutScheme(text string) (rest string, ok bool) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok = strings.CutPrefix(text, scheme); ok {
			return rest, true
		}
	}
	return text, false
}

// hosts matches what stands between user and parameters in a URI: host:port,host:port/database.
var hosts = regexp.MustCompile(`^` + host + `(,` + host + `)*(/[^\s=:]*)?$`)

const host = `(\[[0-9a-fA-F:.]*(%\w+)?\]|[^][\s,/:=]*)(:[0-9]*)?`

// redactURI redacts user:password@hosts/database?keyword=value&…. A password that is not escaped as it should may hold
// any of these signs: all up to the last @ is taken for the user and the password.
func redactURI(s string) string {
	var b strings.Builder
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		user, _, hasPassword := strings.Cut(s[:at], ":")
		switch {
		case strings.ContainsAny(s[:at], "/?#=& \t\r\n\f\v"):
			b.WriteString(redacted)
		case hasPassword:
			b.WriteString(user + ":" + redacted)
		default:
			b.WriteString(user)
		}
		b.WriteByte('@')
		s = s[at+1:]
	}
	where, query, hasQuery := strings.Cut(s, "?")
	if hosts.MatchString(where) {
		b.WriteString(where)
	} else {
		b.WriteString(redacted)
	}
	if !hasQuery {
		return b.String()
	}
	sign := byte('?')
	for parameter := range strings.SplitSeq(query, "&") {
		keyword, value, _ := strings.Cut(parameter, "=")
		if !shown[keyword] && keyword != "password" {
			keyword = redacted
		}
		b.WriteByte(sign)
		b.WriteString(keyword + "=" + redact(keyword, value))
		sign = '&'
	}
	return b.String()
}
