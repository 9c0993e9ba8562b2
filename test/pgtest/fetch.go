package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// MirrorEnv names the environment variable that says which Maven repository to fetch from, instead of the public one.
const MirrorEnv = "PGSCOPE_TEST_PG_MIRROR"

// releases are the servers that can be fetched, by major version.
var releases = map[string]embeddedpostgres.PostgresVersion{
	"14": embeddedpostgres.V14,
	"15": embeddedpostgres.V15,
	"16": embeddedpostgres.V16,
	"17": embeddedpostgres.V17,
	"18": embeddedpostgres.V18,
}

// cacheDir is where fetched servers stay, each in a directory named after its major version. Root's own cache is closed
// to the account that the server runs as.
func cacheDir(acct account) (string, error) {
	root := "/var/cache"
	if acct.credential == nil {
		var err error
		if root, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(root, "pgscope-proxy", "postgresql"), nil
}

// fetch downloads a server into the cache and proves that it works. Processes that want it at the same time wait for
// the first; a server is seen in the cache only when it is whole.
func fetch(ctx context.Context, acct account, cache, major string) (in install, err error) {
	if major == "" {
		major = slices.MaxFunc(slices.Collect(maps.Keys(releases)), byMajor)
	}
	version, ok := releases[major]
	if !ok {
		return install{}, fmt.Errorf("PostgreSQL %s is not among the versions to be had: %v", major,
			slices.SortedFunc(maps.Keys(releases), byMajor))
	}
	if err := errors.Join(ctx.Err(), os.MkdirAll(cache, 0o755)); err != nil {
		return install{}, err
	}
	unlock, err := lock(filepath.Join(cache, ".lock"))
	if err != nil {
		return install{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	home := filepath.Join(cache, major)
	if in, err := probe(ctx, acct, filepath.Join(home, "bin")); err == nil {
		return in, nil // another process was faster
	}

	tmp := filepath.Join(cache, ".fetch")
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o755)); err != nil { // an interrupted fetch leaves some of it
		return install{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	unpacked := filepath.Join(tmp, "server")
	if err := download(ctx, version, tmp, unpacked); err != nil {
		return install{}, err
	}
	if err := prove(ctx, acct, filepath.Join(unpacked, "bin")); err != nil {
		return install{}, err
	}
	if err := errors.Join(os.RemoveAll(home), os.Rename(unpacked, home)); err != nil {
		return install{}, err
	}
	return probe(ctx, acct, filepath.Join(home, "bin"))
}

// download puts the programs into dir. The library downloads only as the first part of starting a server, and that
// server fails to start for root; what it says is therefore of interest only where the programs are not there after it.
func download(ctx context.Context, version embeddedpostgres.PostgresVersion, tmp, dir string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	config := embeddedpostgres.DefaultConfig().
		Version(version).
		Port(uint32(port)).
		CachePath(tmp).
		RuntimePath(filepath.Join(tmp, "run")).
		BinariesPath(dir).
		Logger(io.Discard)
	if mirror := os.Getenv(MirrorEnv); mirror != "" {
		config = config.BinaryRepositoryURL(mirror)
	}
	server := embeddedpostgres.NewDatabase(config)
	started := make(chan error, 1)
	go func() { started <- server.Start() }()
	select {
	case err = <-started:
	case <-ctx.Done(): // the library cannot be interrupted
		return context.Cause(ctx)
	}
	if err == nil {
		return server.Stop()
	}
	if _, missing := os.Stat(filepath.Join(dir, "bin", "postgres")); missing != nil {
		return err
	}
	return nil
}

// prove makes a cluster with the programs in bin: they are whole, and this machine can run them.
func prove(ctx context.Context, acct account, bin string) error {
	dir, err := acct.tempDir(ctx, "")
	if err != nil {
		return err
	}
	_, err = acct.run(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "--no-sync")
	return errors.Join(err, os.RemoveAll(dir))
}

// lock takes the lock that the file stands for; other processes wait for it.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
