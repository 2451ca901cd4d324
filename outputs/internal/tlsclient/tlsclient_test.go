package tlsclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// authority signs certificates; its own is in file.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{certificate: certificate, key: key, file: filepath.Join(t.TempDir(), "ca.crt")}
	write(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate and its key to two files.
func (a authority) issue(t *testing.T, name, certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, "CERTIFICATE", der)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keyFile, "PRIVATE KEY", encoded)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T, settings outputtest.Settings) (*tls.Config, error) {
	t.Helper()
	k := outputs.Kind{Name: "x", Block: "x", Settings: tlsclient.Settings()}
	return tlsclient.Config(outputtest.Values(t, k, settings))
}

// server wants a certificate of clients if that is not nil, and gives the name in
// the one it was shown.
func server(t *testing.T, own authority, clients *authority) (url string, shown func() string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	own.issue(t, "server", certFile, keyFile)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		srv.TLS.ClientAuth, srv.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		srv.TLS.ClientCAs.AddCert(clients.certificate)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, func() string { return name }
}

func get(t *testing.T, url string, c *tls.Config) error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

func TestAuthorities(t *testing.T) {
	own, other := newAuthority(t, "own"), newAuthority(t, "other")
	url, _ := server(t, own, nil)
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		works    bool
	}{
		"nothing":         {nil, false},
		"its authority":   {outputtest.Settings{"cacertfile": own.file}, true},
		"another one":     {outputtest.Settings{"cacertfile": other.file}, false},
		"unchecked":       {outputtest.Settings{"checkcert": "false"}, true},
		"checked anyway?": {outputtest.Settings{"checkcert": "false", "cacertfile": other.file}, true},
	} {
		c, err := config(t, tt.settings)
		if err != nil {
			t.Fatal(err)
		}
		err = get(t, url, c)
		if (err == nil) != tt.works {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); err != nil && !ok {
			t.Errorf("%s: another failure: %v", name, err)
		}
	}
}

// The authorities for mutualtls count with it alone, and beside the others.
func TestMutualAuthorities(t *testing.T) {
	own, other, clients := newAuthority(t, "own"), newAuthority(t, "other"), newAuthority(t, "clients")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	clients.issue(t, "client", certFile, keyFile)
	mutual := outputtest.Settings{"mutualtls": "true", "certfile": certFile, "keyfile": keyFile}
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		server   authority
		works    bool
	}{
		"with mutualtls":     {mutual.With(outputtest.Settings{"mutualcacertfile": own.file}), own, true},
		"and others, first":  {mutual.With(outputtest.Settings{"mutualcacertfile": own.file, "cacertfile": other.file}), own, true},
		"and others, second": {mutual.With(outputtest.Settings{"mutualcacertfile": own.file, "cacertfile": other.file}), other, true},
		"another":            {mutual.With(outputtest.Settings{"mutualcacertfile": other.file}), own, false},
		"without mutualtls":  {outputtest.Settings{"mutualcacertfile": own.file}, own, false},
	} {
		url, _ := server(t, tt.server, nil)
		c, err := config(t, tt.settings)
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, url, c); (err == nil) != tt.works {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMutual(t *testing.T) {
	own, clients := newAuthority(t, "own"), newAuthority(t, "clients")
	url, shown := server(t, own, &clients)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	clients.issue(t, "first", certFile, keyFile)
	c, err := config(t, outputtest.Settings{"mutualtls": "true", "certfile": certFile, "keyfile": keyFile, "cacertfile": own.file})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, url, c); err != nil || shown() != "first" {
		t.Errorf("shown %q, %v", shown(), err)
	}
	clients.issue(t, "renewed", certFile, keyFile)
	if err := get(t, url, c); err != nil || shown() != "renewed" {
		t.Errorf("shown %q, %v", shown(), err)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if err := get(t, url, c); err == nil {
		t.Error("a certificate that is gone was shown")
	}
	// With mutualtls the server is always checked.
	clients.issue(t, "third", certFile, keyFile)
	c, err = config(t, outputtest.Settings{"mutualtls": "true", "certfile": certFile, "keyfile": keyFile, "checkcert": "false"})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, url, c); err == nil {
		t.Error("a server of an unknown authority was trusted")
	}
}

func TestRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"check":      {outputtest.Settings{"checkcert": "no"}, "X_CHECKCERT"},
		"mutual":     {outputtest.Settings{"mutualtls": "2"}, "X_MUTUALTLS"},
		"no files":   {outputtest.Settings{"mutualtls": "true"}, "X_MUTUALTLS: needs MUTUALTLSCLIENT_CERTFILE and MUTUALTLSCLIENT_KEYFILE"},
		"no key":     {outputtest.Settings{"mutualtls": "true", "certfile": empty, "keyfile": empty}, "MUTUALTLSCLIENT_CERTFILE"},
		"no such":    {outputtest.Settings{"cacertfile": "/nowhere"}, "TLSCLIENT_CACERTFILE: open /nowhere"},
		"nothing in": {outputtest.Settings{"cacertfile": empty}, "TLSCLIENT_CACERTFILE: " + empty + " holds no certificate"},
	} {
		if _, err := config(t, tt.settings); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	if c, err := config(t, nil); c != nil || err != nil {
		t.Errorf("without settings: %v, %v", c, err)
	}
}
