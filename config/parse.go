package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/scope"
)

// oneOf parses one of a few words.
func oneOf[W ~string](words ...W) func(string) (W, error) {
	return func(text string) (W, error) {
		names := make([]string, len(words))
		for i, w := range words {
			if string(w) == text {
				return w, nil
			}
			names[i] = string(w)
		}
		return "", fmt.Errorf(`"%s" is none of %s`, text, strings.Join(names, ", "))
	}
}

var parseMode = oneOf(scope.Modes...)

func parseLevel(text string) (zapcore.Level, error) {
	levels := []zapcore.Level{zapcore.DebugLevel, zapcore.InfoLevel, zapcore.WarnLevel, zapcore.ErrorLevel}
	names := make([]string, len(levels))
	for i, l := range levels {
		if names[i] = l.String(); names[i] == text {
			return l, nil
		}
	}
	_, err := oneOf(names...)(text)
	return 0, err
}

// parseBool parses a truth value, in the two words that mean one in YAML and everywhere.
func parseBool(text string) (bool, error) {
	word, err := oneOf("true", "false")(text)
	return word == "true", err
}

// parseName parses a name as the server has it (NAMEDATALEN, src/include/pg_config_manual.h).
func parseName(text string) (string, error) {
	switch {
	case len(text) > scope.MaxName:
		return "", fmt.Errorf("a name has at most %d bytes, this one has %d", scope.MaxName, len(text))
	case strings.ContainsRune(text, 0):
		return "", errors.New("a name holds no NUL")
	}
	return text, nil
}

func parsePath(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("a path holds no NUL")
	}
	return text, nil
}

// maxSocketPath is the length of sun_path without its NUL (unix(7)), in bytes.
const maxSocketPath = 107

func parseListen(text string) ([]string, error) {
	var list []string
	for address := range strings.SplitSeq(text, ",") {
		address = strings.TrimSpace(address)
		path, isUnix := strings.CutPrefix(address, "unix:")
		switch {
		case !isUnix && !strings.HasPrefix(address, "/"):
			if err := checkAddress(address); err != nil {
				return nil, err
			}
			list = append(list, address)
		case !filepath.IsAbs(path):
			return nil, fmt.Errorf(`"%s": the path of a Unix socket is absolute`, address)
		case len(path) > maxSocketPath:
			return nil, fmt.Errorf(`"%s": the path of a Unix socket has at most %d bytes`, address, maxSocketPath)
		default:
			list = append(list, path)
		}
	}
	return list, nil
}

func parseHTTPListen(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return text, checkAddress(text)
}

func checkAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf(`"%s" is no address like 127.0.0.1:6432`, text)
	}
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`"%s" is no duration like 30s, 1m30s or 500ms`, text)
	}
	return d, nil
}

// atLeast bounds what parse returns.
func atLeast(least time.Duration, parse func(string) (time.Duration, error)) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := parse(text)
		if err == nil && d < least {
			err = fmt.Errorf("%v is less than %v", d, least)
		}
		return d, err
	}
}

const (
	minStatement = 8 << 10
	maxStatement = 1 << 30 // the server's own limit is one byte less than its largest allocation of 1 GiB (MaxAllocSize, memutils.h)
)

func parseStatementSize(text string) (int, error) {
	n, err := parseSize(text)
	if err == nil && (n < minStatement || n > maxStatement) {
		err = fmt.Errorf("%s is not from 8KiB to 1GiB", text)
	}
	return n, err
}

// parseSize reads a number of bytes: 1024, 1024B, 64KiB, 16MiB, 1GiB.
func parseSize(text string) (int, error) {
	digits := strings.TrimRight(text, "BKMGi")
	factor, known := map[string]int{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[text[len(digits):]]
	n, err := strconv.Atoi(digits)
	if err != nil || !known || n < 0 || n > math.MaxInt/factor {
		return 0, fmt.Errorf(`"%s" is no size like 65536, 64KiB, 16MiB or 1GiB`, text)
	}
	return n * factor, nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf(`"%s" is no number like 0 or 30`, text)
	}
	return n, nil
}

func parseSyslog(text string) (string, error) {
	network, where, _ := strings.Cut(text, ":")
	switch {
	case text == "", network == "unix" && filepath.IsAbs(where):
		return text, nil
	case network == "tcp":
		return text, checkAddress(where)
	}
	return "", fmt.Errorf(`"%s" is no address like unix:/dev/log or tcp:127.0.0.1:514`, text)
}

// parseCollector reads a URL. What authorizes somebody is a secret, and has its own place.
func parseCollector(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", nil
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return "", errors.New("it is no URL like http://127.0.0.1:4318")
	case u.User != nil:
		return "", errors.New("no user and password have a place in it; OTEL_EXPORTER_OTLP_HEADERS has")
	}
	return text, nil
}

func parseRatio(text string) (float64, error) {
	r, err := strconv.ParseFloat(text, 64)
	if err != nil || !(r >= 0 && r <= 1) {
		return 0, fmt.Errorf(`"%s" is no number from 0 to 1`, text)
	}
	return r, nil
}

func parsePrefix(text string) (string, error) {
	const longest = scope.MaxName - len(scope.Separator) - 1 // one byte is left for the role
	name := scope.Cluster(text + scope.Separator)
	switch {
	case len(text) > longest:
		return "", fmt.Errorf("a prefix has at most %d bytes, this one has %d", longest, len(text))
	case strings.ContainsRune(text, 0):
		return "", errors.New("a prefix holds no NUL")
	case text != "" && (scope.Predefined(name) || strings.HasPrefix(string(name), scope.Reserved)):
		return "", fmt.Errorf(`names that begin with "%s" are reserved`, name)
	}
	return text, nil
}

// maxLimit is more than any limit can be meant to be.
const maxLimit = 1_000_000

func parseLimit(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxLimit {
		return 0, fmt.Errorf(`"%s" is no number from 0 to %d`, text, maxLimit)
	}
	return n, nil
}

const maxPool = 100_000

func parsePool(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPool {
		return 0, fmt.Errorf(`"%s" is no number from 1 to %d`, text, maxPool)
	}
	return n, nil
}

func parseNetworks(text string) (list []netip.Prefix, err error) {
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		network, err := parseNetwork(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		list = append(list, network)
	}
	return list, nil
}

// parseNetwork reads an address, or a network whose host part is zero: 10.0.0.1/8 is a slip.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf(`"%s" is a network of IPv4 addresses in IPv6; write it as one of IPv4`, text)
	}
	if err != nil || p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf(`"%s" is no address and no network like 10.0.0.0/8`, text)
	}
	return p, nil
}
