package policy

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsNameTheField(t *testing.T) {
	const head = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: a}\n"
	for text, want := range map[string]string{
		head + "spec:\n  file:\n    matchPaths:\n    - path: /a\n    - path: b\n":      "spec.file.matchPaths[1].path",
		head + "spec: {severity: 11}\n":                                                "spec.severity",
		head + "spec: {process: {matchDirectories: [{dir: /a, app: x}]}}\n":            "spec.process.matchDirectories[0].app",
		head + "spec: {selector: {matchLabels: {kubearmor.io/container.name: '('}}}\n": "spec.selector.matchLabels.kubearmor.io/container.name",
		head + "spec: {process: {matchPaths: {}}}\n":                                   "spec.process.matchPaths",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n":                   "apiVersion",
		head:  "",
		"- a": "",
		head + "spec: {x: &a {path: b}, file: {matchPaths: [*a]}}\n": "spec.x",
	} {
		_, err := ParseStrict("f", strings.NewReader(text))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Field != want {
			t.Errorf("%q: %+v, want %q", text, e, want)
		}
	}
}
