package lambda_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/lambda"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"functionname": "respond:live"})
}

// spec is Lambda as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: lambda.Kind(), Settings: settings, AnswerCounts: true, Classes: outputtest.AWSClasses(false),
		Answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"done"`) },
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.URL.Path != "/2015-03-31/functions/respond:live/invocations" || r.Header.Get("X-Amz-Invocation-Type") != "RequestResponse" {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
			if len(body) > 256<<10 || !json.Valid(body) {
				t.Errorf("%d bytes: %.300s", len(body), body)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

// TestFunctionFails: a 200 with the function's own error is no success, and the error
// does not repeat it.
func TestFunctionFails(t *testing.T) {
	o := spec().Answered(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		_, _ = io.WriteString(w, `{"errorMessage":"`+outputtest.Canary+`"}`)
	})
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec()})
	outputtest.WantClass(t, err, outputs.Transient)
	if err == nil || !strings.Contains(err.Error(), "the function failed") {
		t.Errorf("%v", err)
	}
}

func TestErrorCodes(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		class  outputs.Class
	}{
		"ResourceNotFoundException":      {404, outputs.Transient},
		"TooManyRequestsException":       {429, outputs.RateLimited},
		"ResourceConflictException":      {409, outputs.Transient},
		"KMSAccessDeniedException":       {502, outputs.Transient},
		"RequestTooLargeException":       {413, outputs.Permanent},
		"InvalidRequestContentException": {400, outputs.Permanent},
	} {
		o := spec().Answered(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amzn-Errortype", code)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(want.status)
			_, _ = io.WriteString(w, `{"Message":"because"}`)
		})
		err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()})
		if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != want.class || !strings.Contains(err.Error(), "Lambda Invoke: "+code) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// TestMoto invokes a function of an emulator, which takes any and runs none, by the
// real protocol, in both ways.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/moto-api/config", strings.NewReader(`{"lambda": {"use_docker": false}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	for _, way := range []string{"RequestResponse", "Event"} {
		o := outputtest.New(t, lambda.Kind(), settings(t, base).With(outputtest.Settings{"functionname": "respond", "invocationtype": way}))
		if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec(), outputtest.Falco()}); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(), map[string]outputtest.Settings{
		"AWS_LAMBDA_FUNCTIONNAME":   {"functionname": "a/b"},
		"AWS_LAMBDA_INVOCATIONTYPE": {"invocationtype": "DryRun"},
	})
}
