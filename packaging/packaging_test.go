package packaging_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/pgscope/pgscope-proxy/config"
)

// object is what this test reads of a Kubernetes object.
type object struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				InitContainers, Containers []container
			}
		}
	}
}

type container struct {
	Name      string
	Env       []struct{ Name, Value string }
	Resources struct{ Limits map[string]string }
}

func (o *object) containers() []container {
	pod := o.Spec.Template.Spec
	return append(pod.InitContainers, pod.Containers...)
}

// The settings that the packages and the Kubernetes objects bring are settings that the program takes.
func TestSettings(t *testing.T) {
	settings := map[string]string{"systemd/pgscope.yaml": read(t, "systemd/pgscope.yaml")}
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	variables := make(map[string][]string) // that name files with secrets
	for _, file := range files {
		for part := range strings.SplitSeq(read(t, file), "\n---\n") {
			var o object
			if err := yaml.Unmarshal([]byte(part), &o); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if text, ok := o.Data["pgscope.yaml"]; ok {
				settings[file] = text
			}
			for _, c := range o.containers() {
				limits(t, file, c)
				for _, v := range c.Env {
					if strings.HasSuffix(v.Name, "_FILE") {
						variables[file] = append(variables[file], v.Name)
					}
				}
			}
		}
	}
	if len(settings) != 3 {
		t.Errorf("settings in %d files", len(settings))
	}
	for file, text := range settings {
		path, secret := filepath.Join(t.TempDir(), "pgscope.yaml"), filepath.Join(t.TempDir(), "secret")
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(secret, []byte("host=db"), 0o600)); err != nil {
			t.Fatal(err)
		}
		for _, name := range variables[file] {
			t.Setenv(name, secret)
		}
		flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		config.AddFlags(flags)
		if err := flags.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(flags); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// limits: who limits the memory of the proxy tells Go, and bounds how many long statements are read at a time.
func limits(t *testing.T, file string, c container) {
	t.Helper()
	if c.Resources.Limits["memory"] == "" {
		return
	}
	env := make(map[string]string)
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	if env["GOMEMLIMIT"] == "" || env["GOMAXPROCS"] == "" {
		t.Errorf("%s: %s has a limit of memory of which Go knows nothing", file, c.Name)
	}
}

// TestPackageVersion: a package can be installed, whatever the commit that it is made of is called.
func TestPackageVersion(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-4-gab4becb": "1.2.3-4-gab4becb", "ab4becb": "0.0.0-gab4becb", "0123456-dirty": "0.0.0-g0123456-dirty", "unknown": "0.0.0-gunknown",
	} {
		cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "dist", "VERSION="+version)
		cmd.Dir = ".."
		said, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(said), " VERSION="+want+" go run ") {
			t.Errorf("%s: %v, %s", version, err, said)
		}
	}
}

// TestMaintainerScripts: what the packages' scripts tell systemd, by the words that dpkg and rpm call them with.
func TestMaintainerScripts(t *testing.T) {
	const asks, restarts = "is-active --quiet pgscope-proxy.service; ", "try-restart pgscope-proxy.service; "
	const upgrades = "daemon-reload; " + asks + "reload pgscope-proxy.service; " + restarts
	for _, c := range []struct {
		script, args string
		fails        string // what systemctl cannot do
		tells        string
	}{
		{script: "postinstall", args: "configure", tells: upgrades},
		{script: "postinstall", args: "configure 1.2.3", tells: upgrades},
		{script: "postinstall", args: "2", tells: upgrades},
		{script: "postinstall", args: "1", fails: "daemon-reload", tells: "daemon-reload; "},
		{script: "postinstall", args: "1", fails: "is-active", tells: "daemon-reload; " + asks + restarts},
		{script: "postinstall", args: "configure 1.2.3", fails: "reload", tells: "daemon-reload; " + asks + "reload pgscope-proxy.service; "},
		{script: "postinstall", args: "configure 1.2.3", fails: "try-restart", tells: upgrades},
		{script: "preremove", args: "remove", tells: "disable --now pgscope-proxy.socket pgscope-proxy.service; "},
		{script: "preremove", args: "0", tells: "disable --now pgscope-proxy.socket pgscope-proxy.service; "},
		{script: "preremove", args: "0", fails: "disable", tells: "disable --now pgscope-proxy.socket pgscope-proxy.service; "},
		{script: "preremove", args: "upgrade 1.2.4"},
		{script: "preremove", args: "1"},
		{script: "postremove", args: "remove", tells: "daemon-reload; "},
		{script: "postremove", args: "purge", fails: "daemon-reload", tells: "daemon-reload; "},
	} {
		dir := t.TempDir()
		stub := "#!/bin/sh\necho -n \"$*; \" >> \"$0.said\"\n[ \"$1\" != \"" + c.fails + "\" ]\n"
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(stub), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "systemd/"+c.script+".sh", strings.Fields(c.args)...)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %s, without %q: %v, %s", c.script, c.args, c.fails, err, out)
		}
		said, err := os.ReadFile(filepath.Join(dir, "systemctl.said"))
		if err != nil && c.tells != "" || string(said) != c.tells {
			t.Errorf("%s %s, without %q, says %q, want %q", c.script, c.args, c.fails, said, c.tells)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
