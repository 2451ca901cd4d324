package teams_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/teams"
	"github.com/sidearmor/sidearmor/schema"
)

// maxBody is what Teams was measured to take; it says 28 KB.
const maxBody = 21_000

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: teams.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"webhookurl": base + "/workflows/1/triggers/manual/paths/invoke?sig=" + outputtest.Canary}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") },
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with Content-Type %q", r.Method, r.Header.Get("Content-Type"))
			}
			valid(t, body)
			if len(body) > maxBody {
				t.Errorf("a message of %d bytes", len(body))
			}
		},
	})
}

func send(t *testing.T, e schema.Event, settings outputtest.Settings) []byte {
	t.Helper()
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	o := outputtest.New(t, teams.Kind(), outputtest.Settings{"webhookurl": srv.URL + "/x"}.With(settings))
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"all", "text", "facts"} {
		for _, c := range outputtest.Cases() {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				outputtest.GoldenJSON(t, format+"/"+c.Name+".json", send(t, c.Event, outputtest.Settings{"outputformat": format}))
			})
		}
	}
}

// TestLimits tries what the conformance suite does not: the other formats, a
// picture, and text that costs most bytes for each character.
func TestLimits(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	dear := outputtest.Hostile()
	a := dear.Alert
	for _, s := range []*string{
		&a.Message, &a.Source, &a.Resource, &a.ProcessName, &a.ParentProcessName, &a.Result, &a.ContainerName, &a.PodName,
		&a.NamespaceName, &a.ClusterName, &a.PolicyName, &a.Severity, &a.HostName, &a.ContainerImage, &a.Cwd, &a.TTY, &a.Data,
		&a.UserName, &a.Enforcer, &a.Tags,
	} {
		*s = strings.Repeat("中", 4000)
	}
	a.ATags = nil
	falco := outputtest.HostileFalco()
	falco.Falco.Output = strings.Repeat("\x1b", 4000)
	for key := range falco.Falco.OutputFields {
		falco.Falco.OutputFields[key] = strings.Repeat("中", 200)
	}
	cases := append(outputtest.Oversized(), outputtest.Case{Name: "dear alert", Event: dear}, outputtest.Case{Name: "dear Falco event", Event: falco})
	for _, format := range []string{"all", "text", "facts"} {
		for _, c := range cases {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				body := send(t, c.Event, outputtest.Settings{"outputformat": format, "activityimage": "https://example.com/i.png"})
				valid(t, body)
				if len(body) > maxBody {
					t.Errorf("a message of %d bytes", len(body))
				}
			})
		}
	}
}

// TestRefusedIn200 is how webhooks of connectors say that Teams did not take a
// message.
func TestRefusedIn200(t *testing.T) {
	for answer, want := range map[string]struct {
		fails bool
		class outputs.Class
	}{
		"1": {},
		"":  {},
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId tcid=0": {true, outputs.RateLimited},
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId tcid=1": {true, outputs.Permanent},
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 503 with ContextId tcid=1": {true, outputs.Transient},
		"Webhook message delivery failed with error: " + outputtest.Canary:                                                   {true, outputs.Transient},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
		o := outputtest.New(t, teams.Kind(), outputtest.Settings{"webhookurl": srv.URL})
		err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
		srv.Close()
		if !want.fails {
			if err != nil {
				t.Errorf("%q: %v", answer, err)
			}
			continue
		}
		oe, ok := errors.AsType[*outputs.Error](err)
		if !ok || oe.Class != want.class {
			t.Errorf("%q: got %v, want %v", answer, err, want.class)
		}
		outputtest.NoSecret(t, err)
	}
}

func TestRefusedSettings(t *testing.T) {
	good := "https://example.com/" + outputtest.Canary
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"address": {outputtest.Settings{"webhookurl": outputtest.Canary}, "TEAMS_WEBHOOKURL"},
		"format":  {outputtest.Settings{"webhookurl": good, "outputformat": "fields"}, "TEAMS_OUTPUTFORMAT"},
		"image":   {outputtest.Settings{"webhookurl": good, "activityimage": "logo.png"}, "TEAMS_ACTIVITYIMAGE"},
		"boolean": {outputtest.Settings{"webhookurl": good, "checkcert": "no"}, "TEAMS_CHECKCERT"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, teams.Kind(), tt.settings, tt.want)
		})
	}
}
