package outputtest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// elsewhere: what a redirect to another server points to hears nothing.
func (s Spec) elsewhere(t *testing.T) {
	asked := make(chan struct{}, 1)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
	}))
	defer other.Close()
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	for _, code := range []int{301, 302, 303, 307, 308} {
		r.reset(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(code)
		})
		wantTransient(t, Deliver(t.Context(), t, o, []schema.Event{BlockedExec()}))
	}
	select {
	case <-asked:
		t.Error("a redirect was followed")
	default:
	}
}

// unresolvable: a name that does not exist may be a resolver in trouble.
func (s Spec) unresolvable(t *testing.T) {
	// A label that is longer than DNS allows: no resolver is asked.
	wantTransient(t, s.sendTo(t, "http://"+strings.Repeat("x", 64)+".invalid"))
}

// cut lets a success break off, at once or when the delivery is called off. Where
// the answer says what was taken, that is then not known; where the status alone
// counts, the events were taken. Nothing is refused for good by it.
func (s Spec) cut(t *testing.T) {
	for name, hold := range map[string]bool{"connection closed": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r.reset(t, func(w http.ResponseWriter, req *http.Request) {
				full := httptest.NewRecorder()
				if s.Answer != nil {
					s.Answer(full, req)
				}
				for key, values := range full.Header() {
					w.Header()[key] = values
				}
				w.Header().Set("Content-Length", "1000000")
				w.WriteHeader(full.Code)
				_, _ = io.WriteString(w, full.Body.String()[:full.Body.Len()/2])
				w.(http.Flusher).Flush()
				if hold {
					cancel()
					<-req.Context().Done()
				}
				panic(http.ErrAbortHandler)
			})
			o := New(t, s.Kind, s.Settings(t, r.URL))
			err := Deliver(ctx, t, o, []schema.Event{BlockedExec()})
			if err != nil && Class(err) != outputs.Transient {
				t.Errorf("%v: %v", Class(err), err)
			}
			if err == nil && s.AnswerCounts {
				t.Error("counts as delivered")
			}
		})
	}
}
