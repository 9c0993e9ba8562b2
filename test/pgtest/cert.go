package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of one cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const certLife = 30 * 24 * time.Hour // longer than a test or a demo

func newAuthority() (*authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "pgtest authority"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := sign(template, &authority{template, key}, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(template *x509.Certificate) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := sign(template, a, k)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", pkcs8), err
}

func sign(template *x509.Certificate, by *authority, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour) // clocks differ
	template.NotAfter = time.Now().Add(certLife)
	return x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// initTLS gives the server a certificate, and lets it take those that ClientCert makes.
func (c *Cluster) initTLS(settings map[string]string) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	cert, key, err := ca.issueServer()
	if err != nil {
		return err
	}
	c.ca, c.CACert = ca, filepath.Join(c.dir, "ca.crt")
	settings["ssl"] = "on"
	settings["ssl_ca_file"] = c.CACert
	settings["ssl_cert_file"] = filepath.Join(c.dir, "server.crt")
	settings["ssl_key_file"] = filepath.Join(c.dir, "server.key")
	return errors.Join(
		c.write("ca.crt", encodePEM("CERTIFICATE", ca.cert.Raw)),
		os.Chmod(c.CACert, 0o644),
		c.write("server.crt", cert),
		c.write("server.key", key),
	)
}

// issueServer returns a certificate for a server on this machine.
func (a *authority) issueServer() (cert, key []byte, err error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// ServerCert returns a certificate for another server on this machine, a proxy, with its key, in PEM. It is from the same
// authority as the cluster's, which must have TLS.
func (c *Cluster) ServerCert() (cert, key []byte, err error) {
	if c.ca == nil {
		return nil, nil, errors.New("the cluster has no TLS")
	}
	return c.ca.issueServer()
}

// ClientCert writes a client certificate for the user (its common name, before any others), and the key, into dir and
// returns the files, for sslcert and sslkey. The cluster must have TLS.
func (c *Cluster) ClientCert(dir, user string, others ...string) (certFile, keyFile string, err error) {
	if c.ca == nil {
		return "", "", errors.New("the cluster has no TLS")
	}
	var subject pkix.Name
	for _, name := range append([]string{user}, others...) {
		subject.ExtraNames = append(subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name})
	}
	cert, key, err := c.ca.issue(&x509.Certificate{
		Subject:     subject,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", "", fmt.Errorf("client certificate for %s: %w", user, err)
	}
	certFile, keyFile = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	return certFile, keyFile, errors.Join(os.WriteFile(certFile, cert, 0o600), os.WriteFile(keyFile, key, 0o600))
}
