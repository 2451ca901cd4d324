package telegram_test

import (
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/telegram"
	"github.com/sidearmor/sidearmor/schema"
)

// maxText is what the service takes, in characters.
const maxText = 4096

// code is where the service looks for no links, mentions or markup.
var code = regexp.MustCompile(`</?b>|<code>[^<>]*</code>`)

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
	if n := len([]rune(html.UnescapeString(tags.ReplaceAllString(m.Text, "")))); n > maxText {
		t.Errorf("a text of %d characters", n)
	}
	ours := code.ReplaceAllString(m.Text, "")
	if strings.ContainsAny(ours, "@#[]<>`~_\\&\x00\x1b\u202e") || strings.Contains(ours, "://") || strings.Contains(ours, "evil") {
		t.Errorf("foreign text outside of code: %q", ours)
	}
	if r.URL.Path != "/bot42:"+outputtest.Canary+"/sendMessage" {
		t.Error(r.URL.Path)
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"chatid": "-100123", "token": "42:" + outputtest.Canary, "messagethreadid": "7", "address": base}
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: telegram.Kind(), Settings: settings, Classes: outputtest.Outages(), Check: check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":1}}`)
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
	if err := deliver(outputtest.New(t, telegram.Kind(), settings(t, srv.URL).With(more))); err != nil {
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

// tags are what is not shown.
var tags = regexp.MustCompile(`</?(b|code)>`)

// TestAnswers: a chat or a bot that is put right keeps the events, and the wait is in
// the body.
func TestAnswers(t *testing.T) {
	for answer, want := range map[string]struct {
		status int
		class  outputs.Class
		wait   time.Duration
		text   string
	}{
		`{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`:                                       {400, outputs.Transient, 0, "telegram answered 400 Bad Request: Bad Request: chat not found"},
		`{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: ` + outputtest.Canary + `"}`:      {400, outputs.Permanent, 0, "telegram answered 400 Bad Request: Bad Request: can"},
		`{"ok":false,"error_code":403,"description":"Forbidden: bot was kicked from the group chat"}`:                     {403, outputs.Transient, 0, "telegram answered 403 Forbidden: Forbidden: bot was kicked from the group chat"},
		`{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 14","parameters":{"retry_after":14}}`: {429, outputs.RateLimited, 14 * time.Second, "telegram answered 429 Too Many Requests"},
		`not found`: {404, outputs.Transient, 0, "telegram answered 404 Not Found"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(want.status)
			_, _ = io.WriteString(w, answer)
		}))
		err := outputtest.Deliver(t.Context(), t, outputtest.New(t, telegram.Kind(), settings(t, srv.URL)), []schema.Event{outputtest.Log()})
		srv.Close()
		e, ok := errors.AsType[*outputs.Error](err)
		if !ok || e.Class != want.class || e.RetryAfter != want.wait || e.Error() != want.text {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, change := range map[string]outputtest.Settings{
		"TELEGRAM_CHATID":            {"chatid": "my chat"},
		"TELEGRAM_TOKEN":             {"token": outputtest.Canary + "/x"},
		"TELEGRAM_MESSAGE_THREAD_ID": {"messagethreadid": "x"},
		"TELEGRAM_ADDRESS":           {"address": "api.telegram.org"},
	} {
		outputtest.Refused(t, telegram.Kind(), settings(t, "https://example.com").With(change), want)
	}
}
