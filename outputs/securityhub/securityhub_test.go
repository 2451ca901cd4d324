package securityhub_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/securityhub"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/securityhub"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"accountid": "123456789012"})
}

type request struct{ Findings []json.RawMessage }

// answer takes all findings but those of the ids that fail names.
func answer(fail map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Findings []struct {
				ID string `json:"Id"`
			}
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &req)
		failed := []map[string]any{}
		for _, f := range req.Findings {
			if code := fail[f.ID]; code != "" {
				failed = append(failed, map[string]any{"Id": f.ID, "ErrorCode": code, "ErrorMessage": "because"})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"FailedCount": len(failed), "SuccessCount": len(req.Findings) - len(failed), "FailedFindings": failed,
		})
	}
}

// spec is Security Hub as the tests see it.
func spec(t testing.TB) outputtest.Spec {
	valid := outputtest.JSONSchema(t, "asff.schema.json")
	return outputtest.Spec{
		Kind: securityhub.Kind(), Settings: settings, Answer: answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Check: func(t testing.TB, r *http.Request, body []byte) {
			var req request
			outputtest.AWSRequest(t, r, "", body, &req)
			if n := len(req.Findings); n < 1 || n > 100 || len(body) > 6<<20 || r.URL.Path != "/findings/import" {
				t.Errorf("%d findings in %d bytes to %s", n, len(body), r.URL)
			}
			for _, f := range req.Findings {
				if valid(t, f); len(f) > 50<<10 {
					t.Errorf("a finding of %d bytes", len(f))
				}
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec(t)) }

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			// The SDK writes the fields of a map in no order.
			var got struct{ Findings []any }
			if err := json.Unmarshal(spec(t).SentEvent(t, c.Event), &got); err != nil || len(got.Findings) != 1 {
				t.Fatal(err, got)
			}
			body, err := json.Marshal(got.Findings[0])
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
}

func TestPartial(t *testing.T) {
	o := spec(t).Answered(t, answer(map[string]string{"sidearmor/a-3": "InvalidInput", "sidearmor/f-1": "InternalError"}))
	batch := []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()}
	err := outputtest.Deliver(t.Context(), t, o, batch)
	outputtest.WantFailed(t, err, outputs.Transient, 1, 2)
	err = outputtest.Deliver(t.Context(), t, o, batch[:2])
	outputtest.WantFailed(t, err, outputs.Permanent, 1)
}

// TestMoto imports findings into an emulator by the real protocol and reads them back.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	client := sdk.NewFromConfig(outputtest.AWSConfig(base))
	if _, err := client.EnableSecurityHub(t.Context(), &sdk.EnableSecurityHubInput{}); err != nil {
		t.Fatal(err)
	}
	o := outputtest.New(t, securityhub.Kind(), settings(t, base))
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect()}); err != nil {
		t.Fatal(err)
	}
	out, err := client.GetFindings(t.Context(), &sdk.GetFindingsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range out.Findings {
		got = append(got, aws.ToString(f.Title)+"|"+string(f.Severity.Label))
	}
	slices.Sort(got)
	if want := []string{"Audited: python3.11 connected to 203.0.113.9:443|LOW", "Blocked: bash tried to run /usr/bin/curl|CRITICAL"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestProduct(t *testing.T) {
	for region, want := range map[string]string{
		"eu-central-1":  "arn:aws:securityhub:eu-central-1:123456789012:product/123456789012/default",
		"cn-north-1":    "arn:aws-cn:securityhub:cn-north-1:123456789012:product/123456789012/default",
		"us-gov-west-1": "arn:aws-us-gov:securityhub:us-gov-west-1:123456789012:product/123456789012/default",
	} {
		var got struct {
			Findings []struct{ ProductArn string }
		}
		body := spec(t).With(outputtest.Settings{"region": region}).SentEvent(t, outputtest.Log())
		if err := json.Unmarshal(body, &got); err != nil || len(got.Findings) != 1 || got.Findings[0].ProductArn != want {
			t.Errorf("%s: %v, %v", region, got, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(t), map[string]outputtest.Settings{
		"AWS_SECURITYHUB_ACCOUNTID":  {"accountid": "12345678901"},
		"AWS_SECURITYHUB_PRODUCTARN": {"productarn": "arn:aws:iam::123456789012:role/x"},
	})
}
