package syslog_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/syslog"
	"github.com/sidearmor/sidearmor/schema"
)

// rsyslog starts an rsyslogd of its own, which writes what it parsed to a file:
// one JSON object a line.
func rsyslog(t *testing.T, protocol string) (settings outputtest.Settings, file string) {
	t.Helper()
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		program = "/usr/sbin/rsyslogd" // not in the PATH of users
		_, err = os.Stat(program)
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("rsyslog is not installed (packages rsyslog and rsyslog-gnutls)")
	}
	if err != nil {
		t.Fatal("rsyslog is not installed (packages rsyslog and rsyslog-gnutls)")
	}
	dir := t.TempDir()
	address := free(t, protocol)
	config := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(config, []byte(configuration(t, dir, protocol, address)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("rsyslogd says: %s", &log)
		}
	})
	return with(at(address), "protocol", protocol, "cacertfile", filepath.Join(dir, "crt.pem")), filepath.Join(dir, "out")
}

// free is an address that nothing listens on.
func free(t *testing.T, protocol string) net.Addr {
	t.Helper()
	if protocol == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr()
}

func configuration(t *testing.T, dir, protocol string, address net.Addr) string {
	t.Helper()
	pair := certificate(t).TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"crt.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(address.String())
	module, driver := "imtcp", ""
	if protocol == "udp" {
		module = "imudp"
	}
	if protocol == "tls" {
		driver = `StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"`
	}
	return fmt.Sprintf(`
global(workDirectory="%[1]s" defaultNetstreamDriverCAFile="%[1]s/crt.pem" defaultNetstreamDriverCertFile="%[1]s/crt.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="%[2]s" %[3]s)
template(name="parsed" type="string" string="{\"pri\":\"%%PRI%%\",\"version\":\"%%PROTOCOL-VERSION%%\",\"time\":\"%%TIMESTAMP:::date-rfc3339%%\",\"host\":\"%%HOSTNAME:::json%%\",\"app\":\"%%APP-NAME%%\",\"kind\":\"%%MSGID%%\",\"data\":\"%%STRUCTURED-DATA%%\",\"text\":\"%%msg:::json%%\"}\n")
input(type="%[2]s" address="127.0.0.1" port="%[4]s" ruleset="r")
ruleset(name="r") { action(type="omfile" file="%[1]s/out" template="parsed") }
`, dir, module, driver, port)
}

type parsed struct{ Pri, Version, Time, Host, App, Kind, Data, Text string }

// TestRsyslog delivers every event to a real server by every protocol and reads
// what it made of them.
func TestRsyslog(t *testing.T) {
	for _, protocol := range []string{"tcp", "tls", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			settings, file := rsyslog(t, protocol)
			o := outputtest.New(t, syslog.Kind(), settings)
			batch := events(append(outputtest.Cases(), outputtest.Oversized()...))
			atOnce := len(batch)
			if protocol == "udp" {
				atOnce = 1 // what the receiver's buffer cannot hold is lost
			}
			lines := deliver(t, o, batch, atOnce, file)
			for i, line := range lines {
				var got parsed
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Errorf("%v: %.500s", err, line)
					continue
				}
				e := batch[i]
				if got.Version != "1" || got.Kind != string(e.Kind) || got.Data != "-" || !json.Valid([]byte(got.Text)) {
					t.Errorf("message %d: %.500v", i, got)
				}
				body, err := e.Body()
				if err != nil {
					t.Fatal(err)
				}
				if len(body) < 6000 && got.Text != string(body) {
					t.Errorf("message %d: got %.500s\nwant %.500s", i, got.Text, body)
				}
			}
		})
	}
}

// deliver waits until the server is up, sends so many events at a time, and waits
// until the file has them all.
func deliver(t *testing.T, o outputs.Output, batch []schema.Event, atOnce int, file string) (lines []string) {
	t.Helper()
	probe := outputtest.Log()
	probe.Log.Resource = "is-it-up" // no slash: rsyslog writes that in another way
	var err error
	for limit := time.Now().Add(time.Minute); len(written(t, file, "")) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("rsyslog is not up: %v", err)
		}
		err = o.Deliver(t.Context(), []schema.Event{probe})
	}
	sent := 0
	for some := range slices.Chunk(batch, atOnce) {
		if err := o.Deliver(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		sent += len(some)
		for limit := time.Now().Add(time.Minute); len(lines) < sent; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("rsyslog has %d of %d messages", len(lines), sent)
			}
			lines = written(t, file, probe.Log.Resource)
		}
	}
	if len(lines) != len(batch) {
		t.Fatalf("rsyslog has %d messages, want %d", len(lines), len(batch))
	}
	return lines
}

// written are the lines of the file that do not have without in them. rsyslog writes
// while this reads: what follows the last end of a line is not a line yet.
func written(t *testing.T, file, without string) (lines []string) {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasSuffix(line, "\n") && (without == "" || !strings.Contains(line, without)) {
			lines = append(lines, line)
		}
	}
	return lines
}
