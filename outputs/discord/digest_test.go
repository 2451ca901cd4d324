package discord_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/discord"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestDigestGolden(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	for _, c := range outputtest.Digests() {
		t.Run(c.Name, func(t *testing.T) {
			var raw []byte
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				raw, _ = io.ReadAll(r.Body)
			}))
			defer srv.Close()
			o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL})
			if err := o.(outputs.Digester).DeliverDigest(t.Context(), c.Digest); err != nil {
				t.Fatal(err)
			}
			valid(t, raw)
			total(t, raw)
			outputtest.GoldenJSON(t, c.Name+".json", raw)
		})
	}
}

// What Discord says of its limits with a message that it took is passed on, and
// forgotten with the next answer.
func TestPause(t *testing.T) {
	var header http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
	}))
	defer srv.Close()
	o := outputtest.New(t, discord.Kind(), outputtest.Settings{"webhookurl": srv.URL})
	for _, c := range []struct {
		name, remaining, after string
		want                   time.Duration
	}{
		{"some are left", "4", "2", 0},
		{"none is left", "0", "1.25", 1250 * time.Millisecond},
		{"nothing is said", "", "", 0},
		{"a day", "0", "86400", time.Hour},
		{"nonsense", "0", "soon", 0},
		{"negative", "0", "-3", 0},
		{"no remaining", "", "9", 0},
	} {
		header = http.Header{"X-Ratelimit-Remaining": {c.remaining}, "X-Ratelimit-Reset-After": {c.after}}
		if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil {
			t.Fatal(err)
		}
		if got := o.(outputs.Pacer).Pause(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
