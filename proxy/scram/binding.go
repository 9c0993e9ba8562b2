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
	var hash crypto.Hash
	switch certificate.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		hash = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	default:
		return nil, fmt.Errorf("a certificate with the signature algorithm %v has no channel binding", certificate.SignatureAlgorithm)
	}
	h := hash.New()
	h.Write(certificate.Raw)
	return h.Sum(nil), nil
}
