package access

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// shake lets a client with c meet a server with s, in memory, and gives the
// certificate that the server showed, and what either end says.
func shake(t *testing.T, s, c *tls.Config) (shown string, server, client error) {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error)
	go func() {
		conn := tls.Server(a, s)
		err := conn.Handshake()
		a.Close()
		done <- err
	}()
	conn := tls.Client(b, c)
	client = conn.Handshake()
	if state := conn.ConnectionState(); len(state.PeerCertificates) > 0 {
		shown = state.PeerCertificates[0].Subject.CommonName
	}
	if client == nil {
		_, err := conn.Read(make([]byte, 1)) // with TLS 1.3 a refusal comes after the handshake
		if err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "closed pipe") {
			client = err
		}
	}
	b.Close()
	return shown, <-done, client
}

func TestTLSFollowsItsFiles(t *testing.T) {
	a := newAuthority(t, "a")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(a.cert.NotBefore.Add(time.Hour))) // the bubble's clock is in the past
		files := a.issue(t, t.TempDir(), "one")
		config, err := TLS(files, silent())
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{RootCAs: a.pool(), ServerName: "localhost"}
		check := func(when, want string) {
			t.Helper()
			time.Sleep(recheck)
			if shown, server, client := shake(t, config, client); shown != want || server != nil || client != nil {
				t.Errorf("%s: %q, %v, %v", when, shown, server, client)
			}
		}
		check("at first", "one")
		next := a.issue(t, t.TempDir(), "second")
		replace(t, next.Cert, files.Cert)
		check("with half of it changed", "one")
		replace(t, next.Key, files.Key)
		check("with all of it changed", "second")
	})
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestTLSRefuses(t *testing.T) {
	a, stranger := newAuthority(t, "a"), newAuthority(t, "stranger")
	files := a.issue(t, t.TempDir(), "server")
	files.CA = a.file(t)
	config, err := TLS(files, silent())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*tls.Config)
		want   string // "" is let in
	}{
		{"its own", func(c *tls.Config) { c.Certificates = []tls.Certificate{a.client(t)} }, ""},
		{"none", func(*tls.Config) {}, "didn't provide a certificate"},
		{"a stranger's", func(c *tls.Config) {
			pair := stranger.client(t)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}, "unknown authority"},
		{"old TLS", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "versions"},
	} {
		client := &tls.Config{RootCAs: a.pool(), ServerName: "localhost"} //nolint:gosec // one of them is meant to be old
		c.change(client)
		_, err, _ := shake(t, config, client)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTLSFilesMustBeUsable(t *testing.T) {
	a := newAuthority(t, "a")
	good := a.issue(t, t.TempDir(), "server")
	other := a.issue(t, t.TempDir(), "other")
	junk := filepath.Join(t.TempDir(), "junk")
	write(t, junk, "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n")
	for _, c := range []struct {
		files Files
		want  string
	}{
		{Files{Cert: "/nowhere", Key: good.Key}, "TLSSERVER_CERTFILE: open /nowhere"},
		{Files{Cert: good.Cert, Key: "/nowhere"}, "TLSSERVER_KEYFILE: open /nowhere"},
		{Files{Cert: good.Cert, Key: junk}, "TLSSERVER_KEYFILE " + junk},
		{Files{Cert: junk, Key: good.Key}, "TLSSERVER_CERTFILE " + junk},
		{Files{Cert: good.Cert, Key: other.Key}, "private key does not match"},
		{Files{Cert: good.Cert, Key: good.Key, CA: "/nowhere"}, "TLSSERVER_CACERTFILE: open /nowhere"},
		{Files{Cert: good.Cert, Key: good.Key, CA: junk}, "TLSSERVER_CACERTFILE: " + junk + " holds no"},
	} {
		if _, err := TLS(c.files, silent()); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", c.files, err)
		}
	}
}

func TestExpiredCertificateIsSaid(t *testing.T) {
	a := newAuthority(t, "a")
	a.lifetime = -time.Minute
	var log strings.Builder
	if _, err := TLS(a.issue(t, t.TempDir(), "server"), slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), "has expired") {
		t.Errorf("%v:\n%s", err, &log)
	}
}
