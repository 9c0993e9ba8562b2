package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Proxies are load balancers that say by the PROXY protocol, version 1 or 2, where their clients are. Each TCP connection
// has to begin with the header then; Unix sockets have none.
type Proxies struct {
	// Networks are where they are: somebody elsewhere is not let in. Empty for everywhere, where nobody else can connect.
	Networks []netip.Prefix
}

// client returns where the client of a new connection is; not valid on a Unix socket. It reads the header and no byte more.
func (p *Proxies) client(c net.Conn) (netip.AddrPort, error) {
	at := addressOf(c)
	if p == nil || !at.IsValid() {
		return at, nil
	}
	if len(p.Networks) > 0 && !(AddressSet{Networks: p.Networks}).contains(at.Addr()) {
		return netip.AddrPort{}, errors.New("connection from an address that is none of a load balancer's")
	}
	header, err := readProxyHeader(c)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY protocol: %w", err)
	}
	if header.Command.IsLocal() {
		return at, nil // the load balancer itself, about its health
	}
	source, err := netip.ParseAddrPort(header.SourceAddr.String())
	if err != nil {
		return netip.AddrPort{}, errors.New("PROXY protocol: the client has no IP address")
	}
	return plainAddress(source), nil
}

const (
	maxProxyV1 = 107     // with the end of the line
	maxProxyV2 = 4 << 10 // what follows the 16 bytes of every header: addresses and, of no interest here, more about the connection
)

// readProxyHeader reads a header to its last byte. The library would read ahead.
func readProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	header := make([]byte, 1, maxProxyV1)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	var err error
	switch header[0] {
	case proxyproto.SIGV1[0]:
		header, err = readProxyV1(r, header)
	case proxyproto.SIGV2[0]:
		header, err = readProxyV2(r, header)
	default: // at once, as what a client says first may be shorter than a header
		err = errors.New("the connection does not begin with a header")
	}
	if err != nil {
		return nil, err
	}
	return proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
}

func readProxyV1(r io.Reader, line []byte) ([]byte, error) {
	for line[len(line)-1] != '\n' {
		if len(line) == maxProxyV1 {
			return nil, errors.New("line without end")
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return nil, err
		}
	}
	return line, nil
}

func readProxyV2(r io.Reader, first []byte) ([]byte, error) {
	var fixed [16]byte // signature, version and command, family, length
	if _, err := io.ReadFull(r, fixed[copy(fixed[:], first):]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(fixed[14:]))
	if !bytes.HasPrefix(fixed[:], proxyproto.SIGV2) || length > maxProxyV2 {
		return nil, errors.New("no header, or one that is too long")
	}
	header := make([]byte, len(fixed)+length)
	_, err := io.ReadFull(r, header[copy(header, fixed[:]):])
	return header, err
}

// addressOf returns the address of a connection's other end; not valid on a Unix socket.
func addressOf(c net.Conn) netip.AddrPort {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return plainAddress(a.AddrPort())
}

// plainAddress is an address as networks have it: of IPv4 where it is one in IPv6, and without the interface by which a
// link-local one is reached (netip.Prefix has none with a zone).
func plainAddress(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
