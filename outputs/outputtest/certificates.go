package outputtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// badCertificates: a service whose certificate is of a known authority, but expired
// or for another host, is not sent anything, and the events wait until that is put
// right.
func (s Spec) badCertificates(t *testing.T) {
	if !slices.ContainsFunc(s.Kind.Settings, func(o outputs.Setting) bool { return o.Key == "cacertfile" }) {
		return
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, tt := range []struct {
		name  string
		until time.Time
		hosts []net.IP
		works bool
	}{
		{"expired", time.Now().Add(-time.Hour), loopback, false},
		{"of another host", time.Now().Add(time.Hour), []net.IP{net.IPv4(192, 0, 2, 1)}, false},
		{"good", time.Now().Add(time.Hour), loopback, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := unstarted(t, s)
			r.TLS = &tls.Config{Certificates: []tls.Certificate{Certificate(t, tt.until, tt.hosts...)}}
			r.StartTLS()
			t.Cleanup(r.Close)
			o := New(t, s.Kind, s.Settings(t, r.URL).With(Settings{"cacertfile": CertificateFile(t, r.Server)}))
			err := Deliver(t.Context(), t, o, []schema.Event{BlockedExec()})
			if (err == nil) != tt.works || (r.requests() > 0) != tt.works {
				t.Errorf("%d requests, %v", r.requests(), err)
			}
			if err != nil && Class(err) != outputs.Transient {
				t.Errorf("%v: %v", Class(err), err)
			}
		})
	}
}

// Certificate makes a certificate that is its own authority, valid for the day
// before until.
func Certificate(t testing.TB, until time.Time, hosts ...net.IP) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IPAddresses: hosts,
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
