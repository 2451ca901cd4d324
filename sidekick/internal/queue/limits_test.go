package queue

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

func TestLimitIsSplit(t *testing.T) {
	for _, c := range []struct {
		opts         Options
		alerts, logs int64
	}{
		{Options{}, 256 << 20, 128 << 20},
		{Options{Bytes: 30 << 20}, 20 << 20, 10 << 20},
		{Options{Bytes: 30 << 20, LogBytes: 5 << 20}, 20 << 20, 5 << 20},
	} {
		c.opts.Dir = t.TempDir()
		q := open(t, c.opts)
		if q.limits[Alerts] != c.alerts || q.limits[Logs] != c.logs {
			t.Errorf("%+v: limits are %v", c.opts, q.limits)
		}
	}
}

// A directory that was used with other settings takes on the new ones.
func TestSettingsChange(t *testing.T) {
	dir := t.TempDir()
	for _, always := range []bool{false, true, false} {
		q := open(t, Options{Dir: dir, SyncAlways: always, Bytes: 30 << 20})
		publish(t, q, []schema.Event{alert(fmt.Sprint("always-", always))})
		if cfg := q.srv.JetStreamConfig(); cfg.SyncAlways != always || cfg.SyncInterval != syncInterval {
			t.Errorf("store has %+v", cfg)
		}
		if err := q.srv.ShutdownJetStream(); err != nil {
			t.Fatal(err)
		}
		q.revive()
		if cfg := q.srv.JetStreamConfig(); cfg.SyncAlways != always || cfg.SyncInterval != syncInterval {
			t.Errorf("store, started again, has %+v", cfg)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullStreamIsCountedAndToldApart(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), AlertBytes: 4 << 20, LogBytes: 3 << 20})
	reader(t, q, "slack", Logs)
	publish(t, q, []schema.Event{logEvent("l-0", 1<<20), logEvent("l-1", 1<<20)})
	if err := q.Publish(t.Context(), pack(logEvent("m-0", 1500<<10), logEvent("m-1", 1500<<10)), true); !errors.Is(err, ErrFull) {
		t.Fatalf("error %v", err)
	}
	var degraded *Degraded
	if err := q.Ready(t.Context()); !errors.As(err, &degraded) || !degraded.Degraded() {
		t.Errorf("ready: %v", err)
	}
	if err := full(Alerts); errors.As(err, &degraded) {
		t.Error("a queue that takes no alerts is only degraded")
	}
	if n := q.refusedLogs.Load(); n != 2 {
		t.Errorf("%d logs are counted", n)
	}
}
