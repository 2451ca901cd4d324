package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidearmor/sidearmor/schema"
)

func bury(t *testing.T, q *Queue, output string, events ...schema.Event) {
	t.Helper()
	for _, e := range events {
		if err := q.DeadLetter(t.Context(), output, "refused", time.Now(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// held gives the numbers and IDs of dead letters as they are listed.
func held(t *testing.T, q *Queue, output string, limit, want int) (list []string) {
	t.Helper()
	n, err := q.Letters(t.Context(), output, limit, func(l Letter) error {
		list = append(list, fmt.Sprintf("%d %s %s", l.Number, l.Output, l.ID))
		return nil
	})
	if err != nil || n != want {
		t.Errorf("%d are held, want %d, error %v", n, want, err)
	}
	return list
}

func any1(string, Stream) bool { return true }

func TestLetters(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	if got := held(t, q, "", 0, 0); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	bury(t, q, "slack", alerts(0, 4)...)
	bury(t, q, "webhook", alerts(0, 2)...)
	for _, n := range []uint64{1, 3} {
		if err := q.DeleteLetter(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		output      string
		limit, held int
		want        []string
	}{
		{"", 0, 4, []string{"6 webhook a-1", "5 webhook a-0", "4 slack a-3", "2 slack a-1"}},
		{"", 3, 4, []string{"6 webhook a-1", "5 webhook a-0", "4 slack a-3"}},
		{"slack", 0, 2, []string{"4 slack a-3", "2 slack a-1"}},
		{"slack", 1, 2, []string{"4 slack a-3"}},
		{"discord", 0, 0, nil},
	} {
		if got := held(t, q, c.output, c.limit, c.held); !slices.Equal(got, c.want) {
			t.Errorf("%q, %d: %v", c.output, c.limit, got)
		}
	}
	if got, err := q.LetterNumbers(t.Context(), ""); err != nil || !slices.Equal(got, []uint64{2, 4, 5, 6}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := q.LetterNumbers(t.Context(), "slack"); err != nil || !slices.Equal(got, []uint64{2, 4}) {
		t.Errorf("%v, %v", got, err)
	}
	if l, err := q.Letter(t.Context(), "a-1"); err != nil || l.Number != 6 || l.Reason != "refused" {
		t.Errorf("%+v, %v", l, err)
	}
	for _, ref := range []string{"1", "99", "0", "a-2", ""} {
		if _, err := q.Letter(t.Context(), ref); !errors.Is(err, ErrNoLetter) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if err := q.DeleteLetter(t.Context(), 3); !errors.Is(err, ErrNoLetter) {
		t.Error(err)
	}
}

func TestReplayIsForOneOutput(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	slack, webhook := reader(t, q, "slack", Alerts), reader(t, q, "webhook", Alerts)
	bury(t, q, "slack", alerts(0, 2)...)
	for i, want := range []string{"a-0-r1", "a-1-r2"} {
		if id, err := q.Replay(t.Context(), uint64(i+1), any1); err != nil || id != want {
			t.Errorf("%q, %v", id, err)
		}
	}
	if _, err := q.Replay(t.Context(), 1, any1); !errors.Is(err, ErrNoLetter) {
		t.Error(err)
	}
	if got := take(t, slack, 2, true); !slices.Equal(got, []string{"a-0-r1", "a-1-r2"}) {
		t.Errorf("slack got %v", got)
	}
	none(t, q, slack)
	// What is not for it does not come again either, nor does it count as pending.
	if got := take(t, webhook, 1, true); got[0] != "marker" {
		t.Errorf("webhook got %v", got)
	}
	if n, err := webhook.Pending(t.Context()); err != nil || n != 0 {
		t.Errorf("%d pending, %v", n, err)
	}
	// Refused again, it is another dead letter, at once.
	bury(t, q, "slack", alert("a-0-r1"))
	if got := held(t, q, "", 0, 1); got[0] != "3 slack a-0-r1" {
		t.Errorf("got %v", got)
	}
	if id, err := q.Replay(t.Context(), 3, any1); err != nil || id != "a-0-r3" {
		t.Errorf("%q, %v", id, err)
	}
}

func TestReplayRefuses(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	bury(t, q, "slack", alert("a-0"), logEvent("l-0", 3))
	alertsOnly := func(output string, s Stream) bool { return output == "slack" && s == Alerts }
	if _, err := q.Replay(t.Context(), 2, alertsOnly); !errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), "dead letter 2: slack: output is not configured") {
		t.Error(err)
	}
	q.diskLow.Store(true)
	if _, err := q.Replay(t.Context(), 1, alertsOnly); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	q.diskLow.Store(false)
	if got := held(t, q, "", 0, 2); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

// A dead letter that could not be removed after its event was stored is replayed
// once, however often it is tried.
func TestReplayAgain(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	bury(t, q, "slack", alert("a-0"))
	stream, err := q.js.Stream(t.Context(), deadLetters)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.DenyDelete = true
	if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := q.Replay(t.Context(), 1, any1); err == nil || !strings.Contains(err.Error(), "dead letter 1 will be delivered again as a-0-r1, but is still there") {
			t.Error(err)
		}
	}
	take(t, r, 1, true)
	none(t, q, r)
}

func TestUndecodable(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	r := reader(t, q, "slack", Alerts)
	for _, text := range []string{"no\x1b[31m JSON", `{"kind":"riddle","id":"x"}`} {
		if _, err := q.js.Publish(t.Context(), "alerts", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	none(t, q, r)
	held(t, q, "slack", 0, 2)
	l, err := q.Letter(t.Context(), "1")
	if err != nil || string(l.Raw) != "no\x1b[31m JSON" || l.Event != nil || l.Output != "slack" ||
		!strings.HasPrefix(l.Reason, "stored event cannot be decoded: ") || l.Time.IsZero() {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := q.Replay(t.Context(), 1, any1); !errors.Is(err, errUndecodable) {
		t.Error(err)
	}
	if err := q.DeleteLetter(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func scraped(q *Queue) string {
	reg := prometheus.NewRegistry()
	reg.MustRegister(q.Collector())
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// Those that gave way are lost; those that were removed are not.
func TestLostLetters(t *testing.T) {
	var log bytes.Buffer
	q := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	w := letterWatch{q: q}
	w.look(t.Context(), time.Now())
	bury(t, q, "slack", alerts(0, 3)...)
	if err := q.DeleteLetter(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		bury(t, q, "slack", logEvent(fmt.Sprint("l-", i), 1900<<10))
	}
	w.look(t.Context(), time.Now().Add(lostInterval))
	stream, err := q.js.Stream(t.Context(), deadLetters)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	lost := 43 - 1 - state.Msgs
	if lost < 5 || !strings.Contains(log.String(), fmt.Sprintf("dead_letters=%d", lost)) {
		t.Errorf("%d lost, log:\n%s", lost, &log)
	}
	for name, want := range map[string]uint64{"held": state.Msgs, "lost_total": lost} {
		if line := fmt.Sprintf("\nsidearmor_dead_letters_%s %d\n", name, want); !strings.Contains(scraped(q), line) {
			t.Errorf("no %q in:\n%s", line, scraped(q))
		}
	}
}

func TestOldestEvent(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	key := ageKey{output: "slack", stream: Alerts}
	age := func(after time.Duration) time.Duration {
		t.Helper()
		stream, err := q.js.Stream(t.Context(), string(Alerts))
		if err != nil {
			t.Fatal(err)
		}
		all, err := outputs(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		p := all["slack"]
		d, err := q.oldest(t.Context(), key, stream, p, time.Now().Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := age(time.Hour); d != 0 {
		t.Errorf("%v with none", d)
	}
	publish(t, q, alerts(0, 3))
	if d := age(time.Hour); d < time.Hour {
		t.Errorf("%v after an hour", d)
	}
	if d := age(-time.Hour); d != 0 {
		t.Errorf("%v when the clock went back", d)
	}
	stored := q.ages.known[key].at
	_, _, first, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, second, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The second is done, the first is still the oldest.
	if err := r.Ack(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if age(time.Hour); q.ages.known[key].seq != first || !q.ages.known[key].at.Equal(stored) {
		t.Errorf("%+v", q.ages.known[key])
	}
	if err := r.Ack(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if age(time.Hour); q.ages.known[key].seq != 3 {
		t.Errorf("%+v", q.ages.known[key])
	}
	take(t, r, 1, true)
	if d := age(time.Hour); d != 0 {
		t.Errorf("%v with all delivered", d)
	}
	if line := "\nsidearmor_queue_oldest_seconds{destination=\"slack\",stream=\"ALERTS\"} 0\n"; !strings.Contains(scraped(q), line) {
		t.Errorf("no %q in:\n%s", line, scraped(q))
	}
}

func TestReplayID(t *testing.T) {
	for id, want := range map[string]string{
		"a-0": "a-0-r9", "a-0-r5": "a-0-r9", "a-r": "a-r-r9", "": "-r9", "x-rx-r7": "x-rx-r9", "x-r1-2": "x-r1-2-r9",
	} {
		if got := replayID(id, 9); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}

func FuzzDecodeLetter(f *testing.F) {
	q, err := Open(context.Background(), Options{Dir: f.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	defer q.Close()
	if err := q.DeadLetter(context.Background(), "slack", "no", time.Now(), alert("a-0")); err != nil {
		f.Fatal(err)
	}
	stream, err := q.js.Stream(context.Background(), deadLetters)
	if err != nil {
		f.Fatal(err)
	}
	msg, err := stream.GetMsg(context.Background(), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg.Data)
	f.Add([]byte(`{"output":"slack","event":{"kind":"alert"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := *msg
		m.Data = data
		if l := decodeLetter(&m, "slack"); (l.Event == nil) == (l.Raw == nil && len(data) > 0) {
			t.Errorf("%+v", l)
		}
	})
}
