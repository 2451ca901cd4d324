package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A sidekick that cannot listen, or show who it is, says why and ends.
func TestCannotStart(t *testing.T) {
	cert, key, _ := selfSigned(t, t.TempDir())
	_, otherKey, _ := selfSigned(t, t.TempDir())
	port := takenPort(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	secure := func(more ...string) []string {
		return append([]string{"TLSSERVER_DEPLOY=true", "TLSSERVER_CERTFILE=" + cert, "TLSSERVER_KEYFILE=" + key}, more...)
	}
	for _, c := range []struct {
		name string
		env  []string
		want string
	}{
		{"port taken", []string{"LISTENPORT=" + port}, "listen on LISTENADDRESS and LISTENPORT: listen tcp 127.0.0.1:" + port + ": bind: address already in use"},
		{"second port taken", secure("TLSSERVER_NOTLSPATHS=/ping", "TLSSERVER_NOTLSPORT="+port), "listen on LISTENADDRESS and TLSSERVER_NOTLSPORT: listen tcp 127.0.0.1:" + port + ": bind: address already in use"},
		{"address of another machine", []string{"LISTENADDRESS=192.0.2.1", "AUTH_TOKEN=x"}, "listen on LISTENADDRESS and LISTENPORT: listen tcp 192.0.2.1:0: bind: cannot assign requested address"},
		{"directory of the socket is missing", []string{"LISTENSOCKET=" + dir + "/none/s"}, "listen on LISTENSOCKET: "},
		{"directory of the socket is a file", []string{"LISTENSOCKET=" + file + "/s"}, "listen on LISTENSOCKET: "},
		{"no directory to write to", []string{"LISTENSOCKET=/proc/s"}, "listen on LISTENSOCKET: "},
		{"socket is a file", []string{"LISTENSOCKET=" + file}, "listen on LISTENSOCKET: " + file + " is there and is no socket"},
		{"key is missing", secure("TLSSERVER_KEYFILE=" + dir + "/none"), "TLSSERVER_KEYFILE: open " + dir + "/none: no such file or directory"},
		{"key is a directory", secure("TLSSERVER_KEYFILE=" + dir), "TLSSERVER_KEYFILE: read " + dir + ": is a directory"},
		{"key is empty", secure("TLSSERVER_KEYFILE=" + file), "TLSSERVER_KEYFILE " + file + ": tls: "},
		{"key of another certificate", secure("TLSSERVER_KEYFILE=" + otherKey), "private key does not match public key"},
		{"certificate is missing", secure("TLSSERVER_CERTFILE=" + dir + "/none"), "TLSSERVER_CERTFILE: open "},
		{"authorities are none", secure("TLSSERVER_MUTUALTLS=true", "TLSSERVER_CACERTFILE="+key), "TLSSERVER_CACERTFILE: " + key + " holds no PEM certificate"},
		{"a setting that is misspelt", []string{"LOKI_HOSTPROT=http://localhost"}, "LOKI_HOSTPROT: unknown variable, did you mean LOKI_HOSTPORT?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(environment(t.TempDir(), c.env...), asChild+"=1", "PATH="+os.Getenv("PATH"))
			var log bytes.Buffer
			cmd.Stderr = &log
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != 1 {
				t.Errorf("exit status %d", got)
			}
			if text := log.String(); !strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, c.want) || strings.Contains(text, `"msg":"listening"`) {
				t.Errorf("log:\n%s", text)
			}
		})
	}
}

// One whose certificate is of the past serves, and says so: clients that check say
// no, and a new file is taken without a start.
func TestExpiredCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := inside(t, environment(t.TempDir(), "TLSSERVER_DEPLOY=true", "TLSSERVER_CERTFILE="+cert, "TLSSERVER_KEYFILE="+key))
	if !strings.Contains(s.log.String(), "TLSSERVER_CERTFILE has expired, clients will refuse it") {
		t.Errorf("log:\n%s", s.log)
	}
}

// Clients that hold every connection keep neither a probe nor an honest client out,
// and one loud source is told to wait.
func TestLimits(t *testing.T) {
	s := inside(t, environment(t.TempDir(), "MAX_CONNECTIONS=20", "RATE_LIMIT=10"))
	address := strings.TrimPrefix(s.url, "http://")
	for i := range 50 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
		}
	}
	var out bytes.Buffer
	_, port, _ := net.SplitHostPort(address)
	if status := run(t.Context(), []string{"healthcheck"}, []string{"LISTENPORT=" + port}, &out, &out); status != 0 {
		t.Errorf("healthcheck: %s", &out)
	}
	post := func(body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	if status, _ := post(batch("alert", 0, 1000)); status != 200 { // more than can be saved up
		t.Errorf("a large batch: %d", status)
	}
	if status, wait := post(event("alert", 1)); status != 429 || wait == "" || wait == "0" {
		t.Errorf("one more: %d, Retry-After %q", status, wait)
	}
	status, metrics := ask(t, client("tcp", address, nil, false), http.MethodGet, s.url+"/metrics", "")
	// Requests whose rest never comes may be refused as well, once their connection is closed.
	if status != 200 || strings.Contains(metrics, `sidearmor_requests_limited_total{limit="rate"} 0`) ||
		strings.Contains(metrics, `sidearmor_requests_limited_total{limit="connections"} 0`) ||
		!strings.Contains(metrics, `sidearmor_requests_limited_total{limit="memory"} 0`) {
		t.Errorf("%d\n%s", status, metrics)
	}
}

// The log is written as asked for, from its first line.
func TestLogFormatAndLevel(t *testing.T) {
	for env, want := range map[string]string{
		"":                                `{"time":`,
		"LOG_FORMAT=text":                 "level=ERROR msg=\"sidekick failed\" error=\"LISTENPORT:",
		"LOG_FORMAT=text LOG_LEVEL=error": "level=ERROR",
		"LOG_FORMAT=xml":                  `"error":"LOG_FORMAT: \"xml\" is not possible, use json or text"`,
	} {
		var log bytes.Buffer
		status := run(t.Context(), nil, append(strings.Fields(env), "LISTENPORT=x"), io.Discard, &log)
		if status != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%s: %d\n%s", env, status, &log)
		}
	}
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env := environment(t.TempDir(), "LOG_LEVEL=error", "SLACK_USERNAME=x", "LISTENSOCKET="+filepath.Join(t.TempDir(), "s"))
	env = append(env, "LISTENPORT=")
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, nil, env, io.Discard, &log) }()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if run(ctx, []string{"healthcheck"}, env, io.Discard, io.Discard) == 0 {
			break
		}
	}
	cancel()
	if status := <-exit; status != 0 || log.Len() > 0 {
		t.Errorf("%d, with LOG_LEVEL=error:\n%s", status, &log)
	}
}
