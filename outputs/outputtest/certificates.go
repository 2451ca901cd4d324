package outputtest

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// certificates tries the settings about certificates on an output that has them.
// Falco events may take another way than the others.
func (s Spec) certificates(t *testing.T) {
	if !slices.ContainsFunc(s.Kind.Settings, func(o outputs.Setting) bool { return o.Key == "checkcert" }) {
		return
	}
	r := unstarted(t, s)
	r.StartTLS()
	t.Cleanup(r.Close)
	base := s.Settings(t, r.URL)
	for _, tt := range []struct {
		name     string
		settings Settings
		works    bool
	}{
		{"unknown authority", nil, false},
		{"known authority", Settings{"cacertfile": CertificateFile(t, r.Server)}, true},
		{"unchecked", Settings{"checkcert": "false"}, true},
	} {
		for _, e := range []schema.Event{BlockedExec(), Falco()} {
			r.reset(t, nil)
			o := New(t, s.Kind, base.With(tt.settings))
			err := Deliver(t.Context(), t, o, []schema.Event{e})
			if (err == nil) != tt.works || (r.requests() > 0) != tt.works {
				t.Errorf("%s, %s: %d requests, %v", tt.name, e.Kind, r.requests(), err)
			}
			if err != nil && Class(err) != outputs.Transient {
				t.Errorf("%s, %s: %v", tt.name, e.Kind, Class(err))
			}
		}
	}
}

// CertificateFile writes the certificate of a server that has TLS.
func CertificateFile(t testing.TB, srv *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
