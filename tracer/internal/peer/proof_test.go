package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// sidekick answers, and notes what it was shown.
type sidekick struct {
	tokens []string
	at     func(r *http.Request) string // nil: where it was reached

	mu    sync.Mutex
	shown []string // of all requests but those for proofs
}

func (s *sidekick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != policystream.ProofPath {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shown = append(s.shown, r.Header.Get("Authorization"))
		return
	}
	var keys []policystream.Key
	for _, token := range s.tokens {
		keys = append(keys, policystream.KeyOf(token))
	}
	at := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	if s.at != nil {
		at = s.at(r)
	}
	_ = json.NewEncoder(w).Encode(policystream.Answers(keys, r.URL.Query().Get("nonce"), at))
}

// send sends one request to h, and gives what was shown to it.
func send(t *testing.T, h http.Handler, shown func() []string, o Options) ([]string, error) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	o.URL = server.URL
	return shownTo(t, shown, o)
}

func shownTo(t *testing.T, shown func() []string, o Options) ([]string, error) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL("events"), strings.NewReader("event"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := p.Do(r)
		if err != nil {
			return shown(), err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	return shown(), nil
}

func TestTheTokenIsForWhoProvesThatItKnowsIt(t *testing.T) {
	for name, s := range map[string]*sidekick{
		"the token":       {tokens: []string{"t0ken"}},
		"one of several":  {tokens: []string{"new", "t0ken"}},
		"translated IPv4": {tokens: []string{"t0ken"}, at: func(r *http.Request) string { return "[::ffff:127.0.0.1]:" + port(r) }},
	} {
		shown, err := send(t, s, func() []string { return s.shown }, Options{Token: secret.New("t0ken"), Prove: true})
		if err != nil || strings.Join(shown, ",") != "Bearer t0ken,Bearer t0ken" {
			t.Errorf("%s: %v, shown %q", name, err, shown)
		}
	}
}

func port(r *http.Request) string { return (&url.URL{Host: r.Host}).Port() }

func TestNothingIsForWhoDoesNot(t *testing.T) {
	elsewhere := &sidekick{tokens: []string{"t0ken"}}
	real := httptest.NewServer(elsewhere)
	defer real.Close()
	for name, h := range map[string]http.Handler{
		"another token": &sidekick{tokens: []string{"other"}},
		"no token":      &sidekick{},
		"a stranger":    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") }),
		"nothing there": http.NotFoundHandler(),
		// Who carries the question to a sidekick that does know.
		"a go-between": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			response, err := http.Get(real.URL + r.URL.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			_, _ = io.Copy(w, response.Body)
		}),
		"a go-between who lies": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			response, err := http.Get(real.URL + r.URL.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			var a policystream.Answer
			_ = json.NewDecoder(response.Body).Decode(&a)
			a.At = r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			_ = json.NewEncoder(w).Encode(a)
		}),
		"a repetition": func() http.Handler {
			old := policystream.Answers([]policystream.Key{policystream.KeyOf("t0ken")}, policystream.NewNonce(), "127.0.0.1:1")
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(old) })
		}(),
		"too much": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", 1<<20))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var beyond []string
			watch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.URL.Path != policystream.ProofPath || len(r.Header["Authorization"]) > 0 {
					beyond = append(beyond, r.URL.Path)
				}
				h.ServeHTTP(w, r)
			})
			got, err := send(t, watch, func() []string { mu.Lock(); defer mu.Unlock(); return beyond }, Options{Token: secret.New("t0ken"), Prove: true})
			if !errors.Is(err, ErrNotProven) || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("%v", err)
			}
			if len(got) > 0 {
				t.Errorf("sent nevertheless: %q", got)
			}
		})
	}
}

func TestProofOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidekick{tokens: []string{"t0ken"}}
	server := httptest.NewUnstartedServer(s)
	server.Listener = l
	server.Start()
	defer server.Close()
	shown, err := shownTo(t, func() []string { return s.shown }, Options{URL: "unix://" + path, Token: secret.New("t0ken"), Prove: true})
	if err != nil || len(shown) != 2 {
		t.Errorf("%v, shown %q", err, shown)
	}
}

func TestTheProofIsNotWaitedForWithoutEnd(t *testing.T) {
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p, err := New(Options{URL: "http://" + silent.Addr().String(), Token: secret.New("t"), Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := silent.Accept(); err == nil {
			cancel()
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL(""), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := p.Do(r); err == nil {
		response.Body.Close()
		t.Error("there is an answer")
	}
}

func TestWhatProves(t *testing.T) {
	for _, c := range []struct {
		o              Options
		proves, secure bool
	}{
		{Options{URL: "http://h/", Prove: true}, false, false},
		{Options{URL: "http://h/", Prove: true, Token: secret.New("t")}, true, true},
		{Options{URL: "http://h/", Token: secret.New("t")}, false, false},
		{Options{URL: "https://h/", Prove: true, Token: secret.New("t")}, false, true},
		{Options{URL: "unix:///h", Prove: true, Token: secret.New("t")}, true, true},
	} {
		p, err := New(c.o)
		if err != nil || p.Proves() != c.proves || p.Secure() != c.secure {
			t.Errorf("%s: %v %v %v", c.o.URL, err, p.Proves(), p.Secure())
		}
	}
}
