package emit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// sidekick is a receiver that takes every event once, unless answer says
// otherwise for a request.
type sidekick struct {
	*httptest.Server
	answer func(n int, w http.ResponseWriter, r *http.Request, items []string) bool // true: it has answered

	mu       sync.Mutex
	requests int
	keys     []string
	sizes    []int // items of each request
	items    []schema.Event
	seen     map[string]bool // key-index, as the real one recognises repetitions
	repeated int
}

func newSidekick(t testing.TB) *sidekick {
	t.Helper()
	s := &sidekick{seen: map[string]bool{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sidekick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	items := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	s.mu.Lock()
	n := s.requests
	s.requests++
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	s.sizes = append(s.sizes, len(items))
	s.mu.Unlock()
	if s.answer != nil && s.answer(n, w, r, items) {
		return
	}
	if err := s.store(r.Header.Get("Idempotency-Key"), items); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *sidekick) store(key string, items []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, item := range items {
		ev, err := schema.Decode([]byte(item))
		if err != nil {
			return err
		}
		id := fmt.Sprintf("%s-%d", key, i)
		if s.seen[id] {
			s.repeated++
			continue
		}
		s.seen[id] = true
		s.items = append(s.items, ev)
	}
	return nil
}

// resources gives the Resource of each event that was taken, in order, without
// reports of loss.
func (s *sidekick) resources() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, ev := range s.items {
		switch {
		case ev.Log != nil:
			all = append(all, ev.Log.Resource)
		case ev.Alert.Type != schema.TypeSystemEvent:
			all = append(all, ev.Alert.Resource)
		}
	}
	return all
}

func (s *sidekick) reports() (all []*schema.Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.items {
		if ev.Alert != nil && ev.Alert.Type == schema.TypeSystemEvent {
			all = append(all, ev.Alert)
		}
	}
	return all
}

func (s *sidekick) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func alertOf(resource string) schema.Event {
	return schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{
		Record:     record(schema.TypeMatchedPolicy, resource),
		PolicyName: "block-it", Severity: "5", Enforcer: "SideArmor", Action: schema.ActionBlock,
	}}
}

func logOf(resource string) schema.Event {
	return schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: record(schema.TypeContainerLog, resource)}}
}

func record(kind, resource string) schema.Record {
	data := "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY|O_CLOEXEC"
	return schema.Record{
		Timestamp: 1767225600, UpdatedTime: "2026-01-01T00:00:00.000000Z", Type: kind, Operation: schema.OperationFile,
		Source: "/usr/bin/python3 app.py", ProcessName: "/usr/bin/python3", ParentProcessName: "/bin/sh",
		Resource: resource, Data: data, EventData: schema.EventData(schema.OperationFile, resource, data),
		Result: schema.ResultPassed, Cwd: "/", PID: 7, PPID: 1,
	}
}

// start runs an emitter. The returned function closes it, waits for Run, and
// gives the error of Close.
func start(t testing.TB, o Options) (*Emitter, func(time.Duration) error) {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	run.Go(func() {
		if err := e.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	end := func(bound time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		err := e.Close(ctx)
		run.Wait()
		return err
	}
	t.Cleanup(func() { _ = end(0) })
	return e, end
}

const long = time.Minute // a bound that no passing test reaches

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never happened: " + what)
		}
	}
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// names gives a, b, c … with numbers, for n events.
func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("/data/%04d", i))
	}
	return all
}

// lockedBuffer takes a log from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
