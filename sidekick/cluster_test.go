package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// outsideQueue starts a server for a queue and gives the environment of sidekicks
// that use it.
func outsideQueue(t *testing.T) []string {
	t.Helper()
	store, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 4 << 20,
		Users: []*server.User{{Username: "u", Password: "CANARY"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	store.Start()
	t.Cleanup(func() {
		store.Shutdown()
		store.WaitForShutdown()
	})
	if !store.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return []string{"LISTENPORT=0", "QUEUE_URL=nats://u:CANARY@" + store.Addr().String(), "QUEUE_REPLICAS=1"}
}

// Two sidekicks with one queue outside of them deliver each event once, whichever
// took it, and one that leaves leaves nothing behind.
func TestSharedQueue(t *testing.T) {
	env := outsideQueue(t)
	r := receive(t, nil)
	env = append(env, "WEBHOOK_ADDRESS="+r.URL)
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

// Dead letters of a shared queue are seen and replayed from anywhere that has its
// settings.
func TestDeadLettersOfASharedQueue(t *testing.T) {
	env := outsideQueue(t)
	var mended atomic.Bool
	refusing := receive(t, func(int) int {
		if !mended.Load() {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	other := receive(t, nil)
	env = append(env, "WEBHOOK_ADDRESS="+refusing.URL, "WEBHOOK_2_ADDRESS="+other.URL, "WEBHOOK_2_NAME=other")
	a := inside(t, env)
	inside(t, env)
	post(t, a.url, batch("alert", 0, 3), "")
	other.wait(t, 3)
	untilLetters(t, env, 3)
	mended.Store(true)
	if status, out, errs := letters(t, env, "replay", "--all"); status != 0 || strings.Count(out, "is delivered to webhook again as ") != 3 {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	refusing.wait(t, 3)
	untilLetters(t, env, 0)
	post(t, a.url, event("alert", 7), "")
	if got := other.wait(t, 4); got[3] != "7" {
		t.Errorf("what was not for it came to another output: %v", got)
	}
	page(t, a.url+"/metrics", `sidearmor_queue_oldest_seconds{destination="webhook-other",stream="ALERTS"} 0`)
	page(t, a.url+"/metrics", `sidearmor_queue_pending_events{destination="webhook-other",stream="ALERTS"} 0`)
}
