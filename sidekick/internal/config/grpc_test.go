package config

import (
	"slices"
	"strings"
	"testing"
)

func TestGRPC(t *testing.T) {
	const certified = " TLSSERVER_DEPLOY=true TLSSERVER_MUTUALTLS=true"
	for _, c := range []struct{ env, address string }{
		{"", ""},
		{"GRPC_LISTEN=127.0.0.1:32767", "127.0.0.1:32767"},
		{"GRPC_LISTEN=localhost:0", "127.0.0.1:0"},
		{"GRPC_LISTEN=:32767 LISTEN_INSECURE=true", ":32767"},
		{"GRPC_LISTEN=:32767 AUTH_TOKEN=t", ":32767"},
		{"GRPC_LISTEN=10.1.2.3:32767" + certified, "10.1.2.3:32767"},
	} {
		loaded, err := load(t, "", strings.Fields(c.env)...)
		if err != nil {
			t.Errorf("%s: %v", c.env, err)
			continue
		}
		if g := loaded.GRPC; g.Address != c.address || g.Open != strings.Contains(c.env, "INSECURE") {
			t.Errorf("%s: %+v", c.env, g)
		}
	}
}

func TestGRPCPolicies(t *testing.T) {
	for env, want := range map[string]string{
		"GRPC_LISTEN=127.0.0.1:1":                                            PoliciesAdmin,
		"GRPC_LISTEN=127.0.0.1:1 GRPC_POLICIES=open":                         PoliciesOpen,
		"GRPC_LISTEN=:1 LISTEN_INSECURE=true GRPC_POLICIES=open":             PoliciesOpen,
		"GRPC_LISTEN=:1 AUTH_TOKEN=t GRPC_POLICIES=off":                      PoliciesOff,
		"GRPC_LISTEN=:1 AUTH_TOKEN=t AUTH_TOKEN_ADMIN=a GRPC_POLICIES=admin": PoliciesAdmin,
	} {
		if c, err := load(t, "", strings.Fields(env)...); err != nil || c.GRPC.Policies != want {
			t.Errorf("%s: %q, %v", env, c.GRPC.Policies, err)
		}
	}
	c, err := load(t, "", "GRPC_POLICIES=open")
	if err != nil || !strings.Contains(strings.Join(c.Warnings, "\n"), "GRPC_POLICIES has no effect") {
		t.Errorf("%v, %v", c.Warnings, err)
	}
}

func TestKubeArmor(t *testing.T) {
	c, err := load(t, "kubearmor:\n  grpc:\n    - relay.kubearmor:32767\n    - 10.0.0.1:1\n  grpc_logs: true\n", "KUBEARMOR_GRPC_TLS=true", "GRPC_LISTEN=127.0.0.1:32767")
	if err != nil {
		t.Fatal(err)
	}
	if k := c.KubeArmor; !slices.Equal(k.Peers, []string{"relay.kubearmor:32767", "10.0.0.1:1"}) || !k.Logs || k.TLS == nil {
		t.Errorf("%+v", k)
	}
	c, err = load(t, "", "KUBEARMOR_GRPC= a:1 ,b:2,", "KUBEARMOR_GRPC_SERVICE_HOST=10.0.0.1", "KUBEARMOR_GRPC_PORT=tcp://10.0.0.1:32767", "KUBEARMOR_GRPC_KEYFILE=/k")
	if err != nil {
		t.Fatal(err)
	}
	if k := c.KubeArmor; !slices.Equal(k.Peers, []string{"a:1", "b:2"}) || k.Logs || k.TLS != nil {
		t.Errorf("%+v", k)
	}
	if w := strings.Join(c.Warnings, "\n"); !strings.Contains(w, "KUBEARMOR_GRPC_KEYFILE has no effect: there is no TLS") {
		t.Errorf("warnings: %s", w)
	}
	c, err = load(t, "", "KUBEARMOR_GRPC_LOGS=true")
	if err != nil || len(c.KubeArmor.Peers) > 0 || !strings.Contains(strings.Join(c.Warnings, "\n"), "KUBEARMOR_GRPC_LOGS has no effect") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestGRPCRefused(t *testing.T) {
	no := write(t, "no.pem", "none")
	for env, want := range map[string]string{
		"GRPC_LISTEN=32767":                              "is not address:port",
		"GRPC_LISTEN=example.com:1":                      `"example.com" is not an IP address`,
		"GRPC_LISTEN=:":                                  `"" is not a port`,
		"GRPC_LISTEN=:65536":                             `"65536" is not a port`,
		"GRPC_LISTEN=127.0.0.1:1 GRPC_POLICIES=yes":      `"yes" is not possible, use admin, open or off`,
		"GRPC_LISTEN=:1 AUTH_TOKEN=t GRPC_POLICIES=open": "anybody who can connect could change policies",
		"GRPC_LISTENER=:1":                               "did you mean GRPC_LISTEN?",
		"KUBEARMOR_GRPC=relay":                           `"relay" is not host:port`,
		"KUBEARMOR_GRPC=http://relay:32767":              "is not host:port",
		"KUBEARMOR_GRPC=relay:0":                         "is not host:port",
		"KUBEARMOR_GRPC=:32767":                          "is not host:port",
		"KUBEARMOR_GRPC=a:1,a:1":                         "given twice",
		"KUBEARMOR_GRPC=a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1,k:1,l:1,m:1,n:1,o:1,p:1,q:1": "at most 16",
		"KUBEARMOR_GRPC_LOG=true":                                                                                 "did you mean KUBEARMOR_GRPC_LOGS?",
		"KUBEARMOR_GRPC=a:1 KUBEARMOR_GRPC_LOGS=yes!":                                                             "neither true nor false",
		"KUBEARMOR_GRPC=a:1 KUBEARMOR_GRPC_TLS=1 KUBEARMOR_GRPC_CERTFILE=/c":                                      "no use without the other",
		"KUBEARMOR_GRPC=a:1 KUBEARMOR_GRPC_TLS=1 KUBEARMOR_GRPC_CACERTFILE=/nowhere":                              "KUBEARMOR_GRPC_CACERTFILE: open /nowhere",
		"KUBEARMOR_GRPC=a:1 KUBEARMOR_GRPC_TLS=1 KUBEARMOR_GRPC_CACERTFILE=" + no:                                 "holds no PEM certificate",
		"KUBEARMOR_GRPC=a:1 KUBEARMOR_GRPC_TLS=1 KUBEARMOR_GRPC_CERTFILE=" + no + " KUBEARMOR_GRPC_KEYFILE=" + no: "KUBEARMOR_GRPC_CERTFILE and",
		"KUBEARMOR_GRPC=localhost:1 GRPC_LISTEN=:1 AUTH_TOKEN=t":                                                  "is this sidekick itself",
		"KUBEARMOR_GRPC=127.0.0.1:1 GRPC_LISTEN=127.0.0.1:1":                                                      "is this sidekick itself",
		"KUBEARMOR_GRPC=10.0.0.1:1 GRPC_LISTEN=10.0.0.1:1 AUTH_TOKEN=t":                                           "is this sidekick itself",
	} {
		if _, err := load(t, "", strings.Fields(env)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", env, err, want)
		}
	}
}
