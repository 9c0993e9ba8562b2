package scram

import (
	"crypto"
	"crypto/x509"
	"fmt"

	_ "crypto/sha256" // registers the hash
	_ "crypto/sha512" // likewise
)

// EndPoint returns the channel binding tls-server-end-point (RFC 5929, section 4) of a TLS connection on which the server
// has shown the certificate: its hash, by the function that its signature uses, but SHA-256 in place of older ones.
// A signature that does not name a hash has no such binding; then it is an error.
func EndPoint(certificate *x509.Certificate) ([]byte, error) {
	hash, ok := endPointHashes[certificate.SignatureAlgorithm]
	if !ok {
		return nil, fmt.Errorf("a certificate with the signature algorithm %v has no channel binding", certificate.SignatureAlgorithm)
	}
	h := hash.New()
	h.Write(certificate.Raw)
	return h.Sum(nil), nil
}

var endPointHashes = map[x509.SignatureAlgorithm]crypto.Hash{
	x509.MD5WithRSA:       crypto.SHA256,
	x509.SHA1WithRSA:      crypto.SHA256,
	x509.ECDSAWithSHA1:    crypto.SHA256,
	x509.SHA256WithRSA:    crypto.SHA256,
	x509.SHA256WithRSAPSS: crypto.SHA256,
	x509.ECDSAWithSHA256:  crypto.SHA256,
	x509.SHA384WithRSA:    crypto.SHA384,
	x509.SHA384WithRSAPSS: crypto.SHA384,
	x509.ECDSAWithSHA384:  crypto.SHA384,
	x509.SHA512WithRSA:    crypto.SHA512,
	x509.SHA512WithRSAPSS: crypto.SHA512,
	x509.ECDSAWithSHA512:  crypto.SHA512,
}
