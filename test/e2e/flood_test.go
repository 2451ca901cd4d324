package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hook is a webhook that takes events, one in a request or several as lines.
type hook struct {
	*httptest.Server
	delay   time.Duration
	refuses int // the number of the event that it refuses for good; 0 for none

	mu    sync.Mutex
	taken map[int]int     // guarded by mu; how often each event was taken
	held  bool            // guarded by mu; requests do not get an answer
	trap  func(event int) // guarded by mu; called with each event before the answer
}

func newHook(t *testing.T, delay time.Duration, refuses int) *hook {
	t.Helper()
	h := &hook{delay: delay, refuses: refuses, taken: map[int]int{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sidekick was killed half-way
	}
	var events []int
	for line := range bytes.Lines(body) {
		n := numberOf(line)
		if n == 0 {
			w.WriteHeader(http.StatusTeapot) // which shows as an event that is missing
			return
		}
		events = append(events, n)
	}
	select {
	case <-time.After(h.delay):
	case <-r.Context().Done():
		return // nobody would hear that they are taken
	}
	w.WriteHeader(h.take(r.Context(), events))
}

// numberOf gives the number of an event from its JSON, 0 if there is none. To decode all
// of it would take the test more time than the sidekick has.
func numberOf(event []byte) (n int) {
	_, after, _ := bytes.Cut(event, []byte(`"`+program))
	digits, _, _ := bytes.Cut(after, []byte(`"`))
	n, _ = strconv.Atoi(string(digits))
	return n
}

func (h *hook) take(ctx context.Context, events []int) (status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held || ctx.Err() != nil {
		return http.StatusServiceUnavailable
	}
	for _, n := range events {
		if n == h.refuses {
			return http.StatusBadRequest
		}
	}
	for _, n := range events {
		h.taken[n]++
		if h.trap != nil {
			h.trap(n)
		}
	}
	return http.StatusOK
}

// hold has requests fail from now on, so that what was taken does not change.
func (h *hook) hold(held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = held
}

// catch has call called once an event from number n on was taken, while the sidekick
// does not have the answer yet.
func (h *hook) catch(n int, call func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trap = func(event int) {
		if event >= n {
			h.trap = nil
			call()
		}
	}
}

// counts gives how many events were taken, and how many times too often.
func (h *hook) counts() (events, again int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.taken {
		again += n - 1
	}
	return len(h.taken), again
}

func (h *hook) has(event int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.taken[event] > 0
}

const (
	program   = "/tmp/dropped-" // and its number: each event has another one, so that no two are alike
	eventSize = 32 << 10
	batchSize = 16
	// ahead is how many events the flood may be ahead of those outputs that are to
	// keep up: a test machine can be too busy for them.
	ahead = 4 * batchSize
)

// flood posts events, numbered from 1 on. A batch that got no answer is sent again
// under its key, as the docs tell.
type flood struct {
	url      string
	count    int
	keepUp   []*hook
	turn     sync.Mutex // held while a batch is posted
	accepted atomic.Int64
	refused  atomic.Int64 // answers that were not 200
}

// run posts all events, or ends with ctx.
func (f *flood) run(ctx context.Context) error {
	for from := 1; from <= f.count; from += batchSize {
		for _, h := range f.keepUp {
			for n, _ := h.counts(); n < from-ahead; n, _ = h.counts() {
				if err := pause(ctx); err != nil {
					return fmt.Errorf("the outputs that should keep up have %d events before %d: %w", n, from, err)
				}
			}
		}
		if err := f.batch(ctx, from); err != nil {
			return err
		}
	}
	return nil
}

func (f *flood) batch(ctx context.Context, from int) error {
	var body strings.Builder
	for n := from; n < from+batchSize; n++ {
		fmt.Fprintf(&body, `{"Type":"MatchedPolicy","PolicyName":"no-dropped-programs","Operation":"Process","Action":"Block","ProcessName":"`+program+`%d","Resource":%q}`+"\n",
			n, strings.Repeat("x", eventSize))
	}
	f.turn.Lock()
	defer f.turn.Unlock()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, strings.NewReader(body.String()))
		if err != nil {
			return err
		}
		req.Header.Set("Idempotency-Key", fmt.Sprint("flood-", from))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				f.accepted.Add(batchSize)
				return nil
			}
			f.refused.Add(1)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("batch from %d is not taken: %w", from, err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}
