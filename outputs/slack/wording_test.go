package slack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/slack"
)

func TestKubeArmorFormat(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{`<!here> *{{.Outcome}}* {{.Resource}} {{.Message}}`, `<!here> *Blocked* /etc/&lt;shadow&gt; &lt;!channel&gt;`},
		{`{{raw .Resource}} {{.Resource}}`, `/etc/<shadow> /etc/&lt;shadow&gt;`},
		{`{{if eq .Action "Audit"}}nothing{{end}}`, ""},
		{`{{index .Tags 99}}`, `kubearmorformat: word event: template`},
		{strings.Repeat(`{{.Message}} `, 1000), `&lt;!channel&gt;`},
	} {
		e := outputtest.BlockedExec()
		e.Alert.Message, e.Alert.Resource = "<!channel>", "/etc/<shadow>"
		body := send(t, e, outputtest.Settings{"kubearmorformat": c.template})
		var got struct {
			Text   string
			Blocks []struct {
				Type string
				Text struct{ Type, Text string }
			}
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		first := got.Blocks[0]
		if c.want == "" {
			if first.Type != "header" {
				t.Errorf("%s: first block %+v", c.template, first)
			}
			continue
		}
		if first.Type != "section" || !strings.HasPrefix(first.Text.Text, c.want) || len(first.Text.Text) > 3000 || got.Blocks[1].Type != "header" {
			t.Errorf("%.80s: %+v", c.template, got.Blocks)
		}
		if strings.HasPrefix(c.want, "kubearmorformat") != (got.Text != first.Text.Text) {
			t.Errorf("%.80s: the notification says %q", c.template, got.Text)
		}
	}
	good := "https://hooks.slack.example/services/" + outputtest.Canary
	outputtest.Refused(t, slack.Kind(), outputtest.Settings{"webhookurl": good, "kubearmorformat": "{{.Nothing}}"}, "SLACK_KUBEARMORFORMAT")
}

// What check shows is the message with the user's templates.
func TestPreviewOfOutput(t *testing.T) {
	o := outputtest.New(t, slack.Kind(), outputtest.Settings{
		"webhookurl": "https://hooks.slack.example/services/" + outputtest.Canary, "username": "Me",
		"kubearmorformat": "{{.Outcome}} at {{index .Tags 0}}", "messageformat": "{{.Rule}} by {{index .Tags 0}}",
	})
	p := o.(outputs.Previewer)
	alert, falco := outputtest.BlockedExec(), outputtest.Falco()
	alert.Alert.ATags = []string{"MITRE"}
	text, err := p.Preview(&alert)
	if err != nil || !strings.Contains(text, "┌ Me\n  │ Blocked at MITRE\n  │ ⛔ Blocked") {
		t.Errorf("%v\n%s", err, text)
	}
	more, err := p.Preview(&falco)
	if err != nil || !strings.Contains(more, "│ Test rule by test\n") {
		t.Errorf("%v\n%s", err, more)
	}
	outputtest.NoSecret(t, text+more)
	alert.Alert.ATags, alert.Alert.Tags, falco.Falco.Tags = nil, "", nil
	if _, err := p.Preview(&alert); err == nil {
		t.Error("a failing template is no error")
	}
	if _, err := p.Preview(&falco); err == nil {
		t.Error("a failing template is no error")
	}
}
