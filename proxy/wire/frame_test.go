package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestReadFrame(t *testing.T) {
	const limit = 6
	for _, test := range []struct {
		name, in, frame string
		err             error
	}{
		{"empty body", "S\x00\x00\x00\x04", "S\x00\x00\x00\x04", nil},
		{"at the limit", "Q\x00\x00\x00\x0aabcdef", "Q\x00\x00\x00\x0aabcdef", nil},
		{"over the limit", "Q\x00\x00\x00\x0babcdefg", "", ErrLength},
		{"4 GiB", "Q\xff\xff\xff\xffabc", "", ErrLength},
		{"length below itself", "Q\x00\x00\x00\x03", "", ErrLength},
		{"nothing", "", "", io.EOF},
		{"half a header", "Q\x00\x00", "", io.ErrUnexpectedEOF},
		{"header only", "Q\x00\x00\x00\x05", "", io.ErrUnexpectedEOF},
		{"half a body", "Q\x00\x00\x00\x07ab", "", io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			const next = "next"
			in := test.in
			if test.err == nil {
				in += next
			}
			r := iotest.OneByteReader(bytes.NewReader([]byte(in)))
			frame, err := ReadFrame(r, limit)
			if string(frame) != test.frame || !errors.Is(err, test.err) {
				t.Fatalf("got %q %v", frame, err)
			}
			if rest, _ := io.ReadAll(r); test.err == nil && string(rest) != next {
				t.Fatalf("the next reader finds %q", rest)
			}
		})
	}
}

func TestRun(t *testing.T) {
	const a, b = "D\x00\x00\x00\x06xy", "D\x00\x00\x00\x04"
	for in, want := range map[string]int{
		"":                              0,
		"C\x00\x00\x00\x04":             0,
		a:                               len(a),
		a + b + a:                       len(a + b + a),
		a + "C\x00\x00\x00\x04" + b:     len(a),
		a + "D\x00\x00\x00":             len(a), // half a header
		a + "D\x00\x00\x00\x07xy":       len(a), // half a body
		a + "D\x00\x00\x00\x03" + a:     len(a), // no length
		a + "D\xff\xff\xff\xff" + a:     len(a),
		a + "D\x7f\xff\xff\xff" + a + b: len(a),
	} {
		if n := Run([]byte(in), DataRow); n != want {
			t.Errorf("%q: %d, want %d", in, n, want)
		}
	}
}

func TestParseHeader(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Header
		more bool
		bad  bool
	}{
		{in: "", more: true},
		{in: "Q\x00\x00\x00", more: true},
		{in: "Q\x00\x00\x00\x04", want: Header{Query, 0}},
		{in: "Q\x00\x00\x01\x04rest", want: Header{Query, 256}},
		{in: "Q\x00\x00\x00\x03", bad: true},
		{in: "Q\x80\x00\x00\x00", bad: true},
	} {
		h, more, err := ParseHeader([]byte(test.in))
		if h != test.want || more != test.more || (err != nil) != test.bad {
			t.Errorf("%q: %+v %v %v", test.in, h, more, err)
		}
		if err == nil && !more && h.Frame() != HeaderSize+h.Body {
			t.Errorf("%q: frame of %d bytes", test.in, h.Frame())
		}
	}
}

func TestAppendHeader(t *testing.T) {
	a := append(AppendHeader([]byte("before"), Query, 3), "abc"...)
	b := End(append(Begin([]byte("before"), Query), "abc"...), len("before"))
	if !bytes.Equal(a, b) || string(a) != "beforeQ\x00\x00\x00\x07abc" {
		t.Errorf("%q %q", a, b)
	}
	if got := Body(a[len("before"):]); string(got) != "abc" {
		t.Errorf("body %q", got)
	}
}

func TestAppendError(t *testing.T) {
	frame := AppendError([]byte("x"), Fields{SeverityFatal, "28000", "no\x00Cinjected", "", "do"})[1:]
	var got pgproto3.ErrorResponse
	if err := got.Decode(Body(frame)); err != nil {
		t.Fatal(err)
	}
	want := pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28000", Message: "no", Hint: "do",
	}
	wire, err := want.Encode(nil)
	if err != nil || !bytes.Equal(frame, wire) {
		t.Errorf("%q, want %q", frame, wire)
	}
	if string(Field(frame, 'C')) != "28000" || string(Field(frame, 'H')) != "do" || Field(frame, 'D') != nil {
		t.Errorf("fields of %q", frame)
	}
}

func TestWithField(t *testing.T) {
	without := Fields{Severity: SeverityError, Code: "42501", Message: "no", Detail: "since"}
	with := without
	with.Hint = "do"
	if got, want := WithField(AppendError(nil, without), 'H', "do"), AppendError(nil, with); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if d := Field(AppendError(nil, with), 'D'); string(d) != "since" {
		t.Errorf("detail %q", d)
	}
}

func TestFieldOfGarbage(t *testing.T) {
	for _, body := range []string{"", "\x00", "C", "C28000", "\x00C1\x00"} {
		if v := Field(append(AppendHeader(nil, ErrorResponse, len(body)), body...), 'C'); v != nil {
			t.Errorf("%q has %q", body, v)
		}
	}
}

func TestAppendNegotiate(t *testing.T) {
	want := pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: uint32(Version32), UnrecognizedOptions: []string{"_pq_.a", "_pq_.b"}}
	b, err := want.Encode(nil)
	if got := AppendNegotiate(nil, Version32, want.UnrecognizedOptions); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%q, want %q", got, b)
	}
}

// FuzzFrame checks that the two readers of frames agree, read no byte too many and stay within the limit.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x07abcZ\x00\x00\x00\x05I"))
	f.Add([]byte("E\x00\x00\x00\x0cC28000\x00\x00"))
	f.Add([]byte("Q\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 100
		r := bytes.NewReader(in)
		for {
			at := in[len(in)-r.Len():]
			frame, err := ReadFrame(r, limit)
			h, more, herr := ParseHeader(at)
			if err != nil {
				if !more && herr == nil && h.Body <= limit && h.Frame() <= len(at) {
					t.Fatalf("%q: %v", at, err)
				}
				return
			}
			if more || herr != nil || h.Frame() != len(frame) || !bytes.HasPrefix(at, frame) || len(in)-r.Len()-(len(in)-len(at)) != len(frame) {
				t.Fatalf("%q read as %q", at, frame)
			}
			for c := range 256 {
				Field(frame, byte(c))
			}
		}
	})
}
