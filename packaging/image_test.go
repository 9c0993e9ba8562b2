//go:build image && linux

package packaging_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// maxImage is how large the image may be, in bytes.
const maxImage = 40 << 20

// The user of the image, as the Dockerfile says.
const imageUser = 65532

// TestImage builds what the Dockerfile builds, lays out what it puts into the image, and runs it as a container would: in
// its own root, which it cannot write to, as its user, in front of a server. It must be run by root.
func TestImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("only root can change the root directory of a process")
	}
	cluster := pgtest.Start(t, pgtest.Options{})
	stage, image, found := strings.Cut(read(t, "../Dockerfile"), "\nFROM scratch\n")
	if !found {
		t.Fatal("the Dockerfile has another base")
	}
	root, env, args, check := layOut(t, image, build(t, stage))
	for i, v := range env {
		env[i] = strings.NewReplacer("0.0.0.0:6432", "127.0.0.1:0", "0.0.0.0:9632", "127.0.0.1:0").Replace(v) // other tests run too
	}
	inside := func(args, env []string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = "/", env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
		return cmd
	}
	cmd := inside(args, append(env, "PGSCOPE_UPSTREAM="+cluster.DSN("sslmode=disable")))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewReader(stderr)
	line, err := log.ReadBytes('\n')
	if err != nil {
		t.Fatal(err, cmd.Wait())
	}
	var ready struct{ Msg, Listen, HTTP string }
	if err := json.Unmarshal(line, &ready); err != nil || ready.Msg != "ready" {
		t.Fatalf("not ready: %s", line)
	}
	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+ready.Listen+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if out, err := inside(check, []string{"PGSCOPE_HTTP_LISTEN=" + ready.HTTP}).CombinedOutput(); err != nil {
		t.Errorf("%s: %v, %s", check, err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, log); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// build runs the commands of the build stage in a directory, which it returns, that has the files they have there.
func build(t *testing.T, stage string) (src string) {
	t.Helper()
	src = buildContext(t)
	for line := range strings.Lines(stage) {
		if command, ok := strings.CutPrefix(line, "RUN "); ok {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
			cmd.Dir = src
			cmd.Env = append(os.Environ(), "VERSION=test")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s%s%v", command, out, err)
			}
		}
	}
	return src
}

// layOut makes a directory with the content of the image, and returns what the image says of its process. src is the
// build stage's /src.
func layOut(t *testing.T, image, src string) (root string, env, args, check []string) {
	t.Helper()
	root, err := os.MkdirTemp("", "image") // a test's own directory is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for line := range strings.Lines(image) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "COPY":
			from, to, _ := strings.Cut(strings.TrimPrefix(rest, "--from=build "), " ")
			if ours, ok := strings.CutPrefix(from, "/src/"); ok {
				from = filepath.Join(src, ours)
			}
			size += install(t, from, filepath.Join(root, to), strings.HasSuffix(to, "/"))
		case "USER":
			if rest != "65532:65532" {
				t.Errorf("user %s", rest)
			}
		case "ENV":
			env = strings.Fields(rest)
		case "ENTRYPOINT", "CMD":
			args = append(args, words(t, rest)...)
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(rest, "CMD ")
			check = words(t, command)
		}
	}
	t.Logf("%d bytes", size)
	if size > maxImage {
		t.Errorf("the image has %d bytes, more than %d", size, maxImage)
	}
	return root, env, args, check
}

// words reads a command as the Dockerfile has it.
func words(t *testing.T, list string) (args []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(list), &args); err != nil {
		t.Fatal(err)
	}
	return args
}

// install copies a file, and returns its size.
func install(t *testing.T, from, to string, folder bool) int64 {
	t.Helper()
	if folder {
		to = filepath.Join(to, filepath.Base(from))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o555); err != nil {
		t.Fatal(err)
	}
	return int64(len(content))
}
