package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// version is set when the program is linked (-X main.version=…); else what Go knows of the module counts.
var version string

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  pgscope-proxy version",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), thisVersion())
			return err
		},
	}
}

func thisVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionLine(version, info)
}

// versionLine tells the version, the commit where it is known, and what the program was built with. info may be nil.
func versionLine(linked string, info *debug.BuildInfo) string {
	name, commit := linked, ""
	if info != nil {
		if name == "" {
			name = info.Main.Version
		}
		commit = commitOf(info)
	}
	if name == "" {
		name = "(devel)" // as Go calls a module that has no version
	}
	if commit != "" {
		name += " (" + commit + ")"
	}
	return fmt.Sprintf("%s %s %s %s/%s", program, name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func commitOf(info *debug.BuildInfo) string {
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value
		}
	}
	if revision == "" {
		return ""
	}
	const short = 12
	commit := "commit " + revision[:min(short, len(revision))]
	if modified == "true" {
		commit += ", modified"
	}
	return commit
}

// buildInfo is the version as a metric: of several proxies side by side, which are the old ones?
func buildInfo() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pgscope_build_info", Help: "1, with the version that runs.",
		ConstLabels: prometheus.Labels{"version": versionName(), "go_version": runtime.Version()},
	})
	g.Set(1)
	return g
}

// versionName is the version that runs.
func versionName() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}
