package scram

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// derive makes the keys of a password, as a client with the password does (RFC 5802, section 3).
func derive(t testing.TB, password string, salt []byte, iterations int) Keys {
	t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	k := Keys{client: mac(salted, []byte("Client Key"))}
	k.verifier = Verifier{
		iterations: iterations, salt: salt, stored: sha256.Sum256(k.client[:]), server: mac(salted, []byte("Server Key")),
	}
	return k
}

// TestRFC7677 is the example of RFC 7677, section 3.
func TestRFC7677(t *testing.T) {
	const (
		user, clientNonce = "user", "rOprNGfwEbeRWgbNEkqO"
		serverNonce       = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		first             = "n,,n=user,r=" + clientNonce
		serverFirst       = "r=" + clientNonce + serverNonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		final             = "c=biws,r=" + clientNonce + serverNonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		serverFinal       = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	salt, err := decode("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	keys := derive(t, "pencil", salt, 4096)

	s := NewServer(keys.verifier, nil, false)
	s.nonce = serverNonce
	if got, err := s.First([]byte(first)); string(got) != serverFirst || err != nil {
		t.Errorf("server-first %s, %v", got, err)
	}
	got, shown, err := s.Final([]byte(final))
	if string(got) != serverFinal || err != nil || shown.client != keys.client {
		t.Errorf("server-final %s, %v", got, err)
	}

	c := NewClient(shown, nil)
	c.nonce, c.bare = clientNonce, "n="+user+",r="+clientNonce
	if got, err := c.Final([]byte(serverFirst)); string(got) != final || err != nil {
		t.Errorf("client-final %s, %v", got, err)
	}
	if err := c.Check([]byte(serverFinal)); err != nil {
		t.Error(err)
	}
	if err := c.Check([]byte("v=" + encode(make([]byte, 32)))); err == nil {
		t.Error("a server without the password passes")
	}
}

// converse lets the two ends talk, and returns what the server makes of it.
func converse(c *Client, s *Server) (Keys, error) {
	first, err := s.First(c.First())
	if err != nil {
		return Keys{}, err
	}
	proof, err := c.Final(first)
	if err != nil {
		return Keys{}, err
	}
	final, keys, err := s.Final(proof)
	if err != nil {
		return Keys{}, err
	}
	return keys, c.Check(final)
}

func TestBinding(t *testing.T) {
	keys := derive(t, "secret", []byte("salt"), 1)
	other := derive(t, "guess", []byte("salt"), 1)
	other.verifier.stored = keys.verifier.stored
	newer := derive(t, "secret", []byte("another"), 1)
	here, there := []byte("this certificate"), []byte("another certificate")
	for _, test := range []struct {
		name    string
		keys    Keys
		client  []byte
		offered []byte
		plus    bool
		want    error
	}{
		{"without", keys, nil, nil, false, nil},
		{"bound", keys, here, here, true, nil},
		{"a client that cannot bind", keys, nil, here, false, nil},
		{"another certificate", keys, there, here, true, ErrBinding},
		{"the mechanism without a binding", keys, nil, here, true, errMalformed},
		{"a binding without the mechanism", keys, here, nil, false, errMalformed},
		{"another password", other, nil, nil, false, ErrPassword},
		{"another verifier", newer, nil, nil, false, ErrChanged},
	} {
		shown, err := converse(NewClient(test.keys, test.client), NewServer(keys.verifier, test.offered, test.plus))
		if !errors.Is(err, test.want) || test.want == nil && shown.client != keys.client {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := NewServer(keys.verifier, here, false).First([]byte("y,,n=,r=x")); !errors.Is(err, ErrBinding) {
		t.Errorf("a stripped offer: %v", err)
	}
	if _, err := converse(NewClient(keys, nil), NewServer(Mock([]byte("x"), "user"), nil, false)); !errors.Is(err, ErrChanged) {
		t.Errorf("a mock exchange: %v", err)
	}
}

// TestEndPoint: the hash is that of the signature, or SHA-256 in place of an older one.
func TestEndPoint(t *testing.T) {
	raw := []byte("a certificate")
	sha256s, sha384s, sha512s := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for _, c := range []struct {
		algorithm x509.SignatureAlgorithm
		want      []byte // nil: it has none
	}{
		{x509.SHA1WithRSA, sha256s[:]},
		{x509.ECDSAWithSHA256, sha256s[:]},
		{x509.SHA384WithRSA, sha384s[:]},
		{x509.ECDSAWithSHA512, sha512s[:]},
		{x509.PureEd25519, nil},
	} {
		got, err := EndPoint(&x509.Certificate{Raw: raw, SignatureAlgorithm: c.algorithm})
		if !bytes.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%v: %x, %v", c.algorithm, got, err)
		}
	}
}

func TestMock(t *testing.T) {
	a, again, b := Mock([]byte("secret"), "a"), Mock([]byte("secret"), "a"), Mock([]byte("secret"), "b")
	if !bytes.Equal(a.salt, again.salt) || bytes.Equal(a.salt, b.salt) || len(a.salt) != 16 || a.iterations != 4096 {
		t.Errorf("salts %x, %x, %x", a.salt, again.salt, b.salt)
	}
}

func TestParseVerifier(t *testing.T) {
	key := encode(make([]byte, 32))
	good := "SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key
	if v, err := ParseVerifier(good); err != nil || v.iterations != 4096 || string(v.salt) != "salt" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := ParseVerifier(strings.Replace(good, "4096", "1", 1)); err != nil || v.iterations != 1 {
		t.Errorf("one iteration: %+v, %v", v, err)
	}
	for _, bad := range []string{
		"", "secret", "md5" + strings.Repeat("0", 32), "SCRAM-SHA-1" + good[13:], strings.TrimSuffix(good, ":"+key),
		strings.Replace(good, "4096", "0", 1), strings.Replace(good, "4096", "-1", 1), strings.Replace(good, "c2FsdA==", "c2Fs!", 1),
		good + "A", strings.Replace(good, key, "c2FsdA==", 1), strings.Replace(good, "$c", "$", 1) + ":",
	} {
		if _, err := ParseVerifier(bad); !errors.Is(err, ErrNotSCRAM) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestMalformed says what breaks the protocol to each end.
func TestMalformed(t *testing.T) {
	keys := derive(t, "secret", []byte("salt"), 1)
	for _, m := range []string{
		"", "n", "n,", "n,,", "n,a=x,n=,r=x", "n,,m=x,n=,r=x", "n,,r=x", "n,,n=", "n,,n=,r=", "n,,n=,r=a b", "n,,n=,r=\x00", "n,,n=,r=é",
		"x,,n=,r=x", "p=tls-unique,,n=,r=x", "p=,,n=,r=x",
	} {
		if _, err := NewServer(keys.verifier, nil, false).First([]byte(m)); !errors.Is(err, errMalformed) {
			t.Errorf("client-first %q: %v", m, err)
		}
	}
	proof := encode(make([]byte, 32))
	for _, m := range []string{
		"", "c=biws", "c=biws,r=%s", "c=biws,r=%s,p=", "c=biws,r=%s,p=AAAA", "c=biws,r=x%s,p=" + proof, "r=%s,p=" + proof, ",p=" + proof,
		"c=biws,r=%s,p=" + proof + ",", "c=biws,r=%s,p=" + proof + "=",
	} {
		s := NewServer(keys.verifier, nil, false)
		if _, err := s.First([]byte("n,,n=,r=x")); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(m, "%s") {
			m = fmt.Sprintf(m, s.wholeNonce)
		}
		if _, _, err := s.Final([]byte(m)); !errors.Is(err, errMalformed) {
			t.Errorf("client-final %q: %v", m, err)
		}
	}
	if _, _, err := NewServer(keys.verifier, nil, false).Final([]byte("c=biws,r=,p=" + proof)); !errors.Is(err, errMalformed) {
		t.Errorf("final before first: %v", err)
	}
	for _, m := range []string{"", "r=x", "r=,s=,i=", "r=mine,s=c2FsdA==,i=1", "r=%s,s=c2FsdA==,i=1", "e=other-error", "m=x,r=y"} {
		c := NewClient(keys, nil)
		c.First()
		if _, err := c.Final([]byte(strings.ReplaceAll(m, "%s", c.nonce))); !errors.Is(err, errMalformed) {
			t.Errorf("server-first %q: %v", m, err)
		}
	}
}

// FuzzServer looks for messages that a server of another password lets in, or stumbles over.
func FuzzServer(f *testing.F) {
	keys := derive(f, "secret", []byte("salt"), 1)
	f.Add("n,,n=,r=x", "c=biws,r=%s,p="+encode(make([]byte, 32)), false)
	f.Add("p=tls-server-end-point,,n=user,r=x,a=b", "c=cD10,r=%s,a=b,p=", true)
	f.Fuzz(func(t *testing.T, first, final string, plus bool) {
		s := NewServer(keys.verifier, []byte("certificate"), plus)
		if _, err := s.First([]byte(first)); err != nil {
			return
		}
		if _, _, err := s.Final([]byte(strings.ReplaceAll(final, "%s", s.wholeNonce))); err == nil {
			t.Errorf("let in by %q, %q", first, final)
		}
	})
}

// FuzzClient looks for servers without the password that a client believes.
func FuzzClient(f *testing.F) {
	keys := derive(f, "secret", []byte("salt"), 1)
	f.Add("r=%sx,s=c2FsdA==,i=1", "v="+encode(make([]byte, 32)))
	f.Fuzz(func(t *testing.T, first, final string) {
		c := NewClient(keys, nil)
		c.First()
		_, err := c.Final([]byte(strings.ReplaceAll(first, "%s", c.nonce)))
		if err == nil && c.Check([]byte(final)) == nil {
			t.Errorf("believes %q, %q", first, final)
		}
	})
}

// FuzzVerifier looks for stored passwords that the parser stumbles over.
func FuzzVerifier(f *testing.F) {
	key := encode(make([]byte, 32))
	f.Add("SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key)
	f.Fuzz(func(t *testing.T, secret string) {
		if v, err := ParseVerifier(secret); err == nil && v.iterations < 1 {
			t.Errorf("%q has %d iterations", secret, v.iterations)
		}
	})
}
