package policies

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestFromParameter(t *testing.T) {
	text := document("a", "") + "---\n" + document("b", "")
	packed := base64.StdEncoding.EncodeToString([]byte(text))
	for name, value := range map[string]string{
		"YAML":               text,
		"JSON":               `{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorPolicy","metadata":{"name":"a"},"spec":{"file":{"matchPaths":[{"path":"/s"}]}}}`,
		"base64":             packed,
		"base64, broken up":  "\n" + packed[:76] + "\n" + packed[76:] + "\n",
		"base64, no padding": strings.TrimRight(packed, "="),
		"base64, for URLs":   base64.URLEncoding.EncodeToString([]byte("# ÿ>?\n" + text)),
	} {
		docs, err := FromParameter(value, true)
		if err != nil || len(docs) == 0 || docs[0].Name != "a" || !strings.HasPrefix(docs[0].Origin, "TRACER_POLICY:") {
			t.Errorf("%s: %+v, %v", name, docs, err)
		}
	}
	for _, nothing := range []string{"", " \n"} {
		if docs, err := FromParameter(nothing, true); err != nil || docs != nil {
			t.Errorf("%q: %v, %v", nothing, docs, err)
		}
	}
}

func TestFromParameterRefuses(t *testing.T) {
	bad := document("a", "") + "extra: 1\n"
	for value, want := range map[string]string{
		bad: "TRACER_POLICY:12: the policy has no key \"extra\"",
		base64.StdEncoding.EncodeToString([]byte(bad)): "TRACER_POLICY:12: ",
		"/etc/policies/web.yaml":                       "TRACER_POLICY: this is the name of a file: it goes into --policies",
		"some words":                                   "TRACER_POLICY: neither YAML nor base64: illegal base64 data at input byte",
		"abcd":                                         "TRACER_POLICY:1: ",
		strings.ReplaceAll(document("a", ""), "\n", `\n`): `the text has "\n" where lines should end`,
		document("a", "") + "---\n" + document("a", ""):   "was already defined at TRACER_POLICY:1",
	} {
		docs, err := FromParameter(value, true)
		if err == nil || docs != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v, want %q", value, docs, err, want)
		}
	}
}

func FuzzFromParameter(f *testing.F) {
	text := document("a", "")
	for _, seed := range []string{text, base64.StdEncoding.EncodeToString([]byte(text)), "", "/x", "YQ==", "-_"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		docs, err := FromParameter(value, true)
		if err != nil && (docs != nil || !strings.Contains(err.Error(), Parameter)) {
			t.Errorf("%v, %v", docs, err)
		}
	})
}
