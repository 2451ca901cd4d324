// Package chattest is what the tests of the outputs that use package chat have in
// common. It knows no service: each brings what it takes.
package chattest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// Rules are what a service takes as a text.
type Rules struct {
	Max   int                      // characters
	Code  *regexp.Regexp           // where the service looks for no links, mentions or markup
	Never string                   // characters that it does look for in code
	Shown func(text string) string // what counts for Max; nil for all
}

// Backticks is the code of services that know Markdown's.
func Backticks() *regexp.Regexp { return regexp.MustCompile("`[^`]*`") }

// Check fails the test for a request that the service would not take, and for foreign
// text outside of code. What a message is says testdata/message.schema.json.
func (rules Rules) Check(t testing.TB, r *http.Request, body []byte) {
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
	shown := m.Text
	if rules.Shown != nil {
		shown = rules.Shown(m.Text)
	}
	if n := len([]rune(shown)); n > rules.Max {
		t.Errorf("a text of %d characters", n)
	}
	ours := rules.Code.ReplaceAllString(m.Text, "")
	if strings.ContainsAny(ours, "@#[]<>`~_\\&\x00\x1b\u202e") || strings.Contains(ours, "://") || strings.Contains(ours, "evil") {
		t.Errorf("foreign text outside of code: %q", ours)
	}
	if strings.ContainsAny(m.Text, rules.Never) {
		t.Errorf("has one of %q, which can mention or link: %q", rules.Never, m.Text)
	}
}

// Golden compares what is sent of every event and every digest with golden files.
func Golden(t *testing.T, s outputtest.Spec) {
	s.Golden(t)
	for _, c := range outputtest.Digests() {
		t.Run(c.Name, func(t *testing.T) {
			body := s.Sent(t, func(o outputs.Output) error { return o.(outputs.Digester).DeliverDigest(t.Context(), c.Digest) })
			outputtest.GoldenJSON(t, "digest-"+c.Name+".json", body)
		})
	}
}

// Signed fails the test when the name and the picture of Slack's webhooks cannot be set.
func Signed(t *testing.T, s outputtest.Spec) {
	s = s.With(outputtest.Settings{"username": "Falcosidekick", "icon": "https://example.com/i.png"})
	if text := string(s.SentEvent(t, outputtest.Log())); !strings.Contains(text, `"username":"Falcosidekick","icon_url":"https://example.com/i.png"`) {
		t.Error(text)
	}
}

// RefusedWebhook fails the test when the output takes an address that is none, or a
// setting of package tlsclient that is no truth value.
func RefusedWebhook(t *testing.T, k outputs.Kind) {
	outputtest.RefusedEach(t, k, outputtest.Settings{"webhookurl": "https://example.com/" + outputtest.Canary}, map[string]outputtest.Settings{
		strings.ToUpper(k.Block) + "_WEBHOOKURL": {"webhookurl": outputtest.Canary},
		strings.ToUpper(k.Block) + "_CHECKCERT":  {"checkcert": "no"},
	})
}
