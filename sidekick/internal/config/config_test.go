package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// plainPaths are those of probes.
func plainPaths() []string { return []string{"/ping", "/healthz", "/metrics"} }

// load reads env and, if it is not empty, a file with text.
func load(t *testing.T, text string, env ...string) (Config, error) {
	t.Helper()
	in := Input{Environ: env, Kinds: kinds(), PlainPaths: plainPaths()}
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
	if c.Listen.Address != "127.0.0.1" || !c.Listen.Default || c.Listen.Port != 2801 || c.Log != (Log{}) || len(c.Outputs) != 0 || len(c.Warnings) != 0 {
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
	if c.Listen.Address != "::1" || c.Listen.Default || c.Listen.Port != 2900 || c.Log.Level != slog.LevelDebug {
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
		{"boolean", "", []string{"LISTEN_INSECURE=yes"}, []string{`LISTEN_INSECURE: "yes" is neither true nor false`}},
		{"boolean in the file", "debug: express", nil, []string{`conf.yaml:1): "express" is neither true nor false`}},
		{"priority", "", []string{hook, "SLACK_MINIMUMPRIORITY=warn"}, []string{`SLACK_MINIMUMPRIORITY: unknown priority "warn"`}},
		{"logs", "", []string{hook, "SLACK_LOGS=2"}, []string{`SLACK_LOGS: "2" is neither`}},
		{"by the output", "", []string{hook, "SLACK_USERNAME=refuse"}, []string{`SLACK_USERNAME: refused`}},
		{"misspelt", "", []string{"SLACK_WEBHOKURL=x"}, []string{"SLACK_WEBHOKURL: unknown variable, did you mean SLACK_WEBHOOKURL?"}},
		{"misspelt file", "", []string{"SLACK_WEBHOOKURL_FLE=x"}, []string{"did you mean SLACK_WEBHOOKURL_FILE?"}},
		{"file of what is no secret", "", []string{hook, "SLACK_USERNAME_FILE=x"}, []string{"SLACK_USERNAME_FILE: unknown variable"}},
		{"queue", "", []string{"QUEUE_DRI=x"}, []string{"QUEUE_DRI: unknown variable, did you mean QUEUE_DIR?"}},
		{"misspelt beside another output", "", []string{"STDOUT_ENABLED=true", "SLACK_WEBHOKURL=x", "SLACK_USERNAME=x"}, []string{"did you mean SLACK_WEBHOOKURL?"}},
		{"misspelt for an output that is on", "", []string{hook, "SLACK_USRENAME=x"}, []string{"did you mean SLACK_USERNAME?"}},
		{"misspelt for one of several", "", []string{"SLACK_ONCALL_WEBHOOKURL=x", "SLACK_ONCALL_FILTR=x"}, []string{"did you mean SLACK_ONCALL_FILTER?"}},
		{"quotes", "", []string{`SLACK_WEBHOOKURL="https://CANARY"`}, []string{"SLACK_WEBHOOKURL: the value is in quotation marks"}},
		{"quotes in the file", `webhook: {address: "'http://CANARY'"}`, nil, []string{"webhook.address ("}},
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
		{"all at once", "listenport: x\nslack: {usernam: x}", []string{"LISTEN_INSECURE=x", hook, "SLACK_MINIMUMPRIORITY=warn", "SLACK_LOG=1"}, []string{
			"unknown key slack.usernam", `"x" is not a port`, "LISTEN_INSECURE", "SLACK_MINIMUMPRIORITY", "SLACK_LOG",
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
		{"other outputs", "", []string{"GOTIFY_HOSTPORT=x", "WEBEX_WEBHOOKURL=x", "OTLP_TRACES_ENDPOINT=x", "AWS_SECURITYLAKE_BUCKET=x"}, "AWS_SECURITYLAKE_BUCKET, GOTIFY_HOSTPORT, OTLP_TRACES_ENDPOINT, WEBEX_WEBHOOKURL"},
		{"common to all", "", []string{"SLACK_CHECKCERT=false"}, "SLACK_CHECKCERT"},
		{"the SDK's", "", []string{"AWS_PROFILE=x", "AWS_S3_USE_ARN_REGION=true", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x"}, ""},
		{"service links", "", []string{"SLACK_SERVICE_HOST=10.0.0.1", "SLACK_PORT=tcp://10.0.0.1:80", "SLACK_PORT_80_TCP_ADDR=10.0.0.1", "QUEUE_SERVICE_PORT_HTTP=80"}, ""},
		{"without what turns it on", "", []string{"SLACK_USERNAME=x"}, "SLACK_USERNAME has no effect: slack is off without SLACK_WEBHOOKURL"},
		{"upstream's sample", "webex: {webhookurl: '', checkcert: false, mutualtls: ~}\ngrafana: {hostport: '', customheaders: {a: ''}}", nil, ""},
		{"in the file", "webex:\n  webhookurl: x", nil, "webex ("},
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

// An environment is shared: what belongs to other programs turns nothing on and stops
// nothing.
func TestVariablesOfOtherPrograms(t *testing.T) {
	others := []string{
		"SLACK_BOT_TOKEN=xoxb-1", "SLACK_SIGNING_SECRET=s", "WEBHOOK_SECRET=s", "QUEUE_CONNECTION=redis", "RATE_LIMIT_WINDOW=1m",
		"SLACK_WEBHOOK_URL=https://hooks.slack.com/x", "AWS_PROFILE=p", "SLACK_SERVICE_HOST=10.0.0.1", "SLACK_PORT=tcp://10.0.0.1:80",
		"WEBHOOK_A_PORT=udp://10.0.0.1:80", "WEBHOOK_PORT_80_UDP_ADDR=10.0.0.1", "STDOUT_SERVICE_PORT=80",
	}
	c, err := load(t, "", append(others, "STDOUT_ENABLED=true")...)
	if err != nil || len(c.Outputs) != 1 || c.Outputs[0].Name != "stdout" {
		t.Errorf("%+v, %v", c.Outputs, err)
	}
	want := "variables that begin like settings and are none have no effect: QUEUE_CONNECTION, RATE_LIMIT_WINDOW, SLACK_WEBHOOK_URL"
	if len(c.Warnings) != 1 || c.Warnings[0] != want {
		t.Errorf("warnings %q", c.Warnings)
	}
	if c, err = load(t, "", append(others[:3], "SLACK_WEBHOOKURL=x")...); err != nil || !strings.Contains(strings.Join(c.Warnings, ""), "SLACK_BOT_TOKEN, SLACK_SIGNING_SECRET") {
		t.Errorf("%q, %v", c.Warnings, err)
	}
}

// What has the form of an output's setting, but cannot be one, is told of.
func TestNamesOfNoOutput(t *testing.T) {
	for _, name := range []string{"SLACK_100_WEBHOOKURL", "SLACK_ON_CALL_2_WEBHOOKURL", "SLACK_ONCALL_USERNAME", "AWS_CLOUDWATCHLOGS_GROUP"} {
		c, err := load(t, "", name+"=x", "STDOUT_ENABLED=true")
		if err != nil || len(c.Outputs) != 1 || !strings.Contains(strings.Join(c.Warnings, ""), "are none have no effect: "+name) {
			t.Errorf("%s: %q, %v", name, c.Warnings, err)
		}
	}
}

// What Kubernetes says of a service is no setting, though it is named like one.
func TestServiceLinksAreNoSettings(t *testing.T) {
	syslog := kind("syslog", "syslog", "host", outputs.Setting{Key: "host"}, outputs.Setting{Key: "port", Default: "514"})
	links := []string{"SYSLOG_SERVICE_HOST=10.0.0.1", "SYSLOG_SERVICE_PORT=514", "SYSLOG_PORT=udp://10.0.0.1:514", "SYSLOG_PORT_514_UDP=udp://10.0.0.1:514"}
	for _, env := range [][]string{links, append(links, "SYSLOG_HOST=log.example")} {
		c, err := Load(Input{Environ: env, Kinds: []outputs.Kind{syslog}})
		if err != nil || len(c.Warnings) > 0 || len(c.Outputs) != len(env)-len(links) {
			t.Fatalf("%v: %+v, %v, %v", env, c.Outputs, c.Warnings, err)
		}
		for _, o := range c.Outputs {
			if s := o.Output.(made).settings; s["host"] != "log.example" || s["port"] != "514" {
				t.Errorf("%v", s)
			}
		}
	}
}

// Blanks and line ends around a value come from echo and from env files.
func TestBlanksAroundValues(t *testing.T) {
	const want = "https://hooks.slack.com/x"
	path := write(t, "url", "  "+want+" \r\n\n")
	for _, in := range []struct{ text, env string }{
		{"", "SLACK_WEBHOOKURL= " + want + "\t\n"},
		{"", "SLACK_WEBHOOKURL_FILE= " + path + " "},
		{"slack: {webhookurl: '  " + want + " '}", ""},
	} {
		c, err := load(t, in.text, in.env, "LISTENPORT= 2900 ", "SLACK_USERNAME=  ")
		if err != nil {
			t.Errorf("%v: %v", in, err)
			continue
		}
		if s := c.Outputs[0].Output.(made).settings; s["webhookurl"] != want || s["username"] != "SideArmor" || c.Listen.Port != 2900 {
			t.Errorf("%v: %q", in, s)
		}
	}
}

func TestLowerCaseNames(t *testing.T) {
	c, err := load(t, "", "slack_webhookurl=x", "Slack_Username=y", "http_proxy=z")
	if want := "slack_webhookurl has no effect: names of variables are in capitals, SLACK_WEBHOOKURL"; err != nil || len(c.Outputs) != 0 || len(c.Warnings) != 2 || c.Warnings[1] != want {
		t.Errorf("%q, %v", c.Warnings, err)
	}
}
