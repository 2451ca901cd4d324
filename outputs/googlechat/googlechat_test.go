package googlechat_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/googlechat"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// maxText is what the service takes, in characters.
const maxText = 4096

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
	if strings.ContainsAny(m.Text, "<>") {
		t.Errorf("can mention or link: %q", m.Text)
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"webhookurl": base + "/v1/spaces/A/messages?key=" + outputtest.Canary + "&token=" + outputtest.Canary}
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: googlechat.Kind(), Settings: settings, Classes: outputtest.Outages(), Check: check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"name":"spaces/A/messages/1"}`)
		},
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
	if err := deliver(outputtest.New(t, googlechat.Kind(), settings(t, srv.URL).With(more))); err != nil {
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

func TestRefusedSettings(t *testing.T) {
	for want, settings := range map[string]outputtest.Settings{
		"GOOGLECHAT_WEBHOOKURL": {"webhookurl": outputtest.Canary},
		"GOOGLECHAT_CHECKCERT":  {"webhookurl": "https://example.com/" + outputtest.Canary, "checkcert": "no"},
	} {
		outputtest.Refused(t, googlechat.Kind(), settings, want)
	}
}
