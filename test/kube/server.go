// Package kube runs a real Kubernetes API server with its etcd, for tests of what
// talks to one. There is no kubelet and no controller: objects stay as they are made.
package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// apiServer is where `make kube-apiserver` puts the program, in the repository.
const apiServer = "bin/tools/kube-apiserver-v1.34.4/kube-apiserver"

// patience bounds each wait: a machine may be loaded.
const patience = 3 * time.Minute

const adminToken = "administrator"

// Server is an API server, of its own for one test and those below it.
type Server struct {
	URL   string // https://127.0.0.1:port, the same after a new start
	Admin *rest.Config

	binary string
	dir    string // certificates, keys, data and logs
	port   int
	flags  []string
	etcd   string // its URL
	api    *process
}

// Start starts a server without any policy or definition of one, with more flags;
// it ends with the test. Without the programs the test is skipped, and fails in CI, where they are
// installed.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	binary, etcd := program(t)
	s := &Server{dir: t.TempDir(), port: freePort(t), binary: binary, flags: flags}
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", s.port)
	s.writeKeys(t)
	s.startEtcd(t, etcd)
	t.Cleanup(func() {
		if s.api != nil {
			s.api.kill()
		}
	})
	s.Run(t)
	return s
}

// program finds kube-apiserver and etcd.
func program(t testing.TB) (apiserver, etcd string) {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	apiserver = filepath.Join(filepath.Dir(file), "..", "..", apiServer)
	_, err := os.Stat(apiserver)
	if err == nil {
		etcd, err = exec.LookPath("etcd")
	}
	switch {
	case err == nil:
		return apiserver, etcd
	case os.Getenv("CI") != "":
		t.Fatalf("no API server to test with: %v", err)
	}
	t.Skipf("no API server to test with, `make deps-test kube-apiserver` installs it: %v", err)
	return "", ""
}

// freePort finds a port that nobody gets by asking for any: it must still be free
// when the server is started anew.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10000 + mathrand.IntN(20000)
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (s *Server) writeKeys(t testing.TB) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, text := range map[string][]byte{
		"sa.key":     block,
		"tokens.csv": []byte(adminToken + ",administrator,1,system:masters\n"),
	} {
		if err := os.WriteFile(s.path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) startEtcd(t testing.TB, binary string) {
	t.Helper()
	client, peer := freePort(t), freePort(t)
	s.etcd = fmt.Sprintf("http://127.0.0.1:%d", client)
	peers := fmt.Sprintf("http://127.0.0.1:%d", peer)
	etcd := run(t, s.path("etcd.log"), binary, "--data-dir", s.path("etcd"), "--name", "test",
		"--listen-client-urls", s.etcd, "--advertise-client-urls", s.etcd, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "test="+peers)
	t.Cleanup(etcd.kill)
	etcd.await(t, &http.Client{}, s.etcd+"/health", "")
}

// Run starts the API server, which is not running, and waits until it is ready.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	s.api = run(t, s.path("apiserver.log"), s.binary, append([]string{
		"--etcd-servers=" + s.etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", s.port), "--cert-dir=" + s.path("certs"), "--service-account-issuer=" + s.URL,
		"--service-account-key-file=" + s.path("sa.key"), "--service-account-signing-key-file=" + s.path("sa.key"),
		"--token-auth-file=" + s.path("tokens.csv"), "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--disable-admission-plugins=ServiceAccount", "--shutdown-delay-duration=0s",
	}, s.flags...)...)
	s.Admin = &rest.Config{Host: s.URL, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{CAFile: s.CAFile()}, QPS: -1}
	s.api.awaitFile(t, s.CAFile())
	client, err := rest.HTTPClientFor(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	s.api.await(t, client, s.URL+"/readyz", adminToken)
}

// CAFile is the certificate by which the server is known.
func (s *Server) CAFile() string { return s.path("certs/apiserver.crt") }

// Kill kills the API server, as a machine that is lost does. Its data stay, for Run.
func (s *Server) Kill() { s.api.kill() }

// process is a program that runs until the test ends or it is killed.
type process struct {
	log  string
	pid  int
	done chan struct{} // closed when it has ended
}

// run starts a program that ends with this process, even if that is killed.
func run(t testing.TB, log, binary string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), binary, args...) // until it is killed
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &process{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that started the program.
		runtime.LockOSThread()
		defer close(p.done)
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", binary, err)
	}
	p.pid = cmd.Process.Pid
	return p
}

func (p *process) kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.done
}

// await waits until url answers 200.
func (p *process) await(t testing.TB, client *http.Client, url, token string) {
	t.Helper()
	p.until(t, func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err.Error()
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return ""
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return resp.Status + ": " + string(body)
	})
}

func (p *process) awaitFile(t testing.TB, name string) {
	t.Helper()
	p.until(t, func() string {
		if text, err := os.ReadFile(name); err != nil || !bytes.HasSuffix(bytes.TrimSpace(text), []byte("-----END CERTIFICATE-----")) {
			return name + " is not written"
		}
		return ""
	})
}

// until waits until ready says nothing, and fails if the program ends before.
func (p *process) until(t testing.TB, ready func() (missing string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		missing := ready()
		if missing == "" {
			return
		}
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		if ended || time.Now().After(deadline) {
			text, _ := os.ReadFile(p.log)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Fatalf("not ready (ended: %v): %s\n%s", ended, missing, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
}
