package mattermost_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/internal/chat/chattest"
	"github.com/sidearmor/sidearmor/outputs/mattermost"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// spec is Mattermost as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: mattermost.Kind(), Settings: settings, Classes: outputtest.Outages(),
		Check: chattest.Rules{Max: 16_383, Code: chattest.Backticks()}.Check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ok")
		},
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"webhookurl": base + "/hooks/" + outputtest.Canary}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestGolden(t *testing.T) { chattest.Golden(t, spec()) }

func TestName(t *testing.T) { chattest.Signed(t, spec()) }

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
			body := string(spec().With(tt.more).SentEvent(t, tt.event))
			if !strings.Contains(body, tt.has) || strings.Contains(body, tt.lack) {
				t.Error(body)
			}
		})
	}
	outputtest.RefusedEach(t, mattermost.Kind(), settings(t, "https://example.com"), map[string]outputtest.Settings{
		"MATTERMOST_OUTPUTFORMAT":  {"outputformat": "html"},
		"MATTERMOST_MESSAGEFORMAT": {"messageformat": "{{.Nothing}}"},
	})
}

func TestRefusedSettings(t *testing.T) { chattest.RefusedWebhook(t, mattermost.Kind()) }
