package scram

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrChanged says that the server has another verifier than the one that the keys are for: that the password was changed
// in the meantime, or that it is another server.
var ErrChanged = errors.New("the server has stored another password")

// Client is the client's end of one exchange, with keys in the place of a password.
type Client struct {
	keys    Keys
	flag    string
	binding []byte

	nonce     string
	bare      string
	signature Key // that the server has to show
}

// NewClient begins an exchange. binding is the channel binding of the connection, with [MechanismPlus]; nil without.
func NewClient(k Keys, binding []byte) *Client {
	c := &Client{keys: k, flag: flagUnsupported, binding: binding, nonce: newNonce()}
	if binding != nil {
		c.flag = flagBound
	}
	return c
}

// First returns the first message. It leaves the name out, as libpq does: the server knows it.
func (c *Client) First() []byte {
	c.bare = "n=,r=" + c.nonce
	return []byte(c.flag + ",," + c.bare)
}

// Final takes the server's first message, and returns the proof.
func (c *Client) Final(serverFirst []byte) ([]byte, error) {
	values, _, err := attributes(string(serverFirst), "rsi")
	if err != nil {
		return nil, err
	}
	nonce, v := values[0], &c.keys.verifier
	if len(nonce) <= len(c.nonce) || !strings.HasPrefix(nonce, c.nonce) || checkNonce(nonce) != nil {
		return nil, malformed("a nonce of the server's own")
	}
	if values[1] != encode(v.salt) || values[2] != strconv.Itoa(v.iterations) {
		return nil, ErrChanged
	}
	without := fmt.Sprintf("c=%s,r=%s", bindingInput(c.flag, c.binding), nonce)
	whole := []byte(c.bare + "," + string(serverFirst) + "," + without)
	proof := c.keys.client.xor(mac(v.stored[:], whole))
	c.signature = mac(v.server[:], whole)
	return []byte(without + ",p=" + encode(proof[:])), nil
}

// Check takes the server's final message: whether the server, too, knows the password.
func (c *Client) Check(serverFinal []byte) error {
	values, _, err := attributes(string(serverFinal), "v")
	if err != nil {
		return err
	}
	var signature Key
	if !signature.decode(values[0]) || !hmac.Equal(signature[:], c.signature[:]) {
		return errors.New("the server does not know the password")
	}
	return nil
}
