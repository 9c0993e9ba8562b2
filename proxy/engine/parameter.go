package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// parameterStatus notes the parameters that matter here, and gives the client the short name for its role.
func (e *Engine) parameterStatus(frame []byte, out *Out) (verdict, error) {
	name, value, _, ok := cutStrings(frame[wire.HeaderSize:])
	if !ok {
		return drop, serverViolation("invalid string", frame[0])
	}
	if told := e.cfg.Reported; told != nil && !e.Started() && !slices.Contains(*told, string(name)) {
		*told = append(*told, string(name))
	}
	switch string(name) {
	case "client_encoding":
		e.options.Encoding = charset.Name(value)
	case "server_encoding":
		e.options.ServerEncoding = charset.Name(value)
	case "standard_conforming_strings":
		e.options.StandardStrings = string(value) == "on"
	case "server_version":
		e.options.ServerVersion = serverVersion(string(value))
	case searchPath:
		if !e.Started() && e.pending.first().awaits == ownQuestion { // by which it was replaced
			return drop, nil
		}
		return e.tellPath(string(value), out), nil
	case sessionAuthorization:
		if e.Started() || charset.ASCII(string(value)) {
			e.tellUser(string(value), out)
		} else {
			e.beginning.user = string(value) // from PostgreSQL 16 on, the character sets may come later
		}
		return drop, nil
	}
	return pass, nil
}

const (
	sessionAuthorization = "session_authorization"
	searchPath           = "search_path"
)

// tellPath tells the client of the search_path: of "$user" in the session's default, not of what stands in for it.
func (e *Engine) tellPath(path string, out *Out) verdict {
	set := e.options.Charset()
	decoded, ok := set.Decode(path, nil)
	if !ok || e.userPath.standard == "" {
		return pass
	}
	told, news := e.userPath.told(decoded)
	if encoded, err := set.Encode(told); news && err == nil {
		out.Client.write(appendParameterStatus(searchPath, encoded))
	}
	return drop
}

// tellUser tells the client who the session's user is, by the name that it has here.
func (e *Engine) tellUser(user string, out *Out) {
	role, _ := e.options.Charset().Decode(user, nil)
	if short, ok := e.localizer(e.pending.first().tracked).Own(scope.Cluster(role)); ok {
		if encoded, err := e.options.Charset().Encode(string(short)); err == nil { // else neither could the server's name be written
			user = encoded
		}
	}
	out.Client.write(appendParameterStatus(sessionAuthorization, user))
}

func appendParameterStatus(name, value string) []byte {
	b := wire.Begin(nil, wire.ParameterStatus)
	b = append(append(b, name...), 0)
	return wire.End(append(append(b, value...), 0), 0)
}

// serverVersion reads server_version ("15.4 (Debian …)", "18beta1") as server_version_num has it for the major version.
func serverVersion(s string) int {
	major := 0
	for _, c := range s {
		if c < '0' || c > '9' || major > 1000 {
			break
		}
		major = major*10 + int(c-'0')
	}
	return major * 10000
}
