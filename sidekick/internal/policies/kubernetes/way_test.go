package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/test/kube"
)

// fault is what happens to the watches of KubeArmorPolicies.
type fault int

const (
	none    fault = iota
	expired       // they are ended, and the next one is too old
	broken        // their connections break
)

// way is between a source and the API server.
type way struct {
	url    string
	caFile string
	proxy  *httputil.ReverseProxy

	mu      sync.Mutex
	closed  bool
	pending fault
	past    map[fault]bool
	watches map[*http.Request]context.CancelFunc
}

func newWay(t *testing.T, s *kube.Server) *way {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	w := &way{past: map[fault]bool{}, watches: map[*http.Request]context.CancelFunc{}}
	w.proxy = httputil.NewSingleHostReverseProxy(target)
	w.proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	w.proxy.FlushInterval = -1
	w.proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	w.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = w.proxy.ErrorLog
	server.StartTLS()
	t.Cleanup(func() { w.shut(); server.Close() })
	w.url = server.URL
	w.caFile = filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(w.caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// ServeHTTP implements http.Handler.
func (w *way) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	switch w.begin(r, cancel) {
	case broken:
		panic(http.ErrAbortHandler)
	case expired:
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}`)
		return
	}
	defer w.end(r)
	w.proxy.ServeHTTP(rw, r.WithContext(ctx))
}

// begin says what is to happen to a request.
func (w *way) begin(r *http.Request, cancel context.CancelFunc) fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return broken
	}
	if watches := strings.HasSuffix(r.URL.Path, "/kubearmorpolicies") && r.URL.Query().Get("watch") != ""; watches && w.pending == expired {
		w.pending, w.past[expired] = none, true
		return expired
	}
	w.watches[r] = cancel
	return none
}

func (w *way) end(r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, r)
}

// next lets a fault happen.
func (w *way) next(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f == expired {
		w.pending = f
	}
	w.cut()
}

// cut breaks all connections. w.mu is held.
func (w *way) cut() {
	for _, cancel := range w.watches {
		cancel()
		w.past[broken] = true
	}
}

func (w *way) happened(f fault) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.past[f]
}

// shut lets nobody through any more, open does again.
func (w *way) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.cut()
}

func (w *way) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.past = false, map[fault]bool{}
}
