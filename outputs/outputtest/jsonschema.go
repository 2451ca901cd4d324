package outputtest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSONSchema compiles testdata/name and gives a check of JSON bodies against
// it.
func JSONSchema(t testing.TB, name string) func(t testing.TB, body []byte) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatalf("compile %s: %v", name, err)
	}
	return func(t testing.TB, body []byte) {
		t.Helper()
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Errorf("not JSON: %v", err)
			return
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%v\n%.2000s", err, body)
		}
	}
}
