package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// lineReceiver takes events, one in a body or several as lines.
type lineReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	taken map[string]int // by message
}

func receiveLines(t *testing.T, refuses string) *lineReceiver {
	t.Helper()
	r := &lineReceiver{taken: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var messages []string
		for line := range bytes.Lines(body) {
			var e struct{ Message string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Errorf("receiver: %v", err)
			}
			messages = append(messages, e.Message)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, m := range messages {
			if m == refuses {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		}
		for _, m := range messages {
			r.taken[m]++
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *lineReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.taken)
}

// value gives a metric by its name and labels as they are written.
func value(t *testing.T, s *sidekick, name string) int {
	t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it does not come to that", what)
		}
	}
}

// A dead output and one that fails a single event cost neither the healthy output nor
// who posts anything, and what became of the events adds up.
func TestDeadOutputStopsNobody(t *testing.T) {
	const n, step, size = 600, 20, 40 << 10 // beyond the 16 MiB for alerts
	good, picky := receiveLines(t, ""), receiveLines(t, "event 77")
	s := inside(t, environment(t.TempDir(), "QUEUE_MAX_BYTES=24MiB",
		"WEBHOOK_ADDRESS=http://127.0.0.1:9/", "WEBHOOK_GOOD_ADDRESS="+good.URL, "WEBHOOK_GOOD_BATCH=ndjson",
		"WEBHOOK_PICKY_ADDRESS="+picky.URL, "WEBHOOK_PICKY_CONCURRENCY=4", "WEBHOOK_PICKY_MAX_ATTEMPTS=2"))
	for from := 0; from < n; from += step {
		var b strings.Builder
		for i := from; i < from+step; i++ {
			fmt.Fprintf(&b, `{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block","Message":"event %d","Resource":%q}`+"\n",
				i, strings.Repeat("x", size))
		}
		if status := post(t, s.url, b.String(), ""); status != http.StatusOK {
			t.Fatalf("events from %d: answered %d\n%s", from, status, s.log)
		}
		eventually(t, "the healthy output keeps up", func() bool { return good.count() >= from+step })
		least := from + step
		if least > 77 {
			least--
		}
		eventually(t, "the other one too", func() bool { return picky.count() >= least })
	}
	eventually(t, "the event at fault is given up", func() bool {
		return value(t, s, `sidearmor_dead_letters_total{destination="webhook-picky",reason="attempts"}`) == 1
	})
	left := func() int {
		return value(t, s, `sidearmor_dead_letters_total{destination="webhook",reason="lag"}`) +
			value(t, s, `sidearmor_lost_events_total{destination="webhook",reason="lag"}`)
	}
	eventually(t, "it adds up", func() bool {
		return left() > 0 && left()+value(t, s, `sidearmor_queue_pending_events{destination="webhook",stream="ALERTS"}`) == n
	})
	if good.count() != n || picky.count() != n-1 || value(t, s, `sidearmor_queue_refused_events_total{stream="ALERTS"}`) != 0 {
		t.Errorf("good got %d, picky %d", good.count(), picky.count())
	}
	if failing := value(t, s, `sidearmor_output_failing{destination="webhook"}`); failing != 1 {
		t.Error("the dead output does not count as failing")
	}
	s.stop()
}

// A rotated webhook is an outage: nothing is refused, and all of it comes when it is
// mended.
func TestRotatedWebhook(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := receive(t, func(n int) int {
				if n < 3 {
					return status
				}
				return http.StatusOK
			})
			s := inside(t, environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL))
			post(t, s.url, batch("alert", 0, 10), "")
			eventually(t, "it counts as failing", func() bool { return value(t, s, `sidearmor_output_failing{destination="webhook"}`) == 1 })
			r.wait(t, 10)
			if got := strings.Join(r.taken(), " "); got != strings.Join(numbers(0, 10), " ") {
				t.Errorf("taken %s", got)
			}
			if dead := value(t, s, `sidearmor_dead_letters_held`); dead != 0 {
				t.Errorf("%d dead letters", dead)
			}
			s.stop()
		})
	}
}
