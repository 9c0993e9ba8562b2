package engine

import "testing"

// FuzzStreams gives both directions hostile bytes in hostile pieces. Whatever comes, the engine must not panic, must
// take all that it does not hold, and must forward no more than it was given beside its own words.
func FuzzStreams(f *testing.F) {
	s := newTestSession(&testing.T{}, newBook())
	conversation(s)
	f.Add(s.toServer.Bytes(), s.toUser.Bytes(), uint8(7))
	f.Add([]byte("Q\x00\x00\x00\x10CREATE ROLE"), []byte("E\x00\x00\x00\x05\x00Z\x00\x00\x00\x05I"), uint8(3))
	f.Fuzz(func(t *testing.T, client, server []byte, chunk uint8) {
		e := newTestSession(t, newBook()).e
		step := int(chunk) + 1
		var out Out
		for len(client)+len(server) > 0 {
			n := min(step, len(client))
			taken, err := e.Client(client[:n], &out)
			if err != nil {
				return
			}
			if taken < n && !e.Held() {
				t.Fatalf("took %d of %d bytes, and holds nobody", taken, n)
			}
			client = client[taken:]
			n = min(step, len(server))
			if n == 0 && e.Held() {
				return
			}
			if err := e.Server(server[:n], &out); err != nil {
				return
			}
			server = server[n:]
		}
	})
}
