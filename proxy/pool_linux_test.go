package proxy

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// TestPoolKeepsDatabasesVacant: what a client leaves while the server waits for a database to be left by all is not kept.
func TestPoolKeepsDatabasesVacant(t *testing.T) {
	p := newPool(PoolOptions{Idle: 1, Size: 2, Lifetime: time.Hour}, prometheus.NewRegistry(), zap.NewNop())
	p.vacate("orders")
	for _, database := range []string{"orders", "billing"} {
		near, _ := tcpPair(t)
		p.put(&parked{lease: lease{key: database, database: database, began: time.Now()}, pool: p, link: &serverLink{Conn: near}})
	}
	if p.take([]byte("orders")) != nil || p.take([]byte("billing")) == nil {
		t.Error("kept is what is in the way, or not what is in nobody's")
	}
}
