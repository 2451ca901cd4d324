package outputtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

// AWSPlaced answers as those services of AWS do that answer for each entry in its
// place.
type AWSPlaced struct {
	Texts func(body []byte) []string // of the entries of a request
	Taken map[string]any             // the answer for an entry
	Count string                     // what the number of failures is called
	List  string                     // what the list of answers is called
}

// Answer takes all entries but those whose text contains a key of fail: these get the
// error code.
func (a AWSPlaced) Answer(fail map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		results, failed := []map[string]any{}, 0
		for _, text := range a.Texts(body) {
			result := a.Taken
			for key, code := range fail {
				if strings.Contains(text, key) {
					result, failed = map[string]any{"ErrorCode": code, "ErrorMessage": "because"}, failed+1
				}
			}
			results = append(results, result)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{a.Count: failed, a.List: results})
	}
}

// AWSRefused fails the test when the output can be made without a region, or with one
// of the changes of its settings.
func AWSRefused(t testing.TB, s Spec, changes map[string]Settings) {
	t.Helper()
	right := s.Settings(t, "http://127.0.0.1:1")
	RefusedEach(t, s.Kind, right, changes)
	RefusedEach(t, s.Kind, right, map[string]Settings{"AWS_REGION": {"region": ""}})
}

// Bodies are the events of cases, and the JSON of each.
func Bodies(t testing.TB, cases []Case) (batch []schema.Event, bodies []string) {
	t.Helper()
	for _, c := range cases {
		body, err := c.Event.Body()
		if err != nil {
			t.Fatal(err)
		}
		batch, bodies = append(batch, c.Event), append(bodies, string(body))
	}
	return batch, bodies
}
