package pgtest

import (
	"context"
	"errors"
	"os"
	"strings"
)

// Standby starts a hot standby of the cluster, which it restarts to copy it. The standby is closed at the test's end.
func (c *Cluster) Standby(t TB) *Cluster {
	t.Helper()
	s, err := c.standby(context.Background())
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("standby's log:\n%s", s.Log())
		}
		if err := s.Close(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s
}

func (c *Cluster) standby(ctx context.Context) (*Cluster, error) {
	dir, err := c.acct.tempDir(ctx, "")
	if err != nil {
		return nil, err
	}
	s := &Cluster{
		Host: c.Host, SocketDir: dir, BinDir: c.BinDir, Major: c.Major, CACert: c.CACert, dir: dir, acct: c.acct, ca: c.ca,
	}
	if s.reaper, err = newReaper(c.acct, c.program("pg_ctl"), dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := errors.Join(c.copyTo(ctx, s), s.startSomewhere()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// copyTo makes s a standby, by a copy of the files: not every installation has pg_basebackup.
func (c *Cluster) copyTo(ctx context.Context, s *Cluster) error {
	if err := c.Stop(); err != nil {
		return err
	}
	_, err := c.acct.run(ctx, "cp", "-a", c.data(), s.data())
	if err := errors.Join(err, c.start()); err != nil {
		return err
	}
	return errors.Join(
		s.write("data/standby.signal", nil),
		s.append("data/postgresql.conf", configuration(map[string]string{
			"unix_socket_directories": s.SocketDir,
			"primary_conninfo":        c.DSN("host="+c.SocketDir, "sslmode=disable"),
		})),
	)
}

// Promote makes a standby a primary, and returns when it takes writes.
func (c *Cluster) Promote() error {
	out, err := c.acct.run(context.Background(), c.program("pg_ctl"), "promote", "-w", "-s", "-t", seconds(startTimeout), "-D", c.data())
	if err == nil && strings.TrimSpace(out) != "" {
		err = errors.New(out)
	}
	return err
}
