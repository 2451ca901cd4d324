package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema/secret"
)

func TestCluster(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	creds, ca := file("user.creds", "x"), file("ca.crt", "x")
	url := file("url", "nats://u:CANARY@a:4222\n")
	byDefault := Cluster{Servers: []string{"nats://a:4222"}, Replicas: 3, Name: "sidearmor"}
	with := func(change func(c *Cluster)) *Cluster {
		c := byDefault
		change(&c)
		return &c
	}
	for _, c := range []struct {
		name string
		env  []string
		want *Cluster
		err  string
	}{
		{"none", nil, nil, ""},
		{"one", []string{"QUEUE_URL=nats://a:4222"}, &byDefault, ""},
		{"several", []string{"QUEUE_URL=nats://a:4222/, tls://b,nats://[::1]:1", "QUEUE_REPLICAS=5", "QUEUE_NAME=prod-eu_1"}, with(func(c *Cluster) {
			c.Servers, c.Replicas, c.Name = []string{"nats://a:4222", "tls://b", "nats://[::1]:1"}, 5, "prod-eu_1"
		}), ""},
		{"user in one address", []string{"QUEUE_URL=nats://u:CANARY%2F@a:4222,nats://b"}, with(func(c *Cluster) {
			c.Servers, c.User, c.Password = []string{"nats://a:4222", "nats://b"}, "u", secret.New("CANARY/")
		}), ""},
		{"token", []string{"QUEUE_URL=nats://CANARY@a:4222"}, with(func(c *Cluster) { c.Token = secret.New("CANARY") }), ""},
		{"file", []string{"QUEUE_URL_FILE=" + url}, with(func(c *Cluster) { c.User, c.Password = "u", secret.New("CANARY") }), ""},
		{
			"user",
			[]string{"QUEUE_URL=nats://a:4222", "QUEUE_USER=u", "QUEUE_PASSWORD=CANARY", "QUEUE_CACERTFILE=" + ca, "QUEUE_CERTFILE=" + ca, "QUEUE_KEYFILE=" + ca},
			with(func(c *Cluster) {
				c.User, c.Password, c.CAFile, c.CertFile, c.KeyFile = "u", secret.New("CANARY"), ca, ca, ca
			}), "",
		},
		{"credentials", []string{"QUEUE_URL=nats://a:4222", "QUEUE_CREDSFILE=" + creds}, with(func(c *Cluster) { c.CredsFile = creds }), ""},

		{"scheme", []string{"QUEUE_URL=nats://a,http://u:CANARY@b"}, nil, "QUEUE_URL: server 2 is not nats://host:port or tls://host:port"},
		{"no scheme", []string{"QUEUE_URL=CANARY:4222"}, nil, "QUEUE_URL: server 1 is not"},
		{"no host", []string{"QUEUE_URL=nats://u:CANARY@:4222"}, nil, "QUEUE_URL: server 1 is not"},
		{"bad escape", []string{"QUEUE_URL=nats://u:CANARY%zz@a"}, nil, "QUEUE_URL: server 1 is not"},
		{"two users", []string{"QUEUE_URL=nats://u:CANARY@a,nats://v:CANARY@b"}, nil, "with different users"},
		{"user twice", []string{"QUEUE_URL=nats://u:CANARY@a", "QUEUE_USER=u", "QUEUE_PASSWORD=x"}, nil, "QUEUE_URL holds a user, and so does"},
		{"user and file", []string{"QUEUE_URL=nats://u:CANARY@a", "QUEUE_CREDSFILE=" + creds}, nil, "QUEUE_CREDSFILE and a user are both set"},
		{"no password", []string{"QUEUE_URL=nats://a", "QUEUE_USER=u"}, nil, "QUEUE_USER and QUEUE_PASSWORD: one is missing"},
		{"no key", []string{"QUEUE_URL=nats://a", "QUEUE_CERTFILE=" + ca}, nil, "QUEUE_CERTFILE and QUEUE_KEYFILE: one is missing"},
		{"no such file", []string{"QUEUE_URL=nats://a", "QUEUE_CREDSFILE=" + creds + "x"}, nil, "QUEUE_CREDSFILE: " + creds + "x: no such file"},
		{"replicas", []string{"QUEUE_URL=nats://a", "QUEUE_REPLICAS=2"}, nil, `QUEUE_REPLICAS: "2" is not possible, use 1, 3 or 5`},
		{"name", []string{"QUEUE_URL=nats://a", "QUEUE_NAME=a.b"}, nil, `QUEUE_NAME: "a.b" is not made of`},
		{"misspelt", []string{"QUEUE_URLS=nats://a"}, nil, "QUEUE_URLS: unknown variable, did you mean QUEUE_URL?"},
	} {
		got, err := Load(Input{Environ: c.env})
		switch {
		case c.err == "" && (err != nil || !reflect.DeepEqual(got.Queue.Cluster, c.want)):
			t.Errorf("%s: %+v, %v", c.name, got.Queue.Cluster, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "CANARY")):
			t.Errorf("%s: error %v", c.name, err)
		}
		if text, err := got.YAML(); err != nil || strings.Contains(string(text), "CANARY") {
			t.Errorf("%s: %s %v", c.name, text, err)
		}
	}
}

func TestClusterContradictions(t *testing.T) {
	got, err := Load(Input{Environ: []string{"QUEUE_URL=nats://a", "QUEUE_DIR=/q", "QUEUE_SYNC=always"}})
	if err != nil || len(got.Warnings) != 2 ||
		!slices.Contains(got.Warnings, "QUEUE_DIR has no effect: with QUEUE_URL events are stored in the cluster") {
		t.Errorf("%v, %v", got.Warnings, err)
	}
	got, err = Load(Input{Environ: []string{"QUEUE_REPLICAS=3", "QUEUE_PASSWORD_FILE=/x"}})
	if err != nil || len(got.Warnings) != 2 ||
		!slices.Contains(got.Warnings, "QUEUE_REPLICAS has no effect: there is no cluster without QUEUE_URL") {
		t.Errorf("%v, %v", got.Warnings, err)
	}
}

func TestClusterYAML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "queue:\n  url:\n  - nats://a:1\n  - nats://b:1\n  user: u\n  password: CANARY\n  replicas: 1\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Input{File: path})
	want := &Cluster{Servers: []string{"nats://a:1", "nats://b:1"}, User: "u", Password: secret.New("CANARY"), Replicas: 1, Name: "sidearmor"}
	if err != nil || !reflect.DeepEqual(got.Queue.Cluster, want) {
		t.Errorf("%+v, %v", got.Queue.Cluster, err)
	}
}
