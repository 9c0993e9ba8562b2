package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/config"
)

func TestLogger(t *testing.T) {
	dsn, err := config.ParseDSN("host=db password=secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []config.LogFormat{config.LogJSON, config.LogConsole} {
		var out bytes.Buffer
		level := zap.NewAtomicLevel()
		log := newLogger(&out, format, level)
		log.Debug("not yet")
		level.SetLevel(zap.DebugLevel)
		log.Debug("ready", zap.Any("upstream", dsn), zap.Any("all", config.Config{AdminDSN: dsn}), zap.Duration("took", time.Second))

		line := out.String()
		if strings.Count(line, "\n") != 1 || strings.Contains(line, "secret") || !strings.Contains(line, "host=db password=xxxxx") {
			t.Errorf("%s: %s", format, line)
		}
		if format != config.LogJSON {
			continue
		}
		var record struct {
			Time, Level, Msg string
			Took             float64
		}
		if err := json.Unmarshal(out.Bytes(), &record); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse(time.RFC3339Nano, record.Time); err != nil {
			t.Error(err)
		}
		if record.Level != "debug" || record.Msg != "ready" || record.Took != 1 {
			t.Errorf("%v", record)
		}
	}
}
