package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// target is whom to load, and as whom.
type target struct {
	address, user, password, database string
	tls                               bool // whoever the server is
}

func targetFlags(flags *flag.FlagSet) *target {
	t := new(target)
	flags.StringVar(&t.address, "addr", "127.0.0.1:25501", "host and port")
	flags.StringVar(&t.user, "user", "benchtrust", "role")
	flags.StringVar(&t.password, "pw", os.Getenv("PGPASSWORD"), "password")
	flags.StringVar(&t.database, "db", "bench", "database")
	flags.BoolVar(&t.tls, "tls", false, "use TLS")
	return t
}

// session is a connection whose frames are read one by one, in a buffer of its own: nothing of
// a message has to fit into memory.
type session struct {
	net.Conn
	r   *bufio.Reader
	key []byte // the body of BackendKeyData
}

// connect logs in. The session reads pieces of so many bytes.
func (t *target) connect(buffer int) (*session, error) { return t.connectAs(buffer, nil) }

// connectAs logs in with further parameters.
func (t *target) connectAs(buffer int, parameters map[string]string) (*session, error) {
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword(t.user, t.password), Host: t.address, Path: "/" + t.database}
	dsn.RawQuery = "sslmode=disable"
	if t.tls {
		dsn.RawQuery = "sslmode=require"
	}
	config, err := pgconn.ParseConfig(dsn.String())
	if err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, parameters)
	conn, err := pgconn.ConnectConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	if err := conn.SyncConn(context.Background()); err != nil { // pgx may be reading in the background
		return nil, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	key := binary.BigEndian.AppendUint32(nil, h.PID)
	return &session{h.Conn, bufio.NewReaderSize(h.Conn, buffer), append(key, h.SecretKey...)}, nil
}

// message is a frame of the given type.
func message(typ byte, body []byte) []byte {
	frame := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))
	return append(frame, body...)
}

// head reads the head of a message: its type and the length of its body.
func (s *session) head() (typ byte, length int, err error) {
	var h [5]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return 0, 0, err
	}
	return h[0], int(binary.BigEndian.Uint32(h[1:])) - 4, nil
}

// until reads to a message of one of some types, or fails with what the server says. It returns how many bytes came.
func (s *session) until(types string) (total int64, err error) {
	for {
		typ, length, err := s.head()
		if err != nil {
			return total, err
		}
		total += int64(length + 5)
		if typ == 'E' {
			body := make([]byte, length)
			if _, err := io.ReadFull(s.r, body); err != nil {
				return total, err
			}
			return total, errors.New("server: " + strings.ReplaceAll(string(body), "\x00", " "))
		}
		if _, err := s.r.Discard(length); err != nil {
			return total, err
		}
		if strings.IndexByte(types, typ) >= 0 {
			return total, nil
		}
	}
}

// query sends a simple query and drops its answer, up to ReadyForQuery or CopyInResponse. It returns how many bytes came.
func (s *session) query(sql string) (int64, error) {
	if _, err := s.Write(message('Q', append([]byte(sql), 0))); err != nil {
		return 0, err
	}
	return s.until("ZG")
}

// end says goodbye.
func (s *session) end() error {
	_, err := s.Write(message('X', nil))
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("end of the session: %w", err)
	}
	return nil
}
