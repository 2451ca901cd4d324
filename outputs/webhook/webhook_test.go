package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/webhook"
	"github.com/sidearmor/sidearmor/schema"
)

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: webhook.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{
				"address":       base + "/in/" + outputtest.Canary,
				"customheaders": "Authorization: Bearer " + outputtest.Canary + ",X-Token:" + outputtest.Canary,
				"hmacsecret":    outputtest.Canary,
			}
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" ||
				r.Header.Get("Authorization") != "Bearer "+outputtest.Canary || r.Header.Get("User-Agent") != "sidearmor" {
				t.Errorf("%s with %v", r.Method, r.Header)
			}
			if !json.Valid(body) {
				t.Errorf("not JSON: %.300s", body)
			}
			if err := verify(r, body, outputtest.Canary); err != nil {
				t.Error(err)
			}
		},
	})
}

// verify is what docs/outputs/webhook.md tells receivers to do.
func verify(r *http.Request, body []byte, secret string) error {
	timestamp := r.Header.Get("X-SideArmor-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("timestamp %q", timestamp)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	if !hmac.Equal([]byte(want), []byte(r.Header.Get("X-SideArmor-Signature"))) {
		return errors.New("wrong signature")
	}
	return nil
}

func TestSignature(t *testing.T) {
	const secret = "0123456789abcdef"
	req, body := received(t, outputtest.BlockedExec(), outputtest.Settings{"hmacsecret": secret})
	if err := verify(req, body, secret); err != nil {
		t.Error(err)
	}
	if verify(req, append(body, ' '), secret) == nil || verify(req, body, secret+"x") == nil {
		t.Error("another body or another secret has the same signature")
	}
	req.Header.Set("X-SideArmor-Timestamp", strconv.FormatInt(time.Now().Unix()-1, 10))
	if verify(req, body, secret) == nil {
		t.Error("the time is not signed")
	}
	req, _ = received(t, outputtest.BlockedExec(), nil)
	if req.Header.Get("X-SideArmor-Signature") != "" || req.Header.Get("X-SideArmor-Timestamp") != "" {
		t.Error("signed without a secret")
	}
}

// received is what arrives for an event.
func received(t *testing.T, e schema.Event, settings outputtest.Settings) (*http.Request, []byte) {
	t.Helper()
	var req *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	o := outputtest.New(t, webhook.Kind(), outputtest.Settings{"address": srv.URL + "/in"}.With(settings))
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	return req, body
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			_, body := received(t, c.Event, nil)
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
}

func TestHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		value  string
		want   map[string]string
		method string
	}{
		"variable":   {"A:1, B : x:y:z ,", map[string]string{"A": "1", "B": "x:y:z"}, "POST"},
		"mapping":    {"A:1,2\nContent-Type:application/cloudevents+json\n", map[string]string{"A": "1,2", "Content-Type": "application/cloudevents+json"}, "PUT"},
		"only entry": {"A:1,B:2\n", map[string]string{"A": "1,B:2"}, "put"},
		"none":       {"", map[string]string{"Content-Type": "application/json"}, "post"},
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := received(t, outputtest.Log(), outputtest.Settings{"customheaders": tt.value, "method": tt.method})
			for h, want := range tt.want {
				if got := strings.Join(req.Header.Values(h), "|"); got != want {
					t.Errorf("%s: got %q, want %q", h, got, want)
				}
			}
			if req.Method != strings.ToUpper(tt.method) {
				t.Errorf("method %s", req.Method)
			}
		})
	}
	req, _ := received(t, outputtest.Log(), outputtest.Settings{"customheaders": "host:alerts.example"})
	if req.Host != "alerts.example" {
		t.Errorf("host %s", req.Host)
	}
}

func TestRefusedSettings(t *testing.T) {
	const good = "https://example.com/" + outputtest.Canary
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"address":      {outputtest.Settings{"address": "//" + outputtest.Canary}, "WEBHOOK_ADDRESS"},
		"method":       {outputtest.Settings{"address": good, "method": "GET"}, "WEBHOOK_METHOD"},
		"no colon":     {outputtest.Settings{"address": good, "customheaders": "A:1," + outputtest.Canary}, "WEBHOOK_CUSTOMHEADERS: header 2"},
		"header name":  {outputtest.Settings{"address": good, "customheaders": "a b:" + outputtest.Canary}, "WEBHOOK_CUSTOMHEADERS: header 1"},
		"short secret": {outputtest.Settings{"address": good, "hmacsecret": "S3cr3t"}, "WEBHOOK_HMACSECRET: has 6 bytes"},
		"mutual":       {outputtest.Settings{"address": good, "mutualtls": "true"}, "WEBHOOK_MUTUALTLS"},
		"header value": {outputtest.Settings{"address": good, "customheaders": "a:\x00" + outputtest.Canary}, "WEBHOOK_CUSTOMHEADERS: header 1"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, webhook.Kind(), tt.settings, tt.want)
		})
	}
}

// TestBatch: an array or lines hold every event, and what is refused is found.
func TestBatch(t *testing.T) {
	for _, form := range []string{"array", "ndjson"} {
		t.Run(form, func(t *testing.T) {
			var taken int
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				events, lines := []map[string]any{}, r.Header.Get("Content-Type") == "application/x-ndjson"
				if lines {
					body = []byte("[" + strings.ReplaceAll(strings.TrimSuffix(string(body), "\n"), "\n", ",") + "]")
				}
				if err := json.Unmarshal(body, &events); err != nil || lines != (form == "ndjson") {
					t.Errorf("%v: %.300s", err, body)
				}
				for _, e := range events {
					if e["PodName"] == "bad" {
						w.WriteHeader(http.StatusBadRequest)
						return
					}
				}
				taken += len(events)
			}))
			defer srv.Close()
			o := outputtest.New(t, webhook.Kind(), outputtest.Settings{"address": srv.URL, "batch": form})
			if n := o.(outputs.Batcher).Limits().BatchEvents; n < 2 {
				t.Errorf("batches of %d", n)
			}
			batch := []schema.Event{outputtest.BlockedExec(), outputtest.Log(), outputtest.BlockedExec(), outputtest.AuditedConnect()}
			batch[2].Alert.PodName = "bad"
			err := outputtest.Deliver(t.Context(), t, o, batch)
			e, ok := errors.AsType[*outputs.Error](err)
			if !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{2}) || taken != 3 {
				t.Errorf("%d taken, error %v", taken, err)
			}
		})
	}
}
