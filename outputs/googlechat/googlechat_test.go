package googlechat_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/googlechat"
	"github.com/sidearmor/sidearmor/outputs/internal/chat/chattest"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// spec is Google Chat as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: googlechat.Kind(), Settings: settings, Classes: outputtest.Outages(),
		Check: chattest.Rules{Max: 4096, Code: chattest.Backticks(), Never: "<>"}.Check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"name":"spaces/A/messages/1"}`)
		},
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"webhookurl": base + "/v1/spaces/A/messages?key=" + outputtest.Canary + "&token=" + outputtest.Canary}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestGolden(t *testing.T) { chattest.Golden(t, spec()) }

func TestRefusedSettings(t *testing.T) { chattest.RefusedWebhook(t, googlechat.Kind()) }
