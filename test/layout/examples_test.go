package layout

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema/policy"
)

var yamlFence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// Policies that are shown as examples, in files and in documents, must be valid.
func TestExamplePolicies(t *testing.T) {
	found := 0
	parse := func(name string, body []byte) {
		if !bytes.Contains(body, []byte("kind: KubeArmor")) {
			return
		}
		documents, err := policy.ParseStrict(name, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		found += len(documents)
	}
	for _, path := range files(t) {
		switch {
		case strings.Contains(path, "testdata/"):
		case filepath.Ext(path) == ".md":
			for _, m := range yamlFence.FindAllSubmatch(read(t, path), -1) {
				parse(path, m[1])
			}
		case strings.HasPrefix(path, "examples/") && filepath.Ext(path) == ".yaml":
			parse(path, read(t, path))
		}
	}
	if found == 0 {
		t.Error("no example policy found")
	}
}
