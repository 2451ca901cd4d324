package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// made is an output that remembers what it was made with.
type made struct{ settings map[string]string }

func (made) Deliver(context.Context, []schema.Event) error { return nil }

func kind(name, block, enabler string, settings ...outputs.Setting) outputs.Kind {
	return outputs.Kind{
		Name: name, Block: block, Enabler: enabler, Settings: settings,
		New: func(v outputs.Values) (outputs.Output, error) {
			m := made{settings: map[string]string{}}
			for _, s := range settings {
				m.settings[s.Key] = v.String(s.Key)
			}
			if m.settings["username"] == "refuse" {
				return nil, fmt.Errorf("%s: refused", v.Name("username"))
			}
			return m, nil
		},
	}
}

func kinds() []outputs.Kind {
	cloud := kind("awscloudwatchlogs", "aws.cloudwatchlogs", "loggroup",
		outputs.Setting{Key: "loggroup"}, outputs.Setting{Key: "region", Block: "aws"})
	cloud.Logs = true
	return []outputs.Kind{
		kind("slack", "slack", "webhookurl", outputs.Setting{Key: "webhookurl", Secret: true},
			outputs.Setting{Key: "username", Default: "SideArmor"}),
		cloud,
		kind("webhook", "webhook", "address", outputs.Setting{Key: "address", Secret: true},
			outputs.Setting{Key: "customheaders", Secret: true, Map: true}),
		kind("stdout", "stdout", "enabled", outputs.Setting{Key: "enabled"}),
	}
}

// load reads env and, if it is not empty, a file with text.
func load(t *testing.T, text string, env ...string) (Config, error) {
	t.Helper()
	in := Input{Environ: env, Kinds: kinds()}
	if text != "" {
		in.File = write(t, "conf.yaml", text)
	}
	return Load(in)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", "PATH=/bin", "KUBERNETES_SERVICE_HOST=10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Address != "127.0.0.1" || !c.Listen.Default || c.Listen.Port != 2801 || c.Debug || len(c.Outputs) != 0 || len(c.Warnings) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	c, err := load(t, `
listenaddress: 127.0.0.2
ListenPort: 2900
debug: true
slack:
  webhookurl: https://hooks.slack.com/file
  username: file
  minimumpriority: error
  logs: true
aws:
  region: eu-west-1
  cloudwatchlogs:
    loggroup: g
    logs: false
webhook:
  address: http://localhost/
  customheaders: {X-A: "1:2", X-B: two}
stdout:
`, "SLACK_USERNAME=env", "LISTENADDRESS=::1", "DEBUG=", "AWS_REGION=us-east-1", "AWS_PROFILE=p", "SLACK_MINIMUMPRIORITY=info")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Address != "::1" || c.Listen.Default || c.Listen.Port != 2900 || !c.Debug {
		t.Errorf("%+v", c)
	}
	if len(c.Outputs) != 3 {
		t.Fatalf("outputs %v", c.Outputs)
	}
	for i, want := range []struct {
		settings map[string]string
		logs     bool
		priority schema.Priority
	}{
		{map[string]string{"webhookurl": "https://hooks.slack.com/file", "username": "env"}, true, schema.PriorityInformational},
		{map[string]string{"loggroup": "g", "region": "us-east-1"}, false, schema.PriorityDefault},
		{map[string]string{"address": "http://localhost/", "customheaders": "X-A:1:2\nX-B:two\n"}, false, schema.PriorityDefault},
	} {
		o := c.Outputs[i]
		if got := o.Output.(made).settings; !maps.Equal(got, want.settings) || o.Logs != want.logs || o.MinimumPriority != want.priority {
			t.Errorf("%s: %v, logs %v, priority %v", o.Kind.Name, got, o.Logs, o.MinimumPriority)
		}
	}
}

func TestEmptyMeansUnset(t *testing.T) {
	c, err := load(t, "", "SLACK_WEBHOOKURL=", "LISTENPORT=", "SLACK_USERNMAE=", "CUSTOMFIELDS=", "STDOUT_ENABLED=false")
	if err != nil || len(c.Outputs) != 0 || c.Listen.Port != 2801 || len(c.Warnings) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSecretFile(t *testing.T) {
	path := write(t, "url", "https://hooks.slack.com/secret\n")
	for name, in := range map[string]struct {
		text string
		env  []string
	}{
		"variable": {"", []string{"SLACK_WEBHOOKURL_FILE=" + path}},
		"file":     {"slack: {webhookurl_file: " + path + "}", nil},
	} {
		c, err := load(t, in.text, in.env...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := c.Outputs[0].Output.(made).settings["webhookurl"]; got != "https://hooks.slack.com/secret" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCustomFields(t *testing.T) {
	want := map[string]string{"env": "prod", "arn": "arn:aws:ecs:eu:1:task/x", "url": "https://x/?a=b", "host": "h1"}
	for name, in := range map[string]struct {
		text string
		env  []string
	}{
		"variable": {"", []string{"CUSTOMFIELDS=env:prod, arn:arn:aws:ecs:eu:1:task/x,url:https://x/?a=b,host:%NODE,", "NODE=h1"}},
		"mapping":  {"customfields: {env: prod, arn: 'arn:aws:ecs:eu:1:task/x', url: 'https://x/?a=b', host: '%NODE'}", []string{"NODE=h1"}},
		"text":     {"customfields: 'env:prod,arn:arn:aws:ecs:eu:1:task/x,url:https://x/?a=b,host:%NODE'", []string{"NODE=h1"}},
	} {
		c, err := load(t, in.text, in.env...)
		if err != nil || !maps.Equal(c.Enricher.CustomFields(), want) {
			t.Errorf("%s: %v, %v", name, c.Enricher.CustomFields(), err)
		}
	}
}

func TestRefused(t *testing.T) {
	empty := write(t, "empty", "\n")
	const hook = "SLACK_WEBHOOKURL=https://hooks.slack.com/CANARY"
	for _, c := range []struct {
		name string
		text string
		env  []string
		want []string // one part of each problem, in order
	}{
		{"address", "", []string{"LISTENADDRESS=localhost"}, []string{`LISTENADDRESS: "localhost" is not an IP address`}},
		{"port", "", []string{"LISTENPORT=65536"}, []string{`LISTENPORT: "65536" is not a port`}},
		{"port in the file", "listenport: x", nil, []string{`conf.yaml:1): "x" is not a port`}},
		{"boolean", "", []string{"DEBUG=yes"}, []string{`DEBUG: "yes" is neither true nor false`}},
		{"priority", "", []string{hook, "SLACK_MINIMUMPRIORITY=warn"}, []string{`SLACK_MINIMUMPRIORITY: unknown priority "warn"`}},
		{"logs", "", []string{hook, "SLACK_LOGS=2"}, []string{`SLACK_LOGS: "2" is neither`}},
		{"by the output", "", []string{hook, "SLACK_USERNAME=refuse"}, []string{`SLACK_USERNAME: refused`}},
		{"misspelt", "", []string{"SLACK_WEBHOKURL=x"}, []string{"SLACK_WEBHOKURL: unknown variable, did you mean SLACK_WEBHOOKURL?"}},
		{"misspelt file", "", []string{"SLACK_WEBHOOKURL_FLE=x"}, []string{"did you mean SLACK_WEBHOOKURL_FILE?"}},
		{"file of what is no secret", "", []string{"SLACK_USERNAME_FILE=x"}, []string{"SLACK_USERNAME_FILE: unknown variable"}},
		{"queue", "", []string{"QUEUE_DIRECTORY=x"}, []string{"QUEUE_DIRECTORY: unknown variable"}},
		{"nothing near", "", []string{"STDOUT_XYZZY=x"}, []string{"STDOUT_XYZZY: unknown variable"}},
		{"both", "", []string{hook, "SLACK_WEBHOOKURL_FILE=/x"}, []string{"SLACK_WEBHOOKURL and SLACK_WEBHOOKURL_FILE are both set"}},
		{"no such secret", "", []string{"SLACK_WEBHOOKURL_FILE=/nowhere"}, []string{"SLACK_WEBHOOKURL_FILE: open /nowhere: no such file"}},
		{"empty secret", "", []string{"SLACK_WEBHOOKURL_FILE=" + empty}, []string{"SLACK_WEBHOOKURL_FILE: " + empty + " is empty"}},
		{"endless secret", "", []string{"SLACK_WEBHOOKURL_FILE=/dev/zero"}, []string{"has more than 65536 bytes"}},
		{"secret is a directory", "", []string{"SLACK_WEBHOOKURL_FILE=/"}, []string{"SLACK_WEBHOOKURL_FILE: / is empty or not readable"}},
		{"field without colon", "", []string{"CUSTOMFIELDS=a:b,c"}, []string{"CUSTOMFIELDS: field 2 is not name:value"}},
		{"field of nothing", "", []string{"CUSTOMFIELDS=a:%NOPE"}, []string{"CUSTOMFIELDS: field a asks for variable NOPE, which is not set"}},
		{"field twice", "", []string{"CUSTOMFIELDS=a:b,a:c"}, []string{"field a is given twice"}},
		{"unknown key", "slack:\n  usernam: x", nil, []string{"conf.yaml:2: unknown key slack.usernam, did you mean slack.username?"}},
		{"unknown block", "slakc: {}", nil, []string{"conf.yaml:1: unknown key slakc"}},
		{"key twice", "debug: true\nDEBUG: false", nil, []string{"conf.yaml:2: debug is given twice"}},
		{"not a value", "debug: [true]", nil, []string{"conf.yaml:1: debug must be a single value"}},
		{"not a block", "slack: x", nil, []string{"conf.yaml:1: slack must be a mapping"}},
		{"not a mapping", "- a", nil, []string{"conf.yaml:1: the file must be a mapping"}},
		{"no YAML", "a: b: c", nil, []string{"conf.yaml: yaml:"}},
		{"two documents", "debug: true\n---\ndebug: true", nil, []string{"more than one document"}},
		{"all at once", "listenport: x\nslack: {usernam: x}", []string{"DEBUG=x", hook, "SLACK_MINIMUMPRIORITY=warn", "STDOUT_X=1"}, []string{
			"unknown key slack.usernam", `"x" is not a port`, "DEBUG", "SLACK_MINIMUMPRIORITY", "STDOUT_X",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text, c.env...)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("problem %q, want %q", got[i], want)
				}
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		env  []string
		want string // "" for no warning
	}{
		{"other outputs", "", []string{"GOTIFY_HOSTPORT=x", "MATTERMOST_WEBHOOKURL=x", "OTLP_TRACES_ENDPOINT=x", "AWS_SQS_URL=x"}, "AWS_SQS_URL, GOTIFY_HOSTPORT, MATTERMOST_WEBHOOKURL, OTLP_TRACES_ENDPOINT"},
		{"common to all", "", []string{"SLACK_CHECKCERT=false"}, "SLACK_CHECKCERT"},
		{"the SDK's", "", []string{"AWS_PROFILE=x", "AWS_S3_USE_ARN_REGION=true", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x"}, ""},
		{"service links", "", []string{"SLACK_SERVICE_HOST=10.0.0.1", "SLACK_PORT=tcp://10.0.0.1:80", "SLACK_PORT_80_TCP_ADDR=10.0.0.1", "QUEUE_SERVICE_PORT_HTTP=80"}, ""},
		{"without what turns it on", "", []string{"SLACK_USERNAME=x"}, "SLACK_USERNAME has no effect: slack is off without SLACK_WEBHOOKURL"},
		{"upstream's sample", "mattermost: {webhookurl: '', checkcert: false, mutualtls: ~}\ngrafana: {hostport: '', customheaders: {a: ''}}", nil, ""},
		{"in the file", "mattermost:\n  webhookurl: x", nil, "mattermost ("},
	} {
		got, err := load(t, c.text, c.env...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		all := strings.Join(got.Warnings, "; ")
		if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("%s: warnings %q", c.name, all)
		}
	}
}

// What FalcoSidekick says in one directory, or in files, outputs get as files.
func TestClientFiles(t *testing.T) {
	k := kind("slack", "slack", "webhookurl", outputs.Setting{Key: "webhookurl"},
		outputs.Setting{Key: "certfile", Block: "mutualtlsclient"}, outputs.Setting{Key: "keyfile", Block: "mutualtlsclient"},
		outputs.Setting{Key: "other", Block: "mutualtlsclient", Name: "cacertfile"})
	for _, c := range []struct {
		env  []string
		want map[string]string
	}{
		{nil, map[string]string{"certfile": "", "keyfile": "", "other": ""}},
		{[]string{"MUTUALTLSFILESPATH=/etc/certs"}, map[string]string{"certfile": "/etc/certs/client.crt", "keyfile": "/etc/certs/client.key", "other": "/etc/certs/ca.crt"}},
		{[]string{"MUTUALTLSFILESPATH=/etc/certs", "MUTUALTLSCLIENT_KEYFILE=/k", "MUTUALTLSCLIENT_CACERTFILE=/c"}, map[string]string{"certfile": "/etc/certs/client.crt", "keyfile": "/k", "other": "/c"}},
	} {
		got, err := Load(Input{Environ: append(c.env, "SLACK_WEBHOOKURL=x"), Kinds: []outputs.Kind{k}})
		if err != nil || len(got.Warnings) > 0 {
			t.Fatal(err, got.Warnings)
		}
		settings := got.Outputs[0].Output.(made).settings
		delete(settings, "webhookurl")
		if !maps.Equal(settings, c.want) {
			t.Errorf("%v: %v", c.env, settings)
		}
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(Input{File: "/nowhere.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestConfigPrintsNoSecret(t *testing.T) {
	k := kinds()[0]
	var kept outputs.Values
	k.New = func(v outputs.Values) (outputs.Output, error) { kept = v; return made{}, nil }
	_, err := Load(Input{Environ: []string{"SLACK_WEBHOOKURL=https://CANARY"}, Kinds: []outputs.Kind{k}})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", kept, kept, kept); strings.Contains(s, "CANARY") {
		t.Errorf("printed: %s", s)
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("slack: {webhookurl: x}\ncustomfields: {a: '%B'}")
	f.Add("a: &a [*a]")
	f.Add("&a a: *a")
	f.Add("teams: &a [*a]")
	f.Add("# nothing")
	f.Add("slack: &x\n  username: y\naws: *x")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = load(t, text)
	})
}
