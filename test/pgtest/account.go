package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is whom the server's programs run as. PostgreSQL refuses to run as root, so root lends them an account that
// every system has; for everybody else they run as the process does. The zero value is the latter.
type account struct {
	name       string
	credential *syscall.Credential
}

// serverAccount returns the account for this process.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if errors.As(err, new(user.UnknownUserError)) {
			continue
		}
		if err != nil {
			return account{}, fmt.Errorf("account %s: %w", name, err)
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uerr, gerr); err != nil {
			return account{}, fmt.Errorf("account %s: %w", name, err)
		}
		return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as")
}

// command prepares a program to run as the account, with an environment in which no setting of the user's own
// PostgreSQL (PGDATA, PGPORT, PGOPTIONS …) and no language reaches it.
func (a account) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"HOME=/", "LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	if libs, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+libs)
	}
	// Away from the terminal's process group: Ctrl-C is for this process, which then ends the server in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential, Setsid: true}
	return cmd
}

// run runs a program to its end and returns what it printed; an error includes it.
func (a account) run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := a.command(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return string(out), nil
}

// own gives a file or directory to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// tempDir makes a directory that the account owns, in parent, or where that is empty in the first of the usual places
// for temporary files that the account can reach: root's own $TMPDIR may be closed to it.
func (a account) tempDir(ctx context.Context, parent string) (string, error) {
	parents := []string{parent}
	if parent == "" {
		parents = []string{os.TempDir(), "/tmp", "/var/tmp"}
	}
	var errs []error
	for _, p := range parents {
		if _, err := a.run(ctx, "/bin/sh", "-c", `cd -- "$1"`, "sh", p); err != nil {
			errs = append(errs, fmt.Errorf("account %s cannot enter it: %w", cmp.Or(a.name, "of this process"), err))
			continue
		}
		dir, err := os.MkdirTemp(p, "pgscope-")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// 0755: clients of other accounts use the socket and the certificates in it; initdb closes the data directory.
		if err := errors.Join(os.Chmod(dir, 0o755), a.own(dir)); err != nil {
			return "", errors.Join(err, os.Remove(dir))
		}
		return dir, nil
	}
	return "", fmt.Errorf("no directory for the server: %w", errors.Join(errs...))
}
