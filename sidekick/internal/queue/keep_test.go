package queue

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestStartAfterOrderlyStop: a stream of which an output has yet to acknowledge the
// first event has no stored position, which is no loss.
func TestStartAfterOrderlyStop(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		var log bytes.Buffer
		q, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Stream{Alerts, Logs} {
			if _, err := q.Reader(t.Context(), "slack", s); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Publish(t.Context(), pack(alert("a")), false); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("the log warns:\n%s", log.String())
		}
	}
}
