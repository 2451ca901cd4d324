package emit

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := newSidekick(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1/")
	e, end := start(t, Options{URL: "unix://" + path, URLGiven: true})
	e.Emit(alertOf("/a"))
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), []string{"/a"})
}

// pemFile writes blocks of a kind to a file of their own.
func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrivateAuthority(t *testing.T) {
	s := newSidekick(t)
	server := httptest.NewUnstartedServer(s)
	server.StartTLS()
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	// The test server's certificate is its own authority, and made out to 127.0.0.1.
	certFile, keyFile := pemFile(t, "CERTIFICATE", pair.Certificate[0]), pemFile(t, "PRIVATE KEY", private)

	shown := make(chan int, 10)
	server.TLS.ClientAuth = tls.RequireAnyClientCert
	server.TLS.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		shown <- len(raw)
		return nil
	}
	e, end := start(t, Options{URL: server.URL, URLGiven: true, CAFile: certFile, CertFile: certFile, KeyFile: keyFile})
	e.Emit(alertOf("/a"))
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), []string{"/a"})
	if n := <-shown; n != 1 {
		t.Errorf("%d certificates shown", n)
	}

	// Without the authority nothing is sent.
	e, end = start(t, Options{URL: server.URL, URLGiven: true})
	e.Emit(alertOf("/b"))
	eventually(t, "a try", func() bool { return e.Stats().Requests > 0 })
	if err := end(0); err == nil {
		t.Error("a server that is not trusted got events")
	}
	equal(t, s.resources(), []string{"/a"})
}

func TestTrustFilesMustBeUsable(t *testing.T) {
	junk := pemFile(t, "PRIVATE KEY", []byte("canary"))
	for _, o := range []Options{
		{CAFile: "/nowhere"}, {CAFile: junk}, {CertFile: "/nowhere", KeyFile: junk}, {CertFile: junk, KeyFile: junk},
	} {
		o.URL = "https://localhost/"
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), "/nowhere") && !strings.Contains(err.Error(), junk) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", o, err)
		}
	}
}
