package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// certificate is the proxy's, read again when the configuration is reloaded.
type certificate struct {
	pair atomic.Pointer[tls.Certificate]
}

// load reads the files; after an error the certificate is the one that it was.
func (c *certificate) load(o config.ClientTLS) error {
	if o.Mode == config.TLSOff {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return fmt.Errorf("certificate for clients: %w", err)
	}
	c.pair.Store(&pair)
	return nil
}

// clientTLS returns what clients are offered.
func clientTLS(o config.ClientTLS, c *certificate) (proxy.TLSMode, *tls.Config, error) {
	if o.Mode == config.TLSOff {
		return proxy.TLSOff, nil, nil
	}
	if err := c.load(o); err != nil {
		return "", nil, err
	}
	t := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return "", nil, fmt.Errorf("authorities of clients' certificates: %w", err)
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return "", nil, errors.New("authorities of clients' certificates: " + o.CA + " holds none")
		}
		t.ClientAuth = tls.VerifyClientCertIfGiven
	}
	switch o.Mode {
	case config.TLSAllow:
		return proxy.TLSAllow, t, nil
	case config.TLSVerifyFull:
		t.ClientAuth = tls.RequireAndVerifyClientCert
		return proxy.TLSRequire, t, nil
	default:
		return proxy.TLSRequire, t, nil
	}
}
