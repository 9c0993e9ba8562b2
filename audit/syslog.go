package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// syslog is a sink that speaks RFC 5424: over a Unix socket, in datagrams or else in a stream, or over TCP. In streams each
// message begins with its length (RFC 6587, 3.4.1).
type syslog struct {
	address string
	host    string
	conn    net.Conn
	framed  bool
}

// syslogTimeout bounds a connection, and a message.
const syslogTimeout = 5 * time.Second

func newSyslog(address string) (*syslog, error) {
	if err := checkSyslog(address); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-" // nil value, RFC 5424, 6.2.4
	}
	return &syslog{address: address, host: host}, nil
}

// checkSyslog reports what is wrong with the address of a syslog server: unix:/dev/log, or tcp:127.0.0.1:514.
func checkSyslog(address string) error {
	network, where, ok := strings.Cut(address, ":")
	switch {
	case ok && network == "unix" && strings.HasPrefix(where, "/"):
		return nil
	case ok && network == "tcp":
		if _, _, err := net.SplitHostPort(where); err == nil {
			return nil
		}
	}
	return fmt.Errorf(`"%s" is no address like unix:/dev/log or tcp:127.0.0.1:514`, address)
}

func (s *syslog) dial() (err error) {
	network, where, _ := strings.Cut(s.address, ":")
	s.framed = true
	if network == "unix" {
		if s.conn, err = net.DialTimeout("unixgram", where, syslogTimeout); err == nil {
			s.framed = false
			return nil
		}
	}
	s.conn, err = net.DialTimeout(network, where, syslogTimeout)
	return err
}

// header is of facility 10, security messages, and severity 5, notice (RFC 5424, 6.2.1).
func (s *syslog) header(now time.Time) string {
	const priority = 10*8 + 5
	return fmt.Sprintf("<%d>1 %s %s pgscope-proxy %d audit - ", priority, now.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, os.Getpid())
}

// write sends one line. After an error the line may have arrived or not; it is sent again, and its number tells.
func (s *syslog) write(text []byte, now time.Time) error {
	if s.conn == nil {
		if err := s.dial(); err != nil {
			return err
		}
	}
	message := append([]byte(s.header(now)), bytes.TrimSuffix(text, []byte("\n"))...)
	if s.framed {
		message = append(fmt.Appendf(nil, "%d ", len(message)), message...)
	}
	err := s.conn.SetWriteDeadline(now.Add(syslogTimeout))
	if err == nil {
		_, err = s.conn.Write(message)
	}
	if err != nil {
		err = errors.Join(err, s.conn.Close())
		s.conn = nil
	}
	return err
}

func (s *syslog) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
