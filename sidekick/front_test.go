package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate for localhost, its own authority, and its key.
func selfSigned(t *testing.T, dir string) (cert, key string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: dir},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

// client reaches address, whatever the URL says. With a pair it speaks TLS, trusts
// that certificate and shows it too if mutual.
func client(network, address string, pair *tls.Certificate, mutual bool) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	if pair != nil {
		pool := x509.NewCertPool()
		pool.AddCert(pair.Leaf)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		if mutual {
			transport.TLSClientConfig.Certificates = []tls.Certificate{*pair}
		}
	}
	return &http.Client{Transport: transport}
}

// ask gives the status of an answer, 0 for none, and its body.
func ask(t *testing.T, c *http.Client, method, url, token string) (int, string) {
	t.Helper()
	return askWith(t, c, method, url, token, event("alert", 1))
}

func askWith(t *testing.T, c *http.Client, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func logged(t *testing.T, s *sidekick, name string) string {
	t.Helper()
	m := regexp.MustCompile(`"` + name + `":"([^"]+)"`).FindStringSubmatch(s.log.String())
	if m == nil {
		t.Fatalf("%s is not in the log:\n%s", name, s.log)
	}
	return m[1]
}

// The token is asked for, changes with its file, and is nowhere to be seen.
func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("CANARY-1\nCANARY-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := inside(t, environment(t.TempDir(), "AUTH_TOKEN_FILE="+file, "DEBUG=true"))
	c := client("tcp", strings.TrimPrefix(s.url, "http://"), nil, false)
	var seen bytes.Buffer
	post := func(token string) int {
		status, body := ask(t, c, http.MethodPost, s.url+"/", token)
		seen.WriteString(body)
		return status
	}
	for token, want := range map[string]int{"": 401, "CANARY-3": 401, "CANARY-1": 200, "CANARY-2": 200} {
		if got := post(token); got != want {
			t.Errorf("%q: %d", token, got)
		}
	}
	if err := os.WriteFile(file, []byte("CANARY-33\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(time.Minute); post("CANARY-33") != 200; {
		if time.Now().After(limit) {
			t.Fatal("the new token does not count")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got := post("CANARY-1"); got != 401 {
		t.Errorf("the old token: %d", got)
	}
	for _, path := range []string{"/ping", "/healthz", "/readyz", "/metrics", "/debug/pprof/cmdline", "/debug/vars"} {
		status, body := ask(t, c, http.MethodGet, s.url+path, "")
		if strings.HasPrefix(path, "/debug") != (status == 404) {
			t.Errorf("%s: %d", path, status)
		}
		seen.WriteString(body)
	}
	s.stop()
	if text := seen.String() + s.log.String(); strings.Contains(text, "CANARY") {
		t.Errorf("a token is shown:\n%s", text)
	}
}

func TestMutualTLS(t *testing.T) {
	cert, key, pair := selfSigned(t, t.TempDir())
	env := environment(t.TempDir(), "TLSSERVER_DEPLOY=true", "TLSSERVER_CERTFILE="+cert, "TLSSERVER_KEYFILE="+key,
		"TLSSERVER_MUTUALTLS=true", "TLSSERVER_CACERTFILE="+cert, "TLSSERVER_NOTLSPORT=0", "TLSSERVER_NOTLSPATHS=/ping,/metrics", "LISTENADDRESS=0.0.0.0")
	s := inside(t, env)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	_, plainPort, _ := net.SplitHostPort(logged(t, s, "plain_address"))
	main, plain := "127.0.0.1:"+port, "127.0.0.1:"+plainPort
	for _, c := range []struct {
		name        string
		client      *http.Client
		method, url string
		want        int
	}{
		{"with a certificate", client("tcp", main, &pair, true), "POST", "https://localhost/", 200},
		{"without", client("tcp", main, &pair, false), "POST", "https://localhost/", 0},
		{"without TLS", client("tcp", main, nil, false), "POST", "http://localhost/", 400},
		{"moved to the other port", client("tcp", main, &pair, true), "GET", "https://localhost/ping", 404},
		{"on the other port", client("tcp", plain, nil, false), "GET", "http://localhost/ping", 200},
		{"post to the other port", client("tcp", plain, nil, false), "POST", "http://localhost/", 404},
	} {
		if got, text := ask(t, c.client, c.method, c.url, ""); got != c.want {
			t.Errorf("%s: %d %s", c.name, got, text)
		}
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"healthcheck"}, append(env, "LISTENPORT="+port), &out, &out); status != 0 {
		t.Errorf("healthcheck: %s", &out)
	}
	if strings.Contains(s.log.String(), "LISTEN_INSECURE") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestHealthcheckWithTLS(t *testing.T) {
	cert, key, _ := selfSigned(t, t.TempDir())
	otherCert, _, _ := selfSigned(t, t.TempDir())
	env := environment(t.TempDir(), "TLSSERVER_DEPLOY=true", "TLSSERVER_KEYFILE="+key, "TLSSERVER_CERTFILE="+cert)
	s := inside(t, env)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	for file, want := range map[string]string{cert: "", otherCert: "shows another certificate", "/nowhere": "no such file"} {
		var out bytes.Buffer
		status := run(t.Context(), []string{"healthcheck"}, append(env, "LISTENPORT="+port, "TLSSERVER_CERTFILE="+file), &out, &out)
		if (status == 0) != (want == "") || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d %s", file, status, &out)
		}
	}
}

func TestListenSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	env := []string{"LISTENSOCKET=" + path, "LISTENSOCKET_MODE=666", "QUEUE_DIR=" + t.TempDir(), "AUTH_TOKEN=right"}
	s := inside(t, env)
	if s.url != "http://"+path {
		t.Errorf("listens on %s", s.url)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	c := client("unix", path, nil, false)
	if status, text := ask(t, c, http.MethodPost, "http://localhost/", "right"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := ask(t, c, http.MethodPost, "http://localhost/", ""); status != 401 {
		t.Errorf("without the token: %d", status)
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"healthcheck"}, env, &out, &out); status != 0 {
		t.Errorf("healthcheck: %s", &out)
	}
	if status := run(t.Context(), nil, []string{"LISTENSOCKET=" + path, "QUEUE_DIR=" + t.TempDir()}, &out, &out); status != 1 || !strings.Contains(out.String(), "LISTENSOCKET: "+path+" is in use") {
		t.Errorf("second: %d %s", status, &out)
	}
	s.stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}

// Who is served, and where it is said: in the log, by check and by /readyz.
func TestServesWhomItIsAskedTo(t *testing.T) {
	const open = "LISTEN_INSECURE is set: anybody who can connect to "
	for _, c := range []struct {
		env           []string
		address, said string
	}{
		{nil, "127.0.0.1:", "LISTENADDRESS is not set, only this machine"},
		{[]string{"LISTENADDRESS=0.0.0.0", "AUTH_TOKEN=x"}, "[::]:", ""},
		{[]string{"LISTEN_INSECURE=true"}, "[::]:", open},
		{[]string{"LISTEN_INSECURE=true", "LISTENADDRESS=0.0.0.0"}, "[::]:", open},
	} {
		env := environment(t.TempDir(), c.env...)
		s := inside(t, env)
		address := strings.Replace(strings.TrimPrefix(s.url, "http://"), "0.0.0.0:", "[::]:", 1)
		if !strings.HasPrefix(address, c.address) || !strings.Contains(s.log.String(), c.said) {
			t.Errorf("%v: %s\n%s", c.env, s.url, s.log)
		}
		_, port, _ := net.SplitHostPort(address)
		local := client("tcp", "127.0.0.1:"+port, nil, false)
		_, ready := ask(t, local, http.MethodGet, "http://localhost/readyz", "")
		var out, said strings.Builder
		if status := run(t.Context(), []string{"check"}, env, &out, &said); status != 0 {
			t.Errorf("%v: check: %s", c.env, &said)
		}
		if want := c.said == open; strings.Contains(ready, open) != want || strings.Contains(said.String(), open) != want {
			t.Errorf("%v: /readyz %s, check %s", c.env, ready, &said)
		}
		s.stop()
	}
	for _, command := range []string{"serve", "check"} {
		var out, said strings.Builder
		env := environment(t.TempDir(), "LISTENADDRESS=0.0.0.0")
		if status := run(t.Context(), []string{command}, env, &out, &said); status != 1 || !strings.Contains(said.String(), "LISTENADDRESS: at 0.0.0.0 anybody could post") {
			t.Errorf("%s: exit status %d, %s", command, status, &said)
		}
	}
}

// Falco's http_output sends no headers: the token stands in its address.
func TestTokenInTheAddress(t *testing.T) {
	s := inside(t, environment(t.TempDir(), "AUTH_TOKEN=CANARY"))
	host := strings.TrimPrefix(s.url, "http://")
	for user, want := range map[string]int{"falco:CANARY": 200, "CANARY": 200, "falco:no": 401, "falco": 401} {
		if got, text := ask(t, http.DefaultClient, http.MethodPost, "http://"+user+"@"+host+"/", ""); got != want {
			t.Errorf("%s: %d %s", user, got, text)
		}
	}
	s.stop()
	if strings.Contains(s.log.String(), "CANARY") {
		t.Errorf("the token is shown:\n%s", s.log)
	}
}
