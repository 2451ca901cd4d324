package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

func TestInstances(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		env  []string
		want string // name, URL, user name and minimum priority of each
	}{
		{"variables", "", []string{
			"SLACK_WEBHOOKURL=https://a", "SLACK_2_WEBHOOKURL=https://b", "SLACK_2_NAME=oncall", "SLACK_2_USERNAME=u", "SLACK_2_MINIMUMPRIORITY=error",
			"SLACK_12_WEBHOOKURL=https://c", "SLACK_12_NAME=team-2",
		}, "slack https://a SideArmor ; slack-oncall https://b u Error; slack-team-2 https://c SideArmor "},
		{
			"list", "slack:\n- {webhookurl: https://a}\n- {name: oncall, webhookurl: https://b, username: u, minimumpriority: error}", nil,
			"slack https://a SideArmor ; slack-oncall https://b u Error",
		},
		{
			"first has a name too", "slack:\n- {name: all, webhookurl: https://a}\n- {name: oncall, webhookurl: https://b}", nil,
			"slack-all https://a SideArmor ; slack-oncall https://b SideArmor ",
		},
		{
			"variables win over the list", "slack:\n- {webhookurl: https://a, username: x}\n- {name: oncall, webhookurl: https://b}",
			[]string{"SLACK_USERNAME=y", "SLACK_2_WEBHOOKURL=https://z"},
			"slack https://a y ; slack-oncall https://z SideArmor ",
		},
		{"one alone with a name", "slack: {name: oncall, webhookurl: https://a}", nil, "slack-oncall https://a SideArmor "},
		{"names as variables", "", []string{
			"SLACK_WEBHOOKURL=https://a", "SLACK_TEAM_2_WEBHOOKURL=https://d", "SLACK_ONCALL_WEBHOOKURL=https://c", "SLACK_ONCALL_USERNAME=u",
			"SLACK_2_WEBHOOKURL=https://b", "SLACK_2_NAME=x", "SLACK_ONCALL_MINIMUMPRIORITY=error",
		}, "slack https://a SideArmor ; slack-x https://b SideArmor ; slack-oncall https://c u Error; slack-team-2 https://d SideArmor "},
		{"name beside a list", "slack:\n- {webhookurl: https://a}", []string{"SLACK_ONCALL_WEBHOOKURL=https://c"}, "slack https://a SideArmor ; slack-oncall https://c SideArmor "},
		{"only the second", "", []string{"SLACK_2_WEBHOOKURL=https://b", "SLACK_2_NAME=x"}, "slack-x https://b SideArmor "},
		{"empty list", "slack: []", nil, ""},
		{"empty items", "slack: [~, {}]", nil, ""},
		{"service links", "", []string{"SLACK_2_SERVICE_HOST=10.0.0.1", "SLACK_2_PORT=tcp://10.0.0.1:80"}, ""},
	} {
		got, err := load(t, c.text, c.env...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var all []string
		for _, o := range got.Outputs {
			s := o.Output.(made).settings
			all = append(all, fmt.Sprintf("%s %s %s %s", o.Name, s["webhookurl"], s["username"], o.MinimumPriority))
		}
		if text := strings.Join(all, "; "); text != c.want || len(got.Warnings) != 0 {
			t.Errorf("%s: %q, warnings %q", c.name, text, got.Warnings)
		}
	}
}

func TestNestedInstances(t *testing.T) {
	c, err := load(t, "aws:\n  region: eu-west-1\n  cloudwatchlogs:\n  - loggroup: a\n  - {name: audit, loggroup: b, logs: false}",
		"AWS_CLOUDWATCHLOGS_3_LOGGROUP=c", "AWS_CLOUDWATCHLOGS_3_NAME=more")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range c.Outputs {
		names = append(names, fmt.Sprint(o.Name, " ", o.Output.(made).settings["region"], " ", o.Logs))
	}
	if want := []string{"awscloudwatchlogs eu-west-1 true", "awscloudwatchlogs-audit eu-west-1 false", "awscloudwatchlogs-more eu-west-1 true"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestRefusedInstances(t *testing.T) {
	const second = "SLACK_2_WEBHOOKURL=https://CANARY"
	var many strings.Builder
	for i := range maxInstances + 1 {
		fmt.Fprintf(&many, "- {name: n%d, webhookurl: https://CANARY}\n", i)
	}
	for _, c := range []struct {
		name string
		text string
		env  []string
		want string
	}{
		{"no name", "", []string{second}, "SLACK_2_NAME: missing, every slack but the first needs a name"},
		{"bad name", "", []string{second, "SLACK_2_NAME=On.Call"}, `SLACK_2_NAME: "On.Call" is not a name`},
		{"long name", "", []string{second, "SLACK_2_NAME=" + strings.Repeat("a", 21)}, "is not a name"},
		{"twice", "", []string{second, "SLACK_2_NAME=a", "SLACK_3_WEBHOOKURL=https://x", "SLACK_3_NAME=a"}, "SLACK_3_NAME: there is an output slack-a already, by SLACK_2_NAME"},
		{"misspelt", "", []string{"SLACK_2_WEBHOKURL=x"}, "SLACK_2_WEBHOKURL: unknown variable, did you mean SLACK_2_WEBHOOKURL?"},
		{"number one", "", []string{"SLACK_1_WEBHOOKURL=x"}, "SLACK_1_WEBHOOKURL: unknown variable, did you mean SLACK_WEBHOOKURL?"},
		{"zeros", "", []string{"SLACK_02_WEBHOOKURL=x"}, "SLACK_02_WEBHOOKURL: unknown variable"},
		{"misspelt below a name", "", []string{"SLACK_ONCALL_WEBHOOKURL=https://CANARY", "SLACK_ONCALL_USERNAM=x"}, "SLACK_ONCALL_USERNAM: unknown variable, did you mean SLACK_ONCALL_USERNAME?"},
		{"name and number", "", []string{second, "SLACK_2_NAME=oncall", "SLACK_ONCALL_WEBHOOKURL=https://CANARY"}, "SLACK_ONCALL_NAME: there is an output slack-oncall already, by SLACK_2_NAME"},
		{"name as a key", "slack:\n  oncall: {username: x}", []string{"SLACK_ONCALL_WEBHOOKURL=https://CANARY"}, "conf.yaml:2: unknown key slack.oncall"},
		{"by the output", "", []string{second, "SLACK_2_NAME=a", "SLACK_2_USERNAME=refuse"}, "SLACK_2_USERNAME: refused"},
		{"key", "slack:\n- {}\n- {name: a, usernam: x}", nil, "conf.yaml:3: unknown key slack.2.usernam, did you mean slack.2.username?"},
		{"number as a key", "slack:\n  2: {name: x}", []string{second, "SLACK_2_NAME=a"}, "conf.yaml:2: unknown key slack.2"},
		{"item is no mapping", "slack: [a]", nil, "slack must be a mapping"},
		{"list of what is no output", "queue: [{dir: a}]", nil, "queue must be a mapping"},
		{"too many", "slack:\n" + many.String(), nil, "slack has more than 99 items"},
		{
			"filter", "slack:\n- {webhookurl: https://CANARY, filter: 'event.actoin == \"Block\"'}", nil,
			`slack.filter (`,
		},
		{
			"filter of the second", "",
			[]string{second, "SLACK_2_NAME=a", `SLACK_2_FILTER=event.actoin == "Block"`},
			`SLACK_2_FILTER: line 1, column 6: undefined field 'actoin', at ".actoin == \"Block\""`,
		},
	} {
		_, err := load(t, c.text, c.env...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFilter(t *testing.T) {
	c, err := load(t, "slack:\n  webhookurl: https://a\n  filter: |\n    event.action == \"Block\" &&\n    event.namespace.startsWith(\"prod\")\n", "STDOUT_ENABLED=true")
	if err != nil {
		t.Fatal(err)
	}
	if c.Outputs[1].Filter != nil {
		t.Error("a filter that nobody gave")
	}
	e := &schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{Action: schema.ActionBlock}}
	if got, err := c.Outputs[0].Filter.Match(e); got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	e.Alert.NamespaceName = "prod-1"
	if got, err := c.Outputs[0].Filter.Match(e); !got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestYAML(t *testing.T) {
	secret := write(t, "url", "https://hooks.slack.com/CANARY\n")
	c, err := load(t, `
customfields: {b: "2", a: "true"}
slack:
- webhookurl: https://hooks.slack.com/CANARY
  filter: |
    event.action == "Block" &&
    event.blocked
- name: oncall
  webhookurl_file: `+secret+`
  minimumpriority: error
aws:
  region: eu-west-1
webhook:
  customheaders: {Authorization: CANARY}
`, "AWS_CLOUDWATCHLOGS_LOGGROUP=https://user:CANARY@host/x", "WEBHOOK_ADDRESS=https://CANARY", "STDOUT_ENABLED=false", "DEBUG=true")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if strings.Contains(text, "CANARY") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	for _, want := range []string{
		"listenaddress: 127.0.0.1\n", "listenport: 2801\n", "debug: true # DEBUG\n",
		"customfields:\n  a: true\n  b: 2\n",
		"slack:\n  - webhookurl: '***' # slack.webhookurl (",
		"    username: SideArmor\n",
		"    filter: |",
		"  - webhookurl: '***' # slack.2.webhookurl_file (",
		"    name: oncall # slack.2.name (",
		"aws:\n  cloudwatchlogs:\n    loggroup: https://***@host/x # AWS_CLOUDWATCHLOGS_LOGGROUP\n",
		"  region: eu-west-1 # aws.region (",
		"  customheaders: '***' # webhook.customheaders (",
		"stdout:\n  enabled: false # STDOUT_ENABLED\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	// What is shown can be read again.
	again, err := load(t, strings.ReplaceAll(text, "'***'", "'https://x'"))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if len(again.Outputs) != len(c.Outputs) || again.Outputs[1].Name != "slack-oncall" || again.Outputs[0].Filter == nil {
		t.Errorf("read again: %v\n%s", again.Outputs, text)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Outputs that variables name are shown as the list that would make them.
func TestNamedInYAML(t *testing.T) {
	c, err := load(t, "", "SLACK_WEBHOOKURL=https://a", "SLACK_ON_CALL_WEBHOOKURL=https://b")
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, strings.NewReplacer("***", "https://x").Replace(string(text)))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if len(again.Outputs) != 2 || again.Outputs[1].Name != "slack-on-call" || !strings.Contains(string(text), "# SLACK_ON_CALL_WEBHOOKURL") {
		t.Errorf("%d outputs by\n%s", len(again.Outputs), text)
	}
}
