package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// libpq's settings of a connection that pgconn does not know: it takes them for settings of the session.
const (
	loadBalanceHosts   = "load_balance_hosts"
	keepAlives         = "keepalives"
	keepAlivesIdle     = "keepalives_idle"
	keepAlivesInterval = "keepalives_interval"
	keepAlivesCount    = "keepalives_count"
)

// connectionSettings reads them. A number that is 0 stands for Go's default, which finds a dead server in minutes; libpq
// takes the system's default then, which needs hours.
func (u *Upstream) connectionSettings(params map[string]string) error {
	switch params[loadBalanceHosts] {
	case "", "disable":
	case "random":
		u.balance = true
	default:
		return errors.New(loadBalanceHosts + " is neither disable nor random")
	}
	on, err := number(params, keepAlives, 1)
	if err != nil {
		return err
	}
	idle, err := number(params, keepAlivesIdle, 0)
	if err != nil {
		return err
	}
	interval, err := number(params, keepAlivesInterval, 0)
	if err != nil {
		return err
	}
	count, err := number(params, keepAlivesCount, 0)
	u.keepAlive = net.KeepAliveConfig{
		Enable: on != 0, Idle: time.Duration(idle) * time.Second, Interval: time.Duration(interval) * time.Second, Count: count,
	}
	return err
}

func number(params map[string]string, name string, otherwise int) (int, error) {
	text, said := params[name]
	if !said {
		return otherwise, nil
	}
	const most = 1 << 15 // MAX_TCP_KEEPIDLE of Linux, and enough elsewhere
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= most {
		return 0, fmt.Errorf("%s is no number from 0 to %d", name, most-1)
	}
	return n, nil
}

// anyValue stands for all of a keyword's values.
const anyValue = "*"

// connectionKeywords are libpq's keywords that pgconn takes for settings of the session, each with the
// values for which it can be left out: there it is only advice, or asks for what is so anyway. Any other
// value asks for something that nobody would do.
var connectionKeywords = map[string][]string{
	loadBalanceHosts: {anyValue}, keepAlives: {anyValue}, keepAlivesIdle: {anyValue}, keepAlivesInterval: {anyValue}, keepAlivesCount: {anyValue},
	"tcp_user_timeout": {anyValue}, "fallback_application_name": {anyValue}, "sslcompression": {anyValue}, "authtype": {anyValue},
	"gssencmode": {"disable", "prefer"}, "gsslib": {anyValue}, "gssdelegation": {anyValue}, // there is no GSSAPI
	"requiressl": {"0"}, "ssl_min_protocol_version": {"TLSv1", "TLSv1.1", "TLSv1.2"}, "ssl_max_protocol_version": {"TLSv1.3"},
	"hostaddr": nil, "requirepeer": nil, "sslcrl": nil, "sslcrldir": nil, "sslkeylogfile": nil, "scram_client_key": nil, "scram_server_key": nil,
	"oauth_issuer": nil, "oauth_client_id": nil, "oauth_client_secret": nil, "oauth_scope": nil,
}

// ErrHostAddr is what is wrong with the environment, whatever the connection string says.
var ErrHostAddr = errors.New("PGHOSTADDR is not supported here: unset it, and let the host be the address")

// leaveOut removes the keywords from the settings that are sent to the server. The error names one that cannot be left out,
// or the variable that says the same.
func leaveOut(params map[string]string) error {
	if os.Getenv("PGHOSTADDR") != "" { // libpq goes there, whatever the host is
		return ErrHostAddr
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		values, ok := connectionKeywords[name]
		if !ok {
			continue
		}
		if v := params[name]; v != "" && !slices.Contains(values, anyValue) && !slices.Contains(values, v) {
			if len(values) == 0 {
				return fmt.Errorf("%s is not supported here", name)
			}
			return fmt.Errorf("%s is not supported here but as %s", name, strings.Join(values, " or "))
		}
		delete(params, name)
	}
	return nil
}

// ParseConfig is pgconn's, for all keywords of libpq: those that it would send to the server by mistake are left out, or
// refused. Errors do not show the string, which may hold a password.
func ParseConfig(dsn string) (*pgconn.Config, error) {
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, withoutDSN(err)
	}
	return c, leaveOut(c.RuntimeParams)
}
