package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Two sidekicks with one queue outside of them deliver each event once, whichever
// took it, and one that leaves leaves nothing behind.
func TestSharedQueue(t *testing.T) {
	store, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 4 << 20,
		Users: []*server.User{{Username: "u", Password: "CANARY"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	store.Start()
	defer store.WaitForShutdown()
	defer store.Shutdown()
	if !store.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	r := receive(t, nil)
	env := []string{
		"LISTENPORT=0", "QUEUE_URL=nats://u:CANARY@" + store.Addr().String(), "QUEUE_REPLICAS=1", "WEBHOOK_ADDRESS=" + r.URL,
	}
	a, b := inside(t, env), inside(t, env)
	post(t, a.url, batch("alert", 0, 50), "")
	post(t, b.url, batch("alert", 50, 100), "")
	r.wait(t, 100)
	a.stop()
	post(t, b.url, batch("alert", 100, 120), "")
	got := r.wait(t, 120)
	once := map[string]bool{}
	for _, id := range got {
		once[id] = true
	}
	if len(got) != 120 || len(once) != 120 {
		t.Errorf("%d events came, %d different: %v", len(got), len(once), slices.Sorted(maps.Keys(once)))
	}
	for _, s := range []*sidekick{a, b} {
		if text := s.log.String(); strings.Contains(text, "CANARY") || !strings.Contains(text, `"queue_cluster":"nats://127.0.0.1`) {
			t.Errorf("log:\n%s", text)
		}
	}
}
