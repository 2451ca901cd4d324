package config

import (
	"slices"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	const certified = "TLSSERVER_DEPLOY=true TLSSERVER_MUTUALTLS=true "
	for _, c := range []struct {
		env     string // separated by spaces
		address string
		socket  string
		open    bool
		warned  string
	}{
		{env: "", address: "127.0.0.1"},
		{env: "LISTENADDRESS=127.0.0.2", address: "127.0.0.2"},
		{env: "LISTENADDRESS=::ffff:127.0.0.1", address: "::ffff:127.0.0.1"},
		{env: "LISTENADDRESS=0.0.0.0 AUTH_TOKEN=t", address: "0.0.0.0"},
		{env: "LISTENADDRESS=0.0.0.0 " + certified, address: "0.0.0.0"},
		{env: "LISTENADDRESS=0.0.0.0 TLSSERVER_NOTLSPATHS=/ping,/healthz " + certified, address: "0.0.0.0"},
		{env: "LISTENSOCKET=/run/s", socket: "/run/s"},
		{env: "LISTENSOCKET=unix:///run/s LISTENPORT=1", address: "127.0.0.1", socket: "/run/s"},
		{env: "LISTENSOCKET=/run/s " + certified, address: "127.0.0.1", socket: "/run/s"},
		{env: "LISTEN_INSECURE=true", address: "0.0.0.0", open: true},
		{env: "LISTEN_INSECURE=true LISTENSOCKET=/run/s", address: "0.0.0.0", socket: "/run/s", open: true},
		{env: "LISTEN_INSECURE=true LISTENADDRESS=::", address: "::", open: true},
		{env: "LISTEN_INSECURE=true TLSSERVER_DEPLOY=true", address: "0.0.0.0", open: true},
		{env: "LISTEN_INSECURE=true LISTENADDRESS=127.0.0.1", address: "127.0.0.1", warned: "LISTEN_INSECURE has no effect: only this machine"},
		{env: "LISTEN_INSECURE=true AUTH_TOKEN=t", address: "127.0.0.1", warned: "LISTEN_INSECURE has no effect: a token"},
		{env: "LISTEN_INSECURE=true " + certified, address: "127.0.0.1", warned: "LISTEN_INSECURE has no effect: a token"},
		{env: "LISTEN_INSECURE=true LISTENADDRESS=127.0.0.1 GRPC_LISTEN=:1", address: "127.0.0.1"},
	} {
		loaded, err := load(t, "", strings.Fields(c.env)...)
		if err != nil {
			t.Errorf("%s: %v", c.env, err)
			continue
		}
		if n := loaded.Listen; n.Address != c.address || n.Socket != c.socket || n.Open != c.open {
			t.Errorf("%s: %+v", c.env, n)
		}
		if got := strings.Join(loaded.Warnings, "; "); (got == "") != (c.warned == "") || !strings.Contains(got, c.warned) {
			t.Errorf("%s: warnings %q", c.env, got)
		}
		if got := len(loaded.Exposed()) > 0; got != (c.open || strings.Contains(c.env, "GRPC")) {
			t.Errorf("%s: exposed: %v", c.env, loaded.Exposed())
		}
	}
}

// What is asked for is served or refused, never narrowed without a word.
func TestServedToAnybody(t *testing.T) {
	const certified = "TLSSERVER_DEPLOY=true TLSSERVER_MUTUALTLS=true "
	for env, want := range map[string]string{
		"LISTENADDRESS=0.0.0.0":                                         "LISTENADDRESS: at 0.0.0.0 anybody could post who can connect: set AUTH_TOKEN",
		"LISTENADDRESS=10.1.2.3":                                        "LISTENADDRESS: at 10.1.2.3 anybody",
		"LISTENADDRESS=::":                                              "LISTENADDRESS: at :: anybody",
		"LISTENADDRESS=0.0.0.0 LISTENSOCKET=/run/s":                     "LISTENADDRESS: at 0.0.0.0 anybody",
		"LISTENADDRESS=0.0.0.0 TLSSERVER_DEPLOY=true":                   "since TLS alone does not tell who it is",
		"LISTENADDRESS=0.0.0.0 TLSSERVER_MUTUALTLS=true":                "anybody could post who can connect",
		"LISTENADDRESS=0.0.0.0 TLSSERVER_NOTLSPATHS=/test " + certified: "TLSSERVER_NOTLSPATHS: /test is not served without TLS, only /ping, /healthz, /metrics are",
		"AUTH_TOKEN=t TLSSERVER_NOTLSPATHS=/,/ping " + certified:        "TLSSERVER_NOTLSPATHS: / is not served without TLS",
		"GRPC_LISTEN=:32767":                                            "GRPC_LISTEN: at :32767 anybody who can connect could read events: set AUTH_TOKEN",
		"GRPC_LISTEN=[::]:1":                                            "GRPC_LISTEN: at [::]:1 anybody",
		"GRPC_LISTEN=:32767 TLSSERVER_DEPLOY=true":                      "GRPC_LISTEN: at :32767 anybody",
		"LISTENADDRESS=0.0.0.0 LISTEN_INSECURE=perhaps":                 `LISTEN_INSECURE: "perhaps" is neither true nor false`,
	} {
		_, err := load(t, "", strings.Fields(env)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", env, err, want)
		}
		if _, probe := Probe(Input{Environ: strings.Fields(env), PlainPaths: plainPaths()}); probe == nil && !strings.HasPrefix(env, "GRPC") {
			t.Errorf("%s: the probe knows where", env)
		}
	}
}

func TestTLSSettings(t *testing.T) {
	c, err := load(t, "tlsserver:\n  deploy: true\n  certfile: /c\n  notlsport: 1\n  notlspaths:\n    - /metrics\n    - /healthz\n", "TLSSERVER_MUTUALTLS=true")
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Listen.TLS; n.CertFile != "/c" || n.KeyFile != defaultKeyFile || n.CAFile != defaultCAFile || n.PlainPort != 1 || !slices.Equal(n.PlainPaths, []string{"/metrics", "/healthz"}) {
		t.Errorf("%+v", n)
	}
	c, err = load(t, "", "TLSSERVER_DEPLOY=true", "TLSSERVER_CACERTFILE=/ca", "TLSSERVER_NOTLSPATHS=/ping, /healthz,")
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Listen.TLS; n.CAFile != "" || n.PlainPort != defaultPlainPort || !slices.Equal(n.PlainPaths, []string{"/ping", "/healthz"}) {
		t.Errorf("%+v", n)
	}
	c, err = load(t, "", "TLSSERVER_CERTFILE=/c")
	if err != nil || c.Listen.TLS != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "TLSSERVER_CERTFILE has no effect") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestListenRefused(t *testing.T) {
	for env, want := range map[string]string{
		"LISTENADDRESS=host":                              `LISTENADDRESS: "host" is not an IP address`,
		"LISTENSOCKET=/s LISTENSOCKET_MODE=rw":            `LISTENSOCKET_MODE: "rw" is not a mode`,
		"LISTENSOCKET=/s LISTENSOCKET_MODE=0066":          `LISTENSOCKET_MODE: "0066" is not a mode`,
		"LISTENSOCKET=/s LISTENSOCKET_MODE=1666":          `LISTENSOCKET_MODE: "1666" is not a mode`,
		"LISTENSOCKET=run/s":                              `LISTENSOCKET: "run/s" is not an absolute path`,
		"TLSSERVER_CERTFLE=/c":                            "TLSSERVER_CERTFLE: unknown variable, did you mean TLSSERVER_CERTFILE?",
		"TLSSERVER_DEPLOY=ja":                             `TLSSERVER_DEPLOY: "ja"`,
		"LISTENSOCKETS=/run/s":                            "LISTENSOCKETS: unknown variable, did you mean LISTENSOCKET?",
		"LISTENSOCKET=/" + long():                         "LISTENSOCKET: the path has 201 bytes",
		"TLSSERVER_DEPLOY=true TLSSERVER_NOTLSPATHS=ping": `TLSSERVER_NOTLSPATHS: "ping" is no path`,
		"TLSSERVER_DEPLOY=true TLSSERVER_NOTLSPORT=x":     `TLSSERVER_NOTLSPORT: "x" is not a port`,
	} {
		if _, err := load(t, "", strings.Fields(env)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func long() string { return strings.Repeat("x", 200) }

func TestProbe(t *testing.T) {
	const token = "AUTH_TOKEN=t "
	for env, want := range map[string]Endpoint{
		"":                                  {Network: "tcp", Address: "127.0.0.1:2801"},
		"LISTEN_INSECURE=true LISTENPORT=1": {Network: "tcp", Address: "127.0.0.1:1"},
		token + "LISTENADDRESS=0.0.0.0":     {Network: "tcp", Address: "127.0.0.1:2801"},
		token + "LISTENADDRESS=::":          {Network: "tcp", Address: "[::1]:2801"},
		token + "LISTENADDRESS=10.1.2.3 SLACK_NONSENSE=1": {Network: "tcp", Address: "10.1.2.3:2801"},
		"LISTENADDRESS=10.1.2.3 LISTEN_INSECURE=true":     {Network: "tcp", Address: "10.1.2.3:2801"},
		"LISTENSOCKET=/s":                                     {Network: "unix", Address: "/s"},
		"LISTENSOCKET=/s LISTENPORT=1":                        {Network: "tcp", Address: "127.0.0.1:1"},
		"TLSSERVER_DEPLOY=true TLSSERVER_CERTFILE=/c":         {Network: "tcp", Address: "127.0.0.1:2801", CertFile: "/c"},
		"TLSSERVER_DEPLOY=true TLSSERVER_MUTUALTLS=true":      {Network: "tcp", Address: "127.0.0.1:2801", CertFile: defaultCertFile, Mutual: true},
		"TLSSERVER_DEPLOY=true TLSSERVER_NOTLSPATHS=/healthz": {Network: "tcp", Address: "127.0.0.1:2810"},
	} {
		if got, err := Probe(Input{Environ: strings.Fields(env), Kinds: kinds(), PlainPaths: plainPaths()}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", env, got, err)
		}
	}
	if _, err := Probe(Input{Environ: []string{"LISTENPORT=x"}}); err == nil {
		t.Error("a bad port was taken")
	}
}
