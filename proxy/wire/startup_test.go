package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

// packet makes a startup packet with a true length word.
func packet(code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

func TestReadStartup(t *testing.T) {
	long := strings.Repeat("x", MaxStartup-codeSize)
	for _, test := range []struct {
		name string
		in   []byte
		code uint32
		body string
		err  error
	}{
		{"SSLRequest", packet(SSLRequestCode, ""), SSLRequestCode, "", nil},
		{"GSSENCRequest", AppendRequest(nil, GSSENCRequestCode), GSSENCRequestCode, "", nil},
		{"startup", packet(uint32(Version30), "user\x00a\x00\x00"), uint32(Version30), "user\x00a\x00\x00", nil},
		{"longest", packet(uint32(Version30), long), uint32(Version30), long, nil},
		{"one byte too long", packet(uint32(Version30), long+"x"), 0, "", ErrStartupLength},
		{"no code", []byte{0, 0, 0, 4}, 0, "", ErrStartupLength},
		{"half a code", []byte{0, 0, 0, 7, 0, 3, 0}, 0, "", ErrStartupLength},
		{"length zero", []byte{0, 0, 0, 0, 0, 3, 0, 0}, 0, "", ErrStartupLength},
		{"4 GiB", []byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0}, 0, "", ErrStartupLength},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), 0, "", ErrStartupLength},
		{"nothing", nil, 0, "", io.EOF},
		{"half a length", []byte{0, 0}, 0, "", io.ErrUnexpectedEOF},
		{"length only", []byte{0, 0, 0, 8}, 0, "", io.ErrUnexpectedEOF},
		{"cut", packet(uint32(Version30), "user\x00a\x00\x00")[:12], 0, "", io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			const next = "next"
			in := test.in
			if test.err == nil {
				in = append(in[:len(in):len(in)], next...)
			}
			r := iotest.OneByteReader(bytes.NewReader(in))
			code, body, err := ReadStartup(r)
			if code != test.code || string(body) != test.body || !errors.Is(err, test.err) {
				t.Fatalf("got %x %q %v", code, body, err)
			}
			if rest, _ := io.ReadAll(r); test.err == nil && string(rest) != next {
				t.Fatalf("the next reader finds %q", rest)
			}
		})
	}
}

func TestStartupLengthAllocatesNothing(t *testing.T) {
	in := []byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0}
	r := bytes.NewReader(in)
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(in)
		if _, _, err := ReadStartup(r); !errors.Is(err, ErrStartupLength) {
			t.Fatal(err)
		}
	}); n > 1 { // the length word itself escapes
		t.Fatalf("%v allocations", n)
	}
}

func TestDecodeStartup(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       []Parameter
		err        string
	}{
		{"none", "\x00", nil, ""},
		{"user", "user\x00a\x00\x00", []Parameter{{"user", "a"}}, ""},
		{"order and empty value", "b\x00\x00user\x00a\x00a\x002\x00\x00", []Parameter{{"b", ""}, {"user", "a"}, {"a", "2"}}, ""},
		{"empty body", "", nil, "expected terminator as last byte"},
		{"no terminator", "user\x00a\x00", nil, "expected terminator as last byte"},
		{"unterminated value", "user\x00a", nil, "expected terminator as last byte"},
		{"name without value", "user\x00\x00", nil, "expected terminator as last byte"},
		{"garbage after terminator", "user\x00a\x00\x00\x00role\x00b\x00\x00", nil, "expected terminator as last byte"},
		{"two terminators", "user\x00a\x00\x00\x00", nil, "expected terminator as last byte"},
		{"twice", "user\x00a\x00user\x00b\x00\x00", nil, `parameter "user" is given twice`},
		{"twice in another case", "role\x00a\x00Role\x00b\x00\x00", nil, `parameter "Role" is given twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := DecodeStartup(uint32(Version32), []byte(test.body))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %+v, %v", s, err)
				}
				return
			}
			if err != nil || s.Version != Version32 || !reflect.DeepEqual(s.Parameters, test.want) {
				t.Fatalf("got %+v, %v", s, err)
			}
		})
	}
}

func TestStartupNames(t *testing.T) {
	s := Startup{Parameters: []Parameter{{"user", "app"}, {"_pq_.a", "1"}, {"database", ""}, {"_pq_.b", ""}}}
	if s.User() != "app" || s.Database() != "app" {
		t.Errorf("user %q, database %q", s.User(), s.Database())
	}
	if got := s.ProtocolOptions(); !reflect.DeepEqual(got, []string{"_pq_.a", "_pq_.b"}) {
		t.Errorf("options %q", got)
	}
	s.Parameters[2].Value = "orders"
	if s.Database() != "orders" {
		t.Errorf("database %q", s.Database())
	}
	if Version32.String() != "3.2" || Version(SSLRequestCode).String() != "1234.5679" {
		t.Errorf("%v %v", Version32, Version(SSLRequestCode))
	}
}

// TestAppendStartupLimit: the longest packet that a server reads, behind something else.
func TestAppendStartupLimit(t *testing.T) {
	before := []byte("before")
	for _, c := range []struct {
		value int
		fits  bool
	}{{MaxStartup - codeSize - len("a\x00\x00\x00"), true}, {MaxStartup - codeSize - len("a\x00\x00\x00") + 1, false}} {
		b, err := AppendStartup(before, Startup{Version: Version30, Parameters: []Parameter{{"a", strings.Repeat("x", c.value)}}})
		if c.fits != (err == nil) || c.fits && len(b) != len(before)+lengthSize+MaxStartup {
			t.Errorf("a value of %d bytes: %d bytes, %v", c.value, len(b), err)
		}
	}
}

func TestAppendStartupRefuses(t *testing.T) {
	for _, p := range []Parameter{{"", "x"}, {"a\x00user", "x"}, {"a", "x\x00user\x00postgres"}, {"a", strings.Repeat("x", MaxStartup)}} {
		if b, err := AppendStartup(nil, Startup{Version: Version30, Parameters: []Parameter{p}}); err == nil {
			t.Errorf("%.20q made %d bytes", p, len(b))
		}
	}
}

func TestCancel(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		want := pgproto3.CancelRequest{ProcessID: 77, SecretKey: bytes.Repeat([]byte{9}, n)}
		b, err := want.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		code, body, err := ReadStartup(bytes.NewReader(b))
		if err != nil || code != CancelRequestCode {
			t.Fatalf("code %d, error %v; want a cancel request", code, err)
		}
		got, err := DecodeCancel(body)
		if err != nil || got.ProcessID != 77 || !bytes.Equal(got.Secret, want.SecretKey) {
			t.Errorf("%d bytes: %+v, %v", n, got, err)
		}
		if again := AppendCancel(nil, got); !bytes.Equal(again, b) {
			t.Errorf("% x, want % x", again, b)
		}
	}
	for _, n := range []int{0, 4, 7, 261} {
		if _, err := DecodeCancel(make([]byte, n)); !errors.Is(err, ErrStartupLength) {
			t.Errorf("body of %d bytes: %v", n, err)
		}
	}
}

// FuzzStartup checks that reading never panics nor reads on, and that what was read is written as the same bytes.
func FuzzStartup(f *testing.F) {
	f.Add(packet(uint32(Version30), "user\x00a\x00database\x00b\x00\x00"))
	f.Add(packet(uint32(Version32), "user\x00a\x00_pq_.x\x00\x00\x00"))
	f.Add(AppendCancel(nil, CancelRequest{1, []byte("abcd")}))
	f.Add(AppendRequest(nil, SSLRequestCode))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		code, body, err := ReadStartup(r)
		if err != nil {
			return
		}
		used := in[:len(in)-r.Len()]
		if len(used) != lengthSize+codeSize+len(body) || len(body) > MaxStartup {
			t.Fatalf("%d bytes read for a body of %d", len(used), len(body))
		}
		if code == CancelRequestCode {
			if c, err := DecodeCancel(body); err == nil && !bytes.Equal(AppendCancel(nil, c), used) {
				t.Fatalf("%+v is written as %q, was read of %q", c, AppendCancel(nil, c), used)
			}
			return
		}
		s, err := DecodeStartup(code, body)
		if err != nil {
			return
		}
		again, err := AppendStartup(nil, s)
		if err != nil || !bytes.Equal(again, used) {
			t.Fatalf("%q became %q, %v", used, again, err)
		}
	})
}
