package proxy

import (
	"errors"
	"fmt"
	"net"
	"strconv"
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

// connectionSettings takes them in. A number that is 0 stands for Go's default, which finds a dead server in minutes; the
// system's, which libpq takes then, needs hours.
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

// withoutConnectionSettings returns a configuration that does not send them to the server.
func withoutConnectionSettings(c *pgconn.Config) *pgconn.Config {
	c = c.Copy()
	for _, name := range []string{loadBalanceHosts, keepAlives, keepAlivesIdle, keepAlivesInterval, keepAlivesCount} {
		delete(c.RuntimeParams, name)
	}
	return c
}
