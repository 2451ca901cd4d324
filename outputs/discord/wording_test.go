package discord_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/discord"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestKubeArmorFormat(t *testing.T) {
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	for _, c := range []struct{ template, want string }{
		{`**{{.Outcome}}** {{.Resource}}`, `"description":"**Blocked** /etc/\\*shadow\\*"`},
		{`{{raw .Resource}} https://example/{{.Resource}}`, `"description":"/etc/*shadow* https://example//etc/\\*shadow\\*"`},
		{`{{if eq .Action "Audit"}}nothing{{end}}`, `"description":"hands off"`},
		{`{{index .Tags 99}}`, `"description":"kubearmorformat: word event: template`},
		{strings.Repeat(`{{.Resource}}`, 1000), `…"`},
	} {
		e := outputtest.BlockedExec()
		e.Alert.Message, e.Alert.Resource = "hands off", "/etc/*shadow*"
		o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL, "kubearmorformat": c.template})
		if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), c.want) {
			t.Errorf("%.80s: %s", c.template, body)
		}
		total(t, body)
		text, err := o.(outputs.Previewer).Preview(&e)
		if (err != nil) != strings.Contains(c.want, "kubearmorformat:") || !strings.Contains(text, "│ ⛔ Blocked") {
			t.Errorf("%.80s: preview %v\n%s", c.template, err, text)
		}
	}
	falco := outputtest.Falco()
	o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL, "kubearmorformat": "{{.Pod}}"})
	if text, err := o.(outputs.Previewer).Preview(&falco); err != nil || !strings.Contains(text, "Test rule") {
		t.Errorf("%v\n%s", err, text)
	}
	outputtest.Refused(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL, "kubearmorformat": "{{.Nothing}}"}, "DISCORD_KUBEARMORFORMAT")
}
