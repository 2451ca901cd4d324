package telegram_test

import (
	"errors"
	"html"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat/chattest"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/telegram"
	"github.com/sidearmor/sidearmor/schema"
)

// tags are what is not shown, and code is where Telegram looks for no links, mentions
// or markup.
var (
	tags = regexp.MustCompile(`</?(b|code)>`)
	code = regexp.MustCompile(`</?b>|<code>[^<>]*</code>`)
)

func check(t testing.TB, r *http.Request, body []byte) {
	t.Helper()
	chattest.Rules{
		Max: 4096, Code: code,
		Shown: func(text string) string { return html.UnescapeString(tags.ReplaceAllString(text, "")) },
	}.Check(t, r, body)
	if r.URL.Path != "/bot42:"+outputtest.Canary+"/sendMessage" {
		t.Error(r.URL.Path)
	}
}

// spec is Telegram as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: telegram.Kind(), Settings: settings, Classes: outputtest.Outages(),
		Check: check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":1}}`)
		},
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"chatid": "-100123", "token": "42:" + outputtest.Canary, "messagethreadid": "7", "address": base}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestGolden(t *testing.T) { chattest.Golden(t, spec()) }

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
		o := spec().Answered(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(want.status)
			_, _ = io.WriteString(w, answer)
		})
		err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()})
		e, ok := errors.AsType[*outputs.Error](err)
		if !ok || e.Class != want.class || e.RetryAfter != want.wait || e.Error() != want.text {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.RefusedEach(t, telegram.Kind(), settings(t, "https://example.com"), map[string]outputtest.Settings{
		"TELEGRAM_CHATID":            {"chatid": "my chat"},
		"TELEGRAM_TOKEN":             {"token": outputtest.Canary + "/x"},
		"TELEGRAM_MESSAGE_THREAD_ID": {"messagethreadid": "x"},
		"TELEGRAM_ADDRESS":           {"address": "api.telegram.org"},
	})
}
