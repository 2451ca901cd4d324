package mattermost_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/mattermost"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// maxText is what the service takes, in characters.
const maxText = 16_383

// code is where the service looks for no links, mentions or markup.
var code = regexp.MustCompile("`[^`]*`")

// check fails the test for a request that the service would not take, and for foreign
// text outside of code.
func check(t testing.TB, r *http.Request, body []byte) {
	t.Helper()
	valid := outputtest.JSONSchema(t, "message.schema.json")
	valid(t, body)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s with Content-Type %q", r.Method, r.Header.Get("Content-Type"))
	}
	var m struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Error(err)
	}
	if n := len([]rune(m.Text)); n > maxText {
		t.Errorf("a text of %d characters", n)
	}
	ours := code.ReplaceAllString(m.Text, "")
	if strings.ContainsAny(ours, "@#[]<>`~_\\&\x00\x1b\u202e") || strings.Contains(ours, "://") || strings.Contains(ours, "evil") {
		t.Errorf("foreign text outside of code: %q", ours)
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"webhookurl": base + "/hooks/" + outputtest.Canary}
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: mattermost.Kind(), Settings: settings, Classes: outputtest.Outages(), Check: check,
		Answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") },
	})
}

// sent is what arrives of what deliver delivers.
func sent(t *testing.T, more outputtest.Settings, deliver func(outputs.Output) error) []byte {
	t.Helper()
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		check(t, r, body)
	}))
	defer srv.Close()
	if err := deliver(outputtest.New(t, mattermost.Kind(), settings(t, srv.URL).With(more))); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			body := sent(t, nil, func(o outputs.Output) error { return o.Deliver(t.Context(), []schema.Event{c.Event}) })
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
	for _, c := range outputtest.Digests() {
		t.Run(c.Name, func(t *testing.T) {
			body := sent(t, nil, func(o outputs.Output) error { return o.(outputs.Digester).DeliverDigest(t.Context(), c.Digest) })
			outputtest.GoldenJSON(t, "digest-"+c.Name+".json", body)
		})
	}
}

func TestName(t *testing.T) {
	body := sent(t, outputtest.Settings{"username": "Falcosidekick", "icon": "https://example.com/i.png"}, func(o outputs.Output) error {
		return o.Deliver(t.Context(), []schema.Event{outputtest.Log()})
	})
	if text := string(body); !strings.Contains(text, `"username":"Falcosidekick","icon_url":"https://example.com/i.png"`) {
		t.Error(text)
	}
}

// TestStyle: the settings of FalcoSidekick's chats, and a template's event still stands
// in code.
func TestStyle(t *testing.T) {
	for name, tt := range map[string]struct {
		more      outputtest.Settings
		event     schema.Event
		has, lack string
	}{
		"text":          {outputtest.Settings{"outputformat": "text"}, outputtest.BlockedExec(), "a download tool", "Program"},
		"fields":        {outputtest.Settings{"outputformat": "fields"}, outputtest.BlockedExec(), "Program", "a download tool"},
		"field":         {outputtest.Settings{"outputformat": "field"}, outputtest.Falco(), "proc.tty", "This is a test"},
		"text of Falco": {outputtest.Settings{"outputformat": "text"}, outputtest.Falco(), "This is a test", "proc.tty"},
		"footer":        {outputtest.Settings{"footer": "ask security"}, outputtest.Falco(), "\\nask security", "\\nask security\\n"},
		"template":      {outputtest.Settings{"messageformat": "rule {{.Rule}} by {{index .OutputFields \"proc.name\"}}"}, outputtest.Falco(), "`rule Test rule by falcosidekick`\\n", "{{"},
		"hostile":       {outputtest.Settings{"messageformat": "**{{.Output}}**"}, outputtest.HostileFalco(), "`**", "{{raw"},
		"fails":         {outputtest.Settings{"messageformat": "{{index .Tags 9}}"}, outputtest.Falco(), "`messageformat: template", "`rule"},
	} {
		t.Run(name, func(t *testing.T) {
			body := string(sent(t, tt.more, func(o outputs.Output) error { return o.Deliver(t.Context(), []schema.Event{tt.event}) }))
			if !strings.Contains(body, tt.has) || strings.Contains(body, tt.lack) {
				t.Error(body)
			}
		})
	}
	for want, more := range map[string]outputtest.Settings{
		"MATTERMOST_OUTPUTFORMAT":  {"outputformat": "html"},
		"MATTERMOST_MESSAGEFORMAT": {"messageformat": "{{.Nothing}}"},
	} {
		outputtest.Refused(t, mattermost.Kind(), settings(t, "https://example.com").With(more), want)
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, settings := range map[string]outputtest.Settings{
		"MATTERMOST_WEBHOOKURL": {"webhookurl": outputtest.Canary},
		"MATTERMOST_CHECKCERT":  {"webhookurl": "https://example.com/" + outputtest.Canary, "checkcert": "no"},
	} {
		outputtest.Refused(t, mattermost.Kind(), settings, want)
	}
}
