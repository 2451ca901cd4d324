package outputtest

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// receiver is the service that outputs are tried against.
type receiver struct {
	*httptest.Server
	spec Spec

	mu     sync.Mutex
	t      testing.TB
	answer http.HandlerFunc // guarded by mu; nil: as the service answers when it takes something
	count  int              // guarded by mu
	body   []byte           // of the last request; guarded by mu
}

func newReceiver(t testing.TB, s Spec) *receiver {
	r := unstarted(t, s)
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func unstarted(t testing.TB, s Spec) *receiver {
	r := &receiver{spec: s, t: t}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return r
}

// reset makes answer answer from now on, and failures count against t.
func (r *receiver) reset(t testing.TB, answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t, r.answer, r.count = t, answer, 0
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *receiver) last() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	r.count, r.body = r.count+1, body
	t, answer := r.t, r.answer
	r.mu.Unlock()
	if err != nil {
		t.Errorf("read request: %v", err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body)) // for an answer that depends on it
	if r.spec.Check != nil {
		r.spec.Check(t, req, body)
	}
	switch {
	case answer != nil:
		answer(w, req)
	case r.spec.Answer != nil:
		r.spec.Answer(w, req)
	}
}

// status answers with a status, and repeats the request as some proxies do:
// address, headers and all.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere/"+Canary)
		w.Header().Set("X-Echo", r.RequestURI)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "cannot serve "+r.RequestURI+" for "+strings.Join(headers(r), " "))
	}
}

func headers(r *http.Request) []string {
	list := []string{Canary}
	for name, values := range r.Header {
		list = append(list, name+": "+strings.Join(values, ", "))
	}
	return list
}
