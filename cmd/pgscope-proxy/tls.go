package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// clientTLS returns what clients are offered. It reads the files.
func clientTLS(o config.ClientTLS) (proxy.TLSMode, *tls.Config, error) {
	if o.Mode == config.TLSOff {
		return proxy.TLSOff, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return "", nil, fmt.Errorf("client-tls.cert, client-tls.key: %w", err)
	case err != nil:
		return "", nil, fmt.Errorf("client-tls.cert, client-tls.key: %w (keys are of RSA, not RSASSA-PSS, of ECDSA or Ed25519, and not encrypted)", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return "", nil, fmt.Errorf("client-tls.ca: %w", err)
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return "", nil, errors.New("client-tls.ca: " + o.CA + " holds no certificate")
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
