package trace

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector delivers spans by OTLP over HTTP, in protobuf. The library's own client for that
// brings all of gRPC into the program.
type collector struct {
	url     string
	headers http.Header
	client  http.Client
}

// deliveryTime is how long one delivery may take: the exporter's default (OTEL_EXPORTER_OTLP_TIMEOUT).
const deliveryTime = 10 * time.Second

// newCollector reads what the environment says of collectors. See [Options.Endpoint].
func newCollector(endpoint string) (*collector, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	headers, err := parseHeaders(variable("HEADERS"))
	if err != nil {
		return nil, err
	}
	roots, err := authorities(variable("CERTIFICATE"))
	if err != nil {
		return nil, err
	}
	headers.Set("Content-Type", "application/x-protobuf")
	return &collector{u.String(), headers, http.Client{
		Timeout: deliveryTime,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for the collector
	}}, nil
}

// variable is what OpenTelemetry's variables say of something: for traces, or for all.
func variable(name string) string {
	const prefix = "OTEL_EXPORTER_OTLP_"
	return cmp.Or(os.Getenv(prefix+"TRACES_"+name), os.Getenv(prefix+name))
}

// parseHeaders reads key1=value1,key2=value2, with values in percent encoding. They may be secrets, so an error shows none.
func parseHeaders(list string) (http.Header, error) {
	headers := make(http.Header)
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS is no list of key=value")
		}
		headers.Add(strings.TrimSpace(key), value)
	}
	return headers, nil
}

// authorities reads a file with those that sign collectors' certificates; nil for the system's.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it", path)
	}
	return pool, nil
}

func (c *collector) Start(context.Context) error { return nil }

func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces delivers spans, once: what the collector does not take is lost.
func (c *collector) UploadTraces(ctx context.Context, spans []*wire.ResourceSpans) error {
	// On the wire an ExportTraceServiceRequest, whose Go type comes with gRPC, is the same.
	body, err := proto.Marshal(&wire.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = c.headers.Clone()
	answer, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s: the collector answers %s", c.url, answer.Status)
	}
	return nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10
