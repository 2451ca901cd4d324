package slack_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/slack"
)

func sendDigest(t *testing.T, d *outputs.Digest, settings outputtest.Settings) (body []byte) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	o := outputtest.New(t, slack.Kind(), outputtest.Settings{"webhookurl": srv.URL}.With(settings))
	if err := o.(outputs.Digester).DeliverDigest(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestDigestGolden(t *testing.T) {
	valid := outputtest.JSONSchema(t, "webhook.schema.json")
	for _, format := range []string{"all", "text", "fields"} {
		for _, c := range outputtest.Digests() {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				body := sendDigest(t, c.Digest, outputtest.Settings{"outputformat": format})
				valid(t, body)
				outputtest.GoldenJSON(t, format+"/"+c.Name+".json", body)
			})
		}
	}
}
