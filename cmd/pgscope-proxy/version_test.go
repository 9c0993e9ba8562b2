package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionLine(t *testing.T) {
	built := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, c := range []struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		{"", nil, "pgscope-proxy (devel) go"},
		{"", built("v1.2.3"), "pgscope-proxy v1.2.3 go"},
		{"v2.0.0", built("v1.2.3"), "pgscope-proxy v2.0.0 go"},
		{"v2.0.0", built("", commit), "pgscope-proxy v2.0.0 (commit 0123456789ab) go"},
		{"", built("(devel)", commit, modified), "pgscope-proxy (devel) (commit 0123456789ab, modified) go"},
	} {
		if got := versionLine(c.linked, c.info); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
