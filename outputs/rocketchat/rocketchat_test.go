package rocketchat_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat/chattest"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/rocketchat"
	"github.com/sidearmor/sidearmor/schema"
)

// spec is Rocket.Chat as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: rocketchat.Kind(), Settings: settings, Classes: outputtest.Outages(),
		Check: chattest.Rules{Max: 5000, Code: chattest.Backticks(), Never: "@#"}.Check,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"success":true}`)
		},
	}
}

func settings(_ testing.TB, base string) outputtest.Settings {
	return outputtest.Settings{"webhookurl": base + "/hooks/" + outputtest.Canary}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestGolden(t *testing.T) { chattest.Golden(t, spec()) }

func TestName(t *testing.T) { chattest.Signed(t, spec()) }

// TestRefusedIn200 is how a script of the webhook's says that it did not take a message.
func TestRefusedIn200(t *testing.T) {
	o := spec().Answered(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"success":false,"error":"`+outputtest.Canary+`"}`)
	})
	outputtest.WantClass(t, outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}), outputs.Permanent)
}

func TestRefusedSettings(t *testing.T) { chattest.RefusedWebhook(t, rocketchat.Kind()) }
