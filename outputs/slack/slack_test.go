package slack_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/slack"
	"github.com/sidearmor/sidearmor/schema"
)

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: slack.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"webhookurl": base + "/services/T0/B0/" + outputtest.Canary + "?x=" + outputtest.Canary}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") },
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with Content-Type %q", r.Method, r.Header.Get("Content-Type"))
			}
			valid(t, body)
			if n := clip.Units(string(body)); n > 60000 {
				t.Errorf("a message of %d characters", n)
			}
		},
	})
}

// send gives the body that arrives for an event.
func send(t *testing.T, e schema.Event, settings outputtest.Settings) []byte {
	t.Helper()
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	all := outputtest.Settings{"webhookurl": srv.URL + "/services/x"}.With(settings)
	o := outputtest.New(t, slack.Kind(), all)
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"all", "text", "fields"} {
		for _, c := range outputtest.Cases() {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				outputtest.GoldenJSON(t, format+"/"+c.Name+".json", send(t, c.Event, outputtest.Settings{"outputformat": format}))
			})
		}
	}
}

// TestFalcoWire pins the bytes: the order of keys and fields, the colour and
// the final line end are FalcoSidekick's. Only what says that the message is
// FalcoSidekick's own is given by settings here.
func TestFalcoWire(t *testing.T) {
	settings := outputtest.Settings{
		"username": "Falcosidekick", "icon": "https://example/i.png", "footer": "https://example/f", "channel": "#ops",
		"messageformat": "Rule: {{ .Rule }} Priority: {{ .Priority }}",
	}
	want := `{"text":"Rule: Test rule Priority: Debug","username":"Falcosidekick","icon_url":"https://example/i.png","channel":"#ops",` +
		`"attachments":[{"fallback":"This is a test from falcosidekick","color":"#ccfff2","text":"This is a test from falcosidekick","fields":[` +
		`{"title":"rule","value":"Test rule","short":true},{"title":"priority","value":"Debug","short":true},` +
		`{"title":"source","value":"syscalls","short":true},{"title":"hostname","value":"test-host","short":true},` +
		`{"title":"tags","value":"example, test","short":true},{"title":"proc.name","value":"falcosidekick","short":true},` +
		`{"title":"time","value":"2001-01-01 01:10:00 +0000 UTC","short":false}],"footer":"https://example/f"}]}` + "\n"
	if got := string(send(t, outputtest.Falco(), settings)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFalcoColors(t *testing.T) {
	for priority, want := range map[schema.Priority]string{
		schema.PriorityEmergency: "#e20b0b", schema.PriorityError: "#e20b0b", schema.PriorityAlert: "#ff5400",
		schema.PriorityCritical: "#ff5400", schema.PriorityWarning: "#ffc700", schema.PriorityNotice: "#5bffb5",
		schema.PriorityInformational: "#68c2ff", schema.PriorityDebug: "#ccfff2",
	} {
		e := outputtest.Falco()
		e.Falco.Priority = priority
		var got struct{ Attachments []struct{ Color string } }
		if err := json.Unmarshal(send(t, e, nil), &got); err != nil || got.Attachments[0].Color != want {
			t.Errorf("%v: got %+v, want %s (%v)", priority, got, want, err)
		}
	}
}

func TestShortFields(t *testing.T) {
	e := outputtest.Falco()
	e.Falco.OutputFields = map[string]any{"a": strings.Repeat("ä", 35), "b": strings.Repeat("ä", 36)}
	body := string(send(t, e, nil))
	if !strings.Contains(body, strings.Repeat("ä", 35)+`","short":true`) || !strings.Contains(body, strings.Repeat("ä", 36)+`","short":false`) {
		t.Error("fields below 36 characters are short, others are not:", body)
	}
}

func TestTemplate(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{`<!here> {{.Rule}} {{.Priority}} {{.Hostname}}`, `<!here> Test rule Debug test-host`},
		{`{{.Output}}`, `&lt;!channel&gt; rm`},
		{`{{raw .Output}}`, `<!channel> rm`},
		{`{{if eq .Output "<!channel> rm"}}{{.Output | printf "<https://example/%s>"}}{{end}}`, `<https://example/&lt;!channel&gt; rm>`},
		{`{{index .OutputFields "proc.name"}} {{index .OutputFields "nothing"}}`, `falcosidekick &lt;no value&gt;`},
		{`{{range .Tags}}[{{.}}]{{end}} {{.Time.Year}} {{.Source}}`, `[test][example] 2001 syscalls`},
		{`{{index .OutputFields "proc.tty"}}`, `1234`},
		{`{{len (index .OutputFields "proc.name")}}`, `13`},
		{`{{index .Tags 9}}`, `messageformat: template: messageformat:1:2: executing "messageformat" at &lt;index .Tags 9&gt;: error calling index`},
	} {
		e := outputtest.Falco()
		e.Falco.Output = "<!channel> rm"
		var got struct{ Text string }
		if err := json.Unmarshal(send(t, e, outputtest.Settings{"messageformat": tt.template}), &got); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.Text, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.template, got.Text, tt.want)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	good := "https://hooks.slack.example/services/" + outputtest.Canary
	for _, tt := range []struct {
		name     string
		settings outputtest.Settings
		want     string
	}{
		{"no address", outputtest.Settings{"webhookurl": outputtest.Canary}, "SLACK_WEBHOOKURL"},
		{"broken address", outputtest.Settings{"webhookurl": "https://%zz/" + outputtest.Canary}, "SLACK_WEBHOOKURL"},
		{"wrong scheme", outputtest.Settings{"webhookurl": "ftp://x/" + outputtest.Canary}, "SLACK_WEBHOOKURL"},
		{"upstream's misprint", outputtest.Settings{"webhookurl": good, "outputformat": "field"}, "SLACK_OUTPUTFORMAT"},
		{"template syntax", outputtest.Settings{"webhookurl": good, "messageformat": "{{.Rule"}, "SLACK_MESSAGEFORMAT"},
		{"template field", outputtest.Settings{"webhookurl": good, "messageformat": "{{.Nothing}}"}, "SLACK_MESSAGEFORMAT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outputtest.Refused(t, slack.Kind(), tt.settings, tt.want)
		})
	}
}

// TestRateLimit checks that the library and this package read a 429 alike, and
// that Slack's own reasons reach the error text.
func TestRateLimit(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "no_service")
			return
		}
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer srv.Close()
	err := slackapi.PostWebhookContext(t.Context(), srv.URL, &slackapi.WebhookMessage{Text: "x"})
	if e, ok := errors.AsType[*slackapi.RateLimitedError](err); !ok || e.RetryAfter != 30*time.Second {
		t.Errorf("the library says %v", err)
	}
	o := outputtest.New(t, slack.Kind(), outputtest.Settings{"webhookurl": srv.URL})
	err = o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.RateLimited || e.RetryAfter != 30*time.Second {
		t.Errorf("we say %#v", err)
	}
	o = outputtest.New(t, slack.Kind(), outputtest.Settings{"webhookurl": srv.URL + "/gone"})
	err = o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
	if err == nil || err.Error() != "slack answered 404 Not Found: no_service" {
		t.Errorf("got %v", err)
	}
}

// TestRefusalInSuccess: a 200 with one of Slack's reasons is no success, whatever
// the kind of event.
func TestRefusalInSuccess(t *testing.T) {
	var answer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	defer srv.Close()
	o := outputtest.New(t, slack.Kind(), outputtest.Settings{"webhookurl": srv.URL + "/" + outputtest.Canary})
	for _, tt := range []struct {
		answer string
		fails  bool
		class  outputs.Class
	}{
		{"ok", false, 0},
		{"", false, 0},
		{`{"success":true}`, false, 0}, // Rocket.Chat
		{`{"ok":true}`, false, 0},
		{`{"ok":false,"error":"invalid_auth"}`, true, outputs.Transient},
		{`{"ok":false,"error":"` + outputtest.Canary + `"}`, true, outputs.Transient},
		{`{"ok":false}`, true, outputs.Transient},
		{"<html>signed in</html>", true, outputs.Transient},
		{"invalid_blocks", true, outputs.Permanent},
		{"invalid_payload", true, outputs.Permanent},
		{"no_service\n", true, outputs.Transient},
		{"channel_is_archived", true, outputs.Transient},
		{"internal_error", true, outputs.Transient},
		{"rate_limited", true, outputs.RateLimited},
	} {
		answer = tt.answer
		for _, e := range []schema.Event{outputtest.BlockedExec(), outputtest.Falco()} {
			err := outputtest.Deliver(t.Context(), t, o, []schema.Event{e})
			if (err != nil) != tt.fails || (err != nil && outputtest.Class(err) != tt.class) {
				t.Errorf("%q, %s: %v", tt.answer, e.Kind, err)
			}
		}
	}
}

// TestLimits tries the formats that the conformance suite does not.
func TestLimits(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	for _, format := range []string{"text", "fields"} {
		for _, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				valid(t, send(t, c.Event, outputtest.Settings{
					"outputformat": format, "messageformat": "{{.Output}}", "footer": strings.Repeat("f<", 200),
				}))
			})
		}
	}
}

// TestPreview shows on a terminal what the message says, and only that.
func TestPreview(t *testing.T) {
	var all []byte
	for _, c := range outputtest.Cases() {
		text, err := slack.Preview(&c.Event)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, text...), '\n')
	}
	if strings.ContainsAny(string(all), "\x1b\r\x00") {
		t.Error("control characters are left")
	}
	outputtest.Golden(t, "preview.txt", all)
}
