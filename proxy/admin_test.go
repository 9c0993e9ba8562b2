package proxy

import (
	"context"
	"errors"
	"testing"
)

// TestAdminInUse: who waits to ask waits no longer than there is somebody to ask for.
func TestAdminInUse(t *testing.T) {
	a := newAdmin(nil)
	a.turn <- struct{}{}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := a.query(ctx, "SELECT 1", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
