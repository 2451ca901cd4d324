package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

// impostor answers at the sidekick's port: to everything that it is asked, and on the
// stream with a state without policies.
type impostor struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func newImpostor(t *testing.T, port string) *impostor {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{}
	i.Server = httptest.NewUnstartedServer(i)
	i.Listener.Close()
	i.Listener = l
	i.Start()
	t.Cleanup(i.close)
	return i
}

func (i *impostor) close() {
	i.CloseClientConnections()
	i.Close()
}

func (i *impostor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := httputil.DumpRequest(r, true)
	i.mu.Lock()
	i.requests = append(i.requests, string(text))
	i.mu.Unlock()
	switch r.URL.Path {
	case policystream.ProofPath:
		fmt.Fprintf(w, `{"at":%q,"proofs":[%q]}`, i.Listener.Addr(), strings.Repeat("00", 32))
	case policystream.Path:
		text, _ := new(policystream.Encoder).Encode(policystream.State{Instance: "i", Generation: 1})
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: "+string(text)+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// asked is how many requests came.
func (i *impostor) asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.requests)
}

// learned is all that came.
func (i *impostor) learned() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.requests, "\n")
}
