package outputtest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// statuses tries every status that HTTP knows. 1xx other than 101 are
// followed by a 200, as HTTP has it.
func (s Spec) statuses(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for code := 100; code <= 599; code++ {
		r.reset(t, status(code))
		if code < 300 && code != http.StatusSwitchingProtocols {
			r.reset(t, s.success(code))
		}
		err := Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
		want, fails := s.class(code)
		switch {
		case !fails && err != nil:
			t.Errorf("%d: %v", code, err)
		case fails && err == nil:
			t.Errorf("%d: no error", code)
		case fails && Class(err) != want:
			t.Errorf("%d: %v, want %v (%v)", code, Class(err), want, err)
		}
	}
}

// success answers as the service does, with another status.
func (s Spec) success(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		if s.Answer != nil && code != http.StatusNoContent && code >= 200 {
			s.Answer(w, r)
		}
	}
}

// class is the common table of statuses, and what is different for the output.
func (s Spec) class(code int) (outputs.Class, bool) {
	if c, ok := s.Classes[code]; ok {
		return c, true
	}
	switch {
	case code < 300 && code != 101:
		return 0, false
	case code == 429:
		return outputs.RateLimited, true
	case code == 408, code == 425, code < 400, code >= 500:
		return outputs.Transient, true
	case slices.Contains([]int{401, 402, 403, 404, 405, 407, 410}, code): // the address, not the events
		return outputs.Transient, true
	}
	return outputs.Permanent, true
}

func (s Spec) retryAfter(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for _, tt := range []struct {
		name, header string
		status       int
		class        outputs.Class
		min, max     time.Duration
	}{
		{"seconds", "7", 429, outputs.RateLimited, 7 * time.Second, 7 * time.Second},
		{"absent", "", 429, outputs.RateLimited, 0, 0},
		{"part of a second", "0.25", 429, outputs.RateLimited, 250 * time.Millisecond, 250 * time.Millisecond},
		{"date", "in an hour", 429, outputs.RateLimited, time.Second, time.Hour},
		{"date in the past", "Fri, 31 Dec 1999 23:59:59 GMT", 429, outputs.RateLimited, 0, 0},
		{"nonsense", "soon", 429, outputs.RateLimited, 0, 0},
		{"negative", "-3", 429, outputs.RateLimited, 0, 0},
		{"not a number", "NaN", 429, outputs.RateLimited, 0, 0},
		{"a year", "31536000", 429, outputs.RateLimited, time.Hour, time.Hour},
		{"unavailable", "5", 503, outputs.Transient, 5 * time.Second, 5 * time.Second},
		{"permanent", "5", 400, outputs.Permanent, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if header == "in an hour" {
				header = time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
			}
			r.reset(t, func(w http.ResponseWriter, r *http.Request) {
				if header != "" {
					w.Header().Set("Retry-After", header)
				}
				status(tt.status)(w, r)
			})
			err := Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
			oe, ok := errors.AsType[*outputs.Error](err)
			if !ok || oe.Class != tt.class || oe.RetryAfter < tt.min || oe.RetryAfter > tt.max {
				t.Errorf("got %#v, want %v after %v to %v", oe, tt.class, tt.min, tt.max)
			}
		})
	}
}

// redirect makes sure that an address given in confidence is not taken
// elsewhere.
func (s Spec) redirect(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for _, code := range []int{301, 302, 303, 307, 308} {
		r.reset(t, status(code))
		err := Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
		if err == nil || r.requests() != 1 {
			t.Errorf("%d: %d requests, error %v; want one and an error", code, r.requests(), err)
		}
	}
}

// faults breaks the connection in every way. All of it passes: transient.
func (s Spec) faults(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for name, answer := range map[string]http.HandlerFunc{
		"reset":    func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "") },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "220 smtp.example ready\r\n") },
		// Servers of other protocols, which repeat what they do not understand.
		"echo": func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "HTTP/1.1 "+Canary+" "+Canary+"\r\n\r\n") },
		"echoed header": func(w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\n"+Canary+"\r\n\r\n")
		},
		"echoed length": func(w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: "+Canary+"\r\n\r\n")
		},
		"echoed encoding": func(w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+Canary+"\r\n\r\n")
		},
		"echoed line":   func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "220 "+Canary+"\r\n\r\n") },
		"half a header": func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Le") },
		"abort":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"monstrous header": func(w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nX: "+string(make([]byte, 1<<20)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.reset(t, answer)
			wantTransient(t, Deliver(t.Context(), t, o, []schema.Event{BlockedExec()}))
		})
	}
	t.Run("refused", func(t *testing.T) {
		gone := httptest.NewServer(r)
		gone.Close()
		wantTransient(t, s.sendTo(t, gone.URL))
	})
	t.Run("unknown authority", func(t *testing.T) {
		tls := httptest.NewUnstartedServer(r)
		tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		tls.StartTLS()
		t.Cleanup(tls.Close)
		wantTransient(t, s.sendTo(t, tls.URL))
	})
}

func (s Spec) sendTo(t *testing.T, base string) error {
	o := New(t, s.Kind, s.Settings(t, base))
	return Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
}

func wantTransient(t testing.TB, err error) {
	t.Helper()
	if err == nil || Class(err) != outputs.Transient {
		t.Errorf("got %v, want a transient error", err)
	}
}

// hijack writes raw bytes instead of an answer and resets the connection.
func hijack(t testing.TB, w http.ResponseWriter, raw string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	_, _ = io.WriteString(conn, raw)
	if tcp, ok := conn.(*net.TCPConn); ok && raw == "" {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// hang lets the service never answer, or never end its answer, until the
// delivery is called off.
func (s Spec) hang(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"no answer": func(http.ResponseWriter) {},
		"half a refusal": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000000")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "begins")
			w.(http.Flusher).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			r := newReceiver(t, s)
			t.Cleanup(func() { close(release) }) // before the server waits for its handlers
			r.reset(t, func(w http.ResponseWriter, req *http.Request) {
				begin(w)
				close(arrived)
				<-release
			})
			o := New(t, s.Kind, s.Settings(t, r.URL))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-arrived
				cancel()
			}()
			wantTransient(t, Deliver(ctx, t, o, []schema.Event{BlockedExec()}))
		})
	}
}

// cancelled calls the delivery off before it begins.
func (s Spec) cancelled(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Deliver(ctx, t, o, []schema.Event{BlockedExec()})
	wantTransient(t, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not say that it was cancelled", err)
	}
	if n := r.requests(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// endless answers with a body that has no end. The output must stop reading;
// what it makes of the answer is its own affair.
func (s Spec) endless(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for _, code := range []int{200, 400, 500} {
		r.reset(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			chunk := make([]byte, 32<<10)
			for {
				if _, err := w.Write(chunk); err != nil {
					return // the output hung up
				}
			}
		})
		_ = Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
	}
}
