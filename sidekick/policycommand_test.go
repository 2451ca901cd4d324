package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicySimulate(t *testing.T) {
	dir := t.TempDir()
	policy, events := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "e.ndjson")
	for name, text := range map[string]string{
		policy: "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: no-shadow}\n" +
			"spec: {file: {matchPaths: [{path: /etc/shadow}]}, action: Block}\n",
		events: `{"Type":"ContainerLog","Operation":"File","ProcessName":"/usr/bin/cat","Resource":"/etc/shadow","Data":"flags=O_RDONLY","Result":"Passed"}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{policy, "--events", events}, 0, "1 events: 1 would have been denied"},
		{[]string{dir, "--events", events}, 0, "no-shadow"},
		{[]string{policy, "--events", events, "--since", "1h"}, 2, "--since is about the events that the sidekick holds"},
		{[]string{policy, "--since", "yesterday"}, 2, `"yesterday" is neither a duration`},
		{[]string{policy, "--since", "-1h"}, 2, `"-1h" is neither a duration`},
		{[]string{policy}, 1, "there is no queue in"},
		{[]string{"--events", events}, 2, "no policy file given"},
		{[]string{policy, "--events", events, "--output", "x"}, 2, "--output is for sidekick deadletters"},
		{[]string{policy, "--events", filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{policy, "--events", policy}, 1, "p.yaml: value 1"},
		{[]string{events, "--events", events}, 1, "e.ndjson"},
		{[]string{policy, "--events", events, "--posture", "maybe"}, 1, `unknown posture "maybe"`},
	} {
		var out bytes.Buffer
		status := run(t.Context(), append([]string{"policy", "simulate"}, c.args...), []string{"QUEUE_DIR=" + dir}, &out, &out)
		if status != c.status || !strings.Contains(out.String(), c.says) {
			t.Errorf("%q: %d, want %d and %q\n%s", c.args, status, c.status, c.says, out.String())
		}
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"policy", "simulate", policy, "--events", events, "--json"}, nil, &out, &out); status != 0 {
		t.Fatal(out.String())
	}
	var report struct{ Denied int }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Denied != 1 {
		t.Errorf("%v: %s", err, out.String())
	}
}
