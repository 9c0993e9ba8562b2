package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"strconv"
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
		log := newLogger(&out, format, zap.InfoLevel)
		log.Debug("not yet")
		log.level.SetLevel(zap.DebugLevel)
		log.Debug("ready", zap.Any("upstream", dsn), zap.Any("all", config.Config{AdminDSN: dsn}), zap.Duration("took", time.Second))

		log.lines.Close()
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
			t.Errorf("log record %+v", record)
		}
	}
}

// TestLogNobodyReads writes more to a log that nobody reads than can wait, and then reads it: lines are whole, and
// none is missing without being counted.
func TestLogNobodyReads(t *testing.T) {
	for _, format := range []config.LogFormat{config.LogJSON, config.LogConsole} {
		r, w := io.Pipe()
		log := newLogger(w, format, zap.InfoLevel)
		text := strings.Repeat("x", 1000)
		const written = 2 * maxLog / 1000
		for i := range written {
			if i == written/2 {
				log.Info(strings.Repeat("y", 2*maxLogWrite)) // longer than what is written at once
			}
			log.Info(text)
		}
		ended := make(chan error, 1)
		go func() {
			log.lines.Close()
			ended <- w.Close()
		}()
		seen, told := 0, 0
		for scan := bufio.NewScanner(r); scan.Scan(); {
			line := scan.Text()
			switch _, count, lost := strings.Cut(line, `lines":`); {
			case strings.Contains(line, text+`"`), strings.HasSuffix(line, "\t"+text), strings.Contains(line, "yyy"):
				seen++
			case lost:
				n, err := strconv.Atoi(strings.Trim(count, " }"))
				if err != nil {
					t.Fatal(err)
				}
				told += n
			default:
				t.Errorf("%.200s", line)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if missing := int(log.lines.missing.Load()); told == 0 || told != missing || seen+told != written+1 {
			t.Errorf("%s: %d lines, %d told to be lost, of %d", format, seen, told, written+1)
		}
	}
}
