package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// memory is a stream in memory.
type memory struct {
	mu    sync.Mutex
	more  chan struct{} // closed and renewed when events come
	all   []schema.Event
	next  int
	acked map[uint64]bool
	size  int // of each event
}

func newMemory(events ...schema.Event) *memory {
	return &memory{all: events, more: make(chan struct{}), acked: map[uint64]bool{}, size: 100}
}

func (m *memory) add(events ...schema.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, events...)
	close(m.more)
	m.more = make(chan struct{})
}

func (m *memory) Next(ctx context.Context) (schema.Event, int, uint64, error) {
	for {
		m.mu.Lock()
		more := m.more
		if m.next < len(m.all) {
			e := m.all[m.next]
			m.next++
			n := m.next
			m.mu.Unlock()
			return e, m.size, uint64(n), nil
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return schema.Event{}, 0, 0, ctx.Err()
		case <-more:
		}
	}
}

func (m *memory) Ack(_ context.Context, seqs ...uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seq := range seqs {
		m.acked[seq] = true
	}
	return nil
}

func (m *memory) Event(_ context.Context, seq uint64) (schema.Event, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq == 0 || seq > uint64(len(m.all)) || m.acked[seq] {
		return schema.Event{}, 0, fmt.Errorf("event %d: %w", seq, fs.ErrNotExist)
	}
	return m.all[seq-1], m.size, nil
}

func (m *memory) Pending(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all) - len(m.acked), nil
}

func (m *memory) done() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.acked)
}

// service is an output that answers by a script.
type service struct {
	mu    sync.Mutex
	calls []call
	reply func(n int, ids []string) error // n counts from 0; nil takes everything
}

type call struct {
	ids []string
}

func (s *service) Deliver(ctx context.Context, batch []schema.Event) error {
	ids := make([]string, 0, len(batch))
	for _, e := range batch {
		ids = append(ids, e.ID)
	}
	s.mu.Lock()
	n := len(s.calls)
	s.calls = append(s.calls, call{ids: ids})
	s.mu.Unlock()
	if s.reply == nil {
		return nil
	}
	if err := s.reply(n, ids); !errors.Is(err, errHang) {
		return err
	}
	<-ctx.Done()
	return fmt.Errorf("deliver: %w", ctx.Err())
}

func (s *service) got() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all [][]string
	for _, c := range s.calls {
		all = append(all, c.ids)
	}
	return all
}

var errHang = errors.New("hang until the context ends")

type letters struct {
	mu      sync.Mutex
	reasons map[string]string // by output/ID
	fail    int               // so many calls fail first
	spare   int               // so many have room that could do without
}

func (l *letters) Spare(ctx context.Context, output, reason string, at time.Time, e schema.Event) (bool, error) {
	if l.spare == 0 {
		return false, nil
	}
	l.spare--
	return true, l.DeadLetter(ctx, output, reason, at, e)
}

func (l *letters) DeadLetter(_ context.Context, output, reason string, _ time.Time, e schema.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail > 0 {
		l.fail--
		return errors.New("store is full")
	}
	if l.reasons == nil {
		l.reasons = map[string]string{}
	}
	l.reasons[output+"/"+e.ID] = reason
	return nil
}

func (l *letters) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.reasons)
}

func alert(id, severity string) schema.Event {
	return schema.Event{ID: id, Kind: schema.KindAlert, Alert: &schema.Alert{
		Record: schema.Record{Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile}, Severity: severity, Action: schema.ActionBlock,
	}}
}

func logEvent(id string) schema.Event {
	return schema.Event{ID: id, Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Type: schema.TypeContainerLog}}}
}

func several(prefix string, n int) []schema.Event {
	var events []schema.Event
	for i := range n {
		events = append(events, alert(fmt.Sprint(prefix, i), "5"))
	}
	return events
}

// running starts a dispatcher within a bubble; stop ends it and waits.
func running(t *testing.T, dead DeadLetters, targets ...Target) (reg *prometheus.Registry, stop func()) {
	t.Helper()
	return newRunning(t, dead, 0, targets...)
}

func newRunning(t *testing.T, dead DeadLetters, maxAge time.Duration, targets ...Target) (reg *prometheus.Registry, stop func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	d := New(Options{
		Targets: targets, DeadLetters: dead, Metrics: reg, MaxAge: maxAge, StopTimeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	return reg, func() { cancel(); <-done }
}

func metric(reg *prometheus.Registry, line string) bool {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return slices.Contains(strings.Split(w.Body.String(), "\n"), line)
}

func single(name string, s *service, alerts, logs Reader) Target {
	return Target{Name: name, Output: s, Alerts: alerts, Logs: logs, Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second}}
}

func flat(calls [][]string) string { return strings.Join(slices.Concat(calls...), " ") }

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &service{reply: func(int, []string) error {
			if time.Since(start) < time.Hour {
				return errors.New("connection refused")
			}
			return nil
		}}
		m := newMemory(several("a", 5)...)
		reg, stop := running(t, &letters{}, single("slack", s, m, nil))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		stop()
		calls := s.got()
		if taken := flat(calls[len(calls)-5:]); taken != "a0 a1 a2 a3 a4" {
			t.Errorf("after the outage: %s", taken)
		}
		// Of an hour, at a wait of 15 to 30 s, and now and then to find out whether one
		// event is at fault.
		if n := len(calls) - 5; n < 100 || n > 400 {
			t.Errorf("%d attempts within the outage", n)
		}
		if m.done() != 5 {
			t.Errorf("acknowledged %d", m.done())
		}
		for _, want := range []string{
			`falcosecurity_falcosidekick_outputs_total{destination="slack",status="ok"} 5`,
			`sidearmor_dead_letters_total{destination="slack",reason="refused"} 0`,
			fmt.Sprintf(`sidearmor_delivery_retries_total{destination="slack"} %d`, len(calls)-5),
		} {
			if !metric(reg, want) {
				t.Errorf("metric %s is missing", want)
			}
		}
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		s := &service{reply: func(n int, _ []string) error {
			at = append(at, time.Now())
			if n == 0 {
				return &outputs.Error{Class: outputs.RateLimited, RetryAfter: 7 * time.Minute, Err: errors.New("429")}
			}
			return nil
		}}
		_, stop := running(t, &letters{}, single("slack", s, newMemory(several("a", 1)...), nil))
		time.Sleep(time.Hour)
		stop()
		if len(at) != 2 || at[1].Sub(at[0]) < 7*time.Minute || at[1].Sub(at[0]) > 8*time.Minute {
			t.Errorf("attempts at %v", at)
		}
	})
}

func TestRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(_ int, ids []string) error {
			if ids[0] == "a1" {
				return &outputs.Error{Class: outputs.Permanent, Err: errors.New("400 invalid_blocks")}
			}
			return nil
		}}
		dead := &letters{fail: 2}
		m := newMemory(several("a", 3)...)
		reg, stop := running(t, dead, single("slack", s, m, nil))
		time.Sleep(time.Minute)
		stop()
		if dead.reasons["slack/a1"] != "400 invalid_blocks" || len(dead.reasons) != 1 {
			t.Errorf("dead letters %v", dead.reasons)
		}
		// What cannot even be kept as a dead letter is tried again.
		if got := flat(s.got()); got != "a0 a1 a1 a1 a2" {
			t.Errorf("calls %s", got)
		}
		if !metric(reg, `sidearmor_dead_letters_total{destination="slack",reason="refused"} 1`) || m.done() != 3 {
			t.Errorf("acknowledged %d", m.done())
		}
	})
}

func TestPartialFailure(t *testing.T) {
	for _, c := range []struct {
		class outputs.Class
		want  string
		dead  int
	}{
		{outputs.Transient, "[[a0 a1 a2 a3] [a1 a3] [a4]]", 0},
		{outputs.Permanent, "[[a0 a1 a2 a3] [a4]]", 2},
	} {
		t.Run(c.class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{reply: func(n int, _ []string) error {
					if n == 0 {
						return &outputs.Error{Class: c.class, Failed: []int{3, 1, 1, -1, 99}, Err: errors.New("two of them")}
					}
					return nil
				}}
				dead := &letters{}
				target := single("cloud", s, newMemory(several("a", 5)...), nil)
				target.Limits.BatchEvents, target.Limits.BatchDelay = 4, time.Second
				_, stop := running(t, dead, target)
				time.Sleep(time.Minute)
				stop()
				if got := fmt.Sprint(s.got()); got != c.want || len(dead.reasons) != c.dead {
					t.Errorf("calls %s, dead %v", got, dead.reasons)
				}
			})
		})
	}
}

func TestBatchLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits outputs.Limits
		want   string
	}{
		{"events", outputs.Limits{BatchEvents: 3, BatchDelay: time.Second}, "[[a0 a1 a2] [a3 a4 a5] [a6]]"},
		{"bytes", outputs.Limits{BatchEvents: 100, BatchBytes: 250, BatchDelay: time.Second}, "[[a0 a1] [a2 a3] [a4 a5] [a6]]"},
		{"one is larger", outputs.Limits{BatchEvents: 100, BatchBytes: 50, BatchDelay: time.Second}, "[[a0] [a1] [a2] [a3] [a4] [a5] [a6]]"},
		{"none given", outputs.Limits{}, "[[a0] [a1] [a2] [a3] [a4] [a5] [a6]]"},
		{"no delay", outputs.Limits{BatchEvents: 100}, "[[a0 a1 a2 a3 a4 a5 a6]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{}
				target := single("x", s, newMemory(several("a", 7)...), nil)
				target.Limits = c.limits
				_, stop := running(t, &letters{}, target)
				time.Sleep(time.Minute)
				stop()
				if got := fmt.Sprint(s.got()); got != c.want {
					t.Errorf("calls %s", got)
				}
			})
		})
	}
}

func TestMinimumPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		falco := func(id, rule string) schema.Event {
			return schema.Event{ID: id, Kind: schema.KindFalco, Falco: &schema.FalcoEvent{Rule: rule, Priority: schema.PriorityDebug}}
		}
		m := newMemory(alert("low", "1"), falco("debug", "some rule"), falco("test", "Test rule"), alert("high", "10"), alert("low2", "1"))
		s := &service{}
		target := single("slack", s, m, nil)
		target.MinimumPriority = schema.PriorityCritical
		reg, stop := running(t, &letters{}, target)
		time.Sleep(time.Minute)
		stop()
		if got := flat(s.got()); got != "test high" {
			t.Errorf("calls %s", got)
		}
		if m.done() != 5 || !metric(reg, `sidearmor_filtered_events_total{destination="slack"} 3`) {
			t.Errorf("acknowledged %d", m.done())
		}
	})
}

// matching is a filter by ID.
type matching func(id string) (bool, error)

func (m matching) Match(e *schema.Event) (bool, error) { return m(e.ID) }

// What the filter cannot decide on is delivered, counted and logged once.
func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		test := schema.Event{ID: "test", Kind: schema.KindFalco, Falco: &schema.FalcoEvent{Rule: "Test rule"}}
		m := newMemory(alert("yes1", "5"), alert("no1", "5"), alert("unsure1", "5"), test, alert("low", "1"), alert("unsure2", "5"), alert("no2", "5"))
		target := single("slack", s, m, newMemory(logEvent("no3"), logEvent("unsure3")))
		target.MinimumPriority = schema.PriorityError
		target.Filter = matching(func(id string) (bool, error) {
			if strings.HasPrefix(id, "unsure") {
				return false, errors.New("no such key: Flags")
			}
			if id == "low" {
				t.Error("an event below the minimum priority was put to the filter")
			}
			return strings.HasPrefix(id, "yes"), nil
		})
		var text strings.Builder
		reg := prometheus.NewRegistry()
		d := New(Options{
			Targets: []Target{target}, DeadLetters: &letters{}, Metrics: reg, StopTimeout: 5 * time.Second,
			Log: slog.New(slog.NewTextHandler(&text, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if got := flat(s.got()); got != "yes1 unsure1 test unsure2" {
			t.Errorf("calls %s", got)
		}
		if m.done() != 7 || !metric(reg, `sidearmor_filtered_events_total{destination="slack"} 5`) ||
			!metric(reg, `sidearmor_filter_errors_total{destination="slack"} 2`) {
			t.Errorf("acknowledged %d, or wrong counts", m.done())
		}
		if n := strings.Count(text.String(), "no such key"); n != 1 {
			t.Errorf("%d lines of log:\n%s", n, &text)
		}
	})
}

func TestAlertsBeforeLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(_ int, ids []string) error {
			if strings.HasPrefix(ids[0], "l") {
				return errors.New("logs are not taken")
			}
			return nil
		}}
		alerts, logs := newMemory(), newMemory(logEvent("l0"), logEvent("l1"))
		_, stop := running(t, &letters{}, single("x", s, alerts, logs))
		time.Sleep(time.Minute)
		alerts.add(several("a", 3)...)
		time.Sleep(time.Minute)
		stop()
		if got := flat(s.got()); !strings.Contains(got, "a0 a1 a2 l0") {
			t.Errorf("calls %s", got)
		}
		if alerts.done() != 3 || logs.done() != 0 {
			t.Errorf("acknowledged %d alerts, %d logs", alerts.done(), logs.done())
		}
	})
}

// A wait that the service asks for is kept by alerts too.
func TestRetryAfterConcernsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(n int, _ []string) error {
			if n == 0 {
				return &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Minute, Err: errors.New("429")}
			}
			return nil
		}}
		alerts := newMemory()
		_, stop := running(t, &letters{}, single("x", s, alerts, newMemory(logEvent("l0"))))
		time.Sleep(time.Second)
		alerts.add(several("a", 1)...)
		time.Sleep(50 * time.Second)
		if got := flat(s.got()); got != "l0" {
			t.Errorf("calls %s before the wait is over", got)
		}
		time.Sleep(time.Minute)
		stop()
		if got := flat(s.got()); got != "l0 a0 l0" {
			t.Errorf("calls %s", got)
		}
	})
}

func TestOneOutputDownDoesNotHoldAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &service{reply: func(int, []string) error { return errHang }}
		up := &service{}
		_, stop := running(t, &letters{},
			single("down", down, newMemory(several("a", 3)...), nil), single("up", up, newMemory(several("a", 3)...), nil))
		synctest.Wait()
		if got := flat(up.got()); got != "a0 a1 a2" {
			t.Errorf("up got %s", got)
		}
		time.Sleep(time.Minute)
		if got := down.got(); len(got) < 3 || got[2][0] != "a0" {
			t.Errorf("down: calls %v", got) // the timeout ended each
		}
		stop()
	})
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		acked int
	}{{"finishes what is under way", 4 * time.Second, 1}, {"within its bound", time.Minute, 0}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(several("a", 5)...)
				target := single("x", nil, m, nil)
				target.Limits.Timeout = 2 * time.Minute
				target.Output = slow(c.takes)
				_, stop := running(t, &letters{}, target)
				synctest.Wait()
				begin := time.Now()
				stop()
				if took := time.Since(begin); took > 5*time.Second || m.done() != c.acked {
					t.Errorf("stopped after %v, acknowledged %d", took, m.done())
				}
			})
		})
	}
}

// slow takes so long for a delivery.
type slow time.Duration

func (s slow) Deliver(ctx context.Context, _ []schema.Event) error {
	select {
	case <-time.After(time.Duration(s)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestPanicGoesToDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{reply: func(n int, _ []string) error {
			if n == 0 {
				panic("https://hooks.slack.com/CANARY")
			}
			return nil
		}}
		dead := &letters{}
		m := newMemory(several("a", 2)...)
		_, stop := running(t, dead, single("x", s, m, nil))
		time.Sleep(time.Minute)
		stop()
		if reason := dead.reasons["x/a0"]; reason == "" || strings.Contains(reason, "CANARY") || m.done() != 2 {
			t.Errorf("reason %q, acknowledged %d", reason, m.done())
		}
	})
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		failures int
		asked    time.Duration
		chance   float64
		want     time.Duration
	}{
		{1, 0, 0, 250 * time.Millisecond},
		{1, 0, 1, 500 * time.Millisecond},
		{3, 0, 1, 2 * time.Second},
		{7, 0, 1, 30 * time.Second},
		{1000, 0, 0, 15 * time.Second},
		{1, 10 * time.Second, 0, 10 * time.Second},
		{1, 10 * time.Second, 1, 11 * time.Second},
		{20, time.Second, 1, 30 * time.Second},
		{1, 1000 * time.Hour, 0, time.Hour},
		{1, -time.Hour, 0, 250 * time.Millisecond},
	} {
		if got := backoff(c.failures, c.asked, c.chance); got != c.want {
			t.Errorf("backoff(%d, %v, %v) is %v, want %v", c.failures, c.asked, c.chance, got, c.want)
		}
	}
}
