package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/config"
)

// TestClientTLSKeys: who has a key that cannot be used is told which can.
func TestClientTLSKeys(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := config.ClientTLS{Mode: config.TLSRequire, Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key")}
	write := func(path string, block *pem.Block) {
		t.Helper()
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(files.Cert, &pem.Block{Type: "CERTIFICATE", Bytes: signed})
	algorithm := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1} // of PKCS #1: 1 is RSA, 10 RSASSA-PSS
	pss := bytes.Replace(der, append(algorithm, 1), append(algorithm, 10), 1)
	for name, block := range map[string]*pem.Block{
		"RSASSA-PSS": {Type: "PRIVATE KEY", Bytes: pss},
		"encrypted":  {Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("any")},
	} {
		write(files.Key, block)
		_, _, err := clientTLS(files)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
