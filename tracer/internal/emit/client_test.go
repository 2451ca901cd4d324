package emit

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		status   int
		text     string
		fate     fate
		known    bool
		item     int
		rejected map[int]string
	}{
		{200, "", taken, true, 0, nil},
		{204, "", taken, true, 0, nil},
		{200, "ok", taken, true, 0, nil},
		{200, `{"accepted":2,"rejected":1,"results":[{"status":"accepted"},{"status":"rejected","error":"no"},{"status":"accepted"}]}`, taken, true, 0, map[int]string{1: "no"}},
		{200, `{"results":[{},{},{},{"status":"rejected"}]}`, taken, true, 0, nil},
		{200, `{"results":{"status":"rejected"}}`, taken, true, 0, nil},
		{400, `{"error":"PID: no number","item":2,"field":"PID"}`, refusal, true, 2, nil},
		{400, "nonsense", refusal, true, -1, nil},
		{413, "", refusal, true, -1, nil},
		{422, "", refusal, true, -1, nil},
		{301, "", retry, false, 0, nil},
		{401, "", retry, false, 0, nil},
		{403, "", retry, false, 0, nil},
		{404, "", retry, false, 0, nil},
		{405, "", retry, false, 0, nil},
		{429, "", retry, true, 0, nil},
		{500, "", retry, false, 0, nil},
		{502, "", retry, false, 0, nil},
		{503, "", retry, true, 0, nil},
	} {
		a := judge(c.status, http.Header{}, []byte(c.text), 3)
		if a.fate != c.fate || a.known != c.known || a.item != c.item || !maps.Equal(a.rejected, c.rejected) {
			t.Errorf("%d %q: %+v", c.status, c.text, a)
		}
		if a.barred != (c.status == 401 || c.status == 403) {
			t.Errorf("%d: barred %v", c.status, a.barred)
		}
		if (a.err == nil) != (c.fate == taken) {
			t.Errorf("%d: error %v", c.status, a.err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "2": 2 * time.Second, "-4": 0, "soon": 0, "9999999999": maxRetryAfter, "99999999999999999999": 0,
		"Thu, 01 Jan 2026 12:00:07 GMT": 7 * time.Second,
		"Thu, 01 Jan 2026 11:00:00 GMT": 0,
		"Thu, 01 Jan 2036 12:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// transport answers requests without a network, so that time can be virtual.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return f(r)
}

func respond(status int, retryAfter string) (*http.Response, error) {
	h := http.Header{}
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: status, Header: h, Body: http.NoBody}, nil
}

// gaps runs an emitter against answers and gives the pauses between requests,
// until so many were made.
func gaps(t *testing.T, o Options, n int, answer func() (*http.Response, error)) (all []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		enough := make(chan struct{})
		o.URL = "http://sidekick.test/"
		o.Transport = transport(func(*http.Request) (*http.Response, error) {
			if times = append(times, time.Now()); len(times) == n {
				close(enough)
			}
			return answer()
		})
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- e.Run(ctx) }()
		e.Emit(alertOf("/a"))
		<-enough
		cancel()
		<-ended
		for i := range times[1:n] {
			all = append(all, times[i+1].Sub(times[i]))
		}
	})
	return all
}

func TestBackoff(t *testing.T) {
	refuse := func() (*http.Response, error) { return nil, errors.New("connection refused") }
	for name, c := range map[string]struct {
		given bool
		top   time.Duration
	}{"asked for": {true, 2 * time.Second}, "a default": {false, 10 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			want := 50 * time.Millisecond
			for i, got := range gaps(t, Options{URLGiven: c.given}, 12, refuse) {
				if got > want || got < want/2 {
					t.Errorf("pause %d is %v, want %v to %v", i, got, want/2, want)
				}
				want = min(2*want, c.top)
			}
		})
	}
}

func TestObeysRetryAfter(t *testing.T) {
	for _, got := range gaps(t, Options{URLGiven: true}, 4, func() (*http.Response, error) { return respond(503, "7") }) {
		if got != 7*time.Second {
			t.Errorf("pause %v, want 7s", got)
		}
	}
}

func TestBatchAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan time.Time, 100)
		e, err := New(Options{URL: "http://sidekick.test/", URLGiven: true, Transport: transport(func(*http.Request) (*http.Response, error) {
			arrived <- time.Now()
			return respond(200, "")
		})})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- e.Run(context.Background()) }()
		first := time.Now()
		for range 100 { // a trickle must not put off the batch
			e.Emit(logOf("/a"))
			time.Sleep(5 * time.Millisecond)
		}
		if age := (<-arrived).Sub(first); age > maxBatchAge || age < maxBatchAge/2 {
			t.Errorf("the first batch was %v old", age)
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := len(arrived) + 1; n < 4 || n > 8 {
			t.Errorf("%d batches in half a second", n)
		}
	})
}

// While loss goes on it is reported now and then, not with every batch, and the
// first time as soon as the line is back.
func TestReportsOfLossAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []time.Time
		sidekick := roundTripper(func(r *http.Request) (*http.Response, error) {
			text, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if strings.Contains(string(text), "SystemEvent") {
				reports = append(reports, time.Now())
			}
			return respond(200, "")
		})
		e, err := New(Options{URL: "http://sidekick.test/", URLGiven: true, BufferBytes: 64 << 10, Transport: sidekick})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- e.Run(context.Background()) }()
		for range 60 {
			for range 200 {
				e.Emit(logOf("/a")) // more than fit, all at once
			}
			time.Sleep(time.Second)
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		<-ended
		if e.Stats().LostLogs == 0 {
			t.Fatal("nothing was lost")
		}
		if n := len(reports); n < 5 || n > 8 {
			t.Errorf("%d reports in a minute: %v", n, reports)
		}
		for i := 1; i < len(reports)-1; i++ {
			if gap := reports[i].Sub(reports[i-1]); gap < reportEvery {
				t.Errorf("%v between two reports", gap)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An answer of any size costs bounded memory, and still counts.
func TestEndlessAnswer(t *testing.T) {
	s := newSidekick(t)
	s.answer = func(_ int, w http.ResponseWriter, r *http.Request, items []string) bool {
		_ = s.store(r.Header.Get("Idempotency-Key"), items)
		chunk := []byte(strings.Repeat("x", 64<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
		return true
	}
	e, end := start(t, Options{URL: s.URL, URLGiven: true})
	e.Emit(alertOf("/a"))
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), []string{"/a"})
	if st := e.Stats(); st.Delivered != 1 {
		t.Errorf("stats %+v", st)
	}
}
