package main

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/config"
)

// logger is the log of serve.
type logger struct {
	*zap.Logger
	level zap.AtomicLevel
	lines *logQueue
}

// newLogger returns a logger that writes to w, one record a line. Until lines is closed, some may wait.
func newLogger(w io.Writer, format config.LogFormat, level zapcore.Level) *logger {
	fields := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "msg",
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	}
	encoder := zapcore.NewJSONEncoder(fields)
	if format == config.LogConsole {
		encoder = zapcore.NewConsoleEncoder(fields)
	}
	lines := newLogQueue(w, func(lost int) []byte {
		entry := zapcore.Entry{Level: zap.WarnLevel, Time: time.Now(), Message: "lines of the log are lost: it was not read"}
		line, err := encoder.EncodeEntry(entry, []zap.Field{zap.Int("lines", lost)})
		if err != nil { // a number is encoded by all
			return nil
		}
		return line.Bytes()
	})
	changing := zap.NewAtomicLevelAt(level)
	return &logger{zap.New(zapcore.NewCore(encoder, lines, changing)), changing, lines}
}
