package discord_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/discord"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

type body struct {
	Embeds []struct {
		Title, Description string
		Color              int
		Fields             []struct{ Name, Value string }
		Footer             struct{ Text string }
	}
}

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: discord.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"webhookurl": base + "/api/webhooks/1/" + outputtest.Canary + "?thread_id=7"}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":"1"}`) },
		Check: func(t testing.TB, r *http.Request, raw []byte) {
			if q := r.URL.Query(); r.Method != http.MethodPost || q.Get("wait") != "true" || q.Get("thread_id") != "7" {
				t.Errorf("%s ?%s", r.Method, r.URL.RawQuery)
			}
			valid(t, raw)
			total(t, raw)
		},
	})
}

// total checks the limit that JSON Schema cannot express.
func total(t testing.TB, raw []byte) {
	t.Helper()
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Error(err)
		return
	}
	e := b.Embeds[0]
	n := clip.Units(e.Title) + clip.Units(e.Description) + clip.Units(e.Footer.Text)
	for _, f := range e.Fields {
		n += clip.Units(f.Name) + clip.Units(f.Value)
	}
	if n > 6000 {
		t.Errorf("%d characters, Discord takes 6000", n)
	}
}

func send(t *testing.T, e schema.Event) []byte {
	t.Helper()
	var raw []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL, "icon": "https://example/i.png"})
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			outputtest.GoldenJSON(t, c.Name+".json", send(t, c.Event))
		})
	}
}

// Discord makes a link of a bare address, and a picture of the name of an emoji. An
// event's own texts must give it neither, wherever they stand.
func TestNoLinksOrEmoji(t *testing.T) {
	const text = "see https://login.example/slack or HTTP://a.example :tada: steam://run"
	alert, falco := outputtest.BlockedExec(), outputtest.Falco()
	a, f := alert.Alert, falco.Falco
	a.Message, a.Result, a.PolicyName, a.PodName = text, text, text, text
	a.ProcessName, a.Source, a.Resource, a.NamespaceName, a.ContainerName = text, text, text, text, text
	f.Output, f.Rule, f.Source, f.Hostname, f.Tags = text, text, text, text, []string{text}
	f.OutputFields = map[string]any{text: text, "b": "first line\n" + text}
	inCode := regexp.MustCompile("(?s)```.*?```|`[^`]*`")
	made := regexp.MustCompile(`(?i)[a-z]://|(^|[^\\]):[a-z]+:`)
	for _, e := range []schema.Event{alert, falco} {
		var b body
		if err := json.Unmarshal(send(t, e), &b); err != nil {
			t.Fatal(err)
		}
		shown := []string{b.Embeds[0].Title, b.Embeds[0].Description}
		for _, f := range b.Embeds[0].Fields {
			shown = append(shown, f.Name, f.Value)
			if strings.HasPrefix(f.Value, "```first line") {
				t.Errorf("the first line of a block is hidden: %q", f.Value)
			}
		}
		for _, s := range shown {
			if got := made.FindString(inCode.ReplaceAllString(s, "")); got != "" {
				t.Errorf("%q in %q", got, s)
			}
		}
	}
}

// TestFalcoFields pins FalcoSidekick's order, values and colour.
func TestFalcoFields(t *testing.T) {
	var b body
	if err := json.Unmarshal(send(t, outputtest.Falco()), &b); err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for _, f := range b.Embeds[0].Fields {
		got = append(got, [2]string{f.Name, f.Value})
	}
	want := [][2]string{
		{"rule", "Test rule"},
		{"priority", "Debug"},
		{"source", "syscalls"},
		{"hostname", "test-host"},
		{"proc.name", "```falcosidekick```"},
		{"proc.tty", "```1234```"},
		{"tags", "example, test"},
		{"time", "2001-01-01 01:10:00 +0000 UTC"},
	}
	if diff := cmp.Diff(want, got); diff != "" || b.Embeds[0].Color != 12370112 {
		t.Errorf("colour %d, (-want +got):\n%s", b.Embeds[0].Color, diff)
	}
}

func TestLeftOutFieldsAreCounted(t *testing.T) {
	e := outputtest.Falco()
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		e.Falco.OutputFields[string(c)] = "x"
	}
	raw := send(t, e)
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	fields := b.Embeds[0].Fields
	n := len(fields)
	if n != 25 || fields[n-1].Name != "time" || fields[n-2].Name != "tags" || fields[n-3].Value != "10 more fields" {
		t.Errorf("%d fields: %+v", n, fields)
	}
}

func TestRateLimit(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/body":
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"message":"You are being rate limited.","retry_after":1.337,"global":false}`)
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"Unknown Webhook","code":10015}`)
		}
	}))
	defer srv.Close()
	for path, want := range map[string]outputs.Error{
		"/body": {Class: outputs.RateLimited, RetryAfter: 1337 * time.Millisecond},
		"/gone": {Class: outputs.Transient},
	} {
		o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL + path})
		err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
		e, ok := errors.AsType[*outputs.Error](err)
		if !ok || e.Class != want.Class || e.RetryAfter != want.RetryAfter {
			t.Errorf("%s: got %#v", path, err)
		}
		if path == "/gone" && !strings.HasSuffix(err.Error(), "404 Not Found: code 10015, Unknown Webhook") {
			t.Error(err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.Refused(t, discord.Kind(), outputtest.Settings{"webhookurl": "discord:" + outputtest.Canary}, "DISCORD_WEBHOOKURL")
}
