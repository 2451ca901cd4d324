package filter

import (
	"maps"
	"os"
	"regexp"
	"testing"
)

// The table in the documentation has the fields that there are, with their types.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/sidekick/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `event\\.([a-z_]+)` \\| ([^|]+) \\|").FindAllSubmatch(text, -1) {
		documented[string(m[1])] = string(m[2])
	}
	if want := Fields(); !maps.Equal(documented, want) {
		t.Errorf("documented %v\nthere are %v", documented, want)
	}
}
