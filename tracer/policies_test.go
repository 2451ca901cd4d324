package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secretFile is a file that policies of these tests are about.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// blockFile is a policy that denies opens of a file.
func blockFile(name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: %s}\nspec: {file: {matchPaths: [{path: %s}]}, action: Block}\n", name, path)
}

func TestPolicyInAVariable(t *testing.T) {
	one, other := secretFile(t), secretFile(t)
	dir := policyDir(t, blockFile("dir", other))
	text := blockFile("variable", one)
	for _, value := range []string{text, base64.StdEncoding.EncodeToString([]byte(text))} {
		cmd := tracer(t, "run", "--policies", dir, "--", "/bin/sh", "-c", "cat "+one+"; cat "+other)
		cmd.Env = append(cmd.Env, "TRACER_POLICY="+value)
		if got := outcomeOf(t, cmd); got.stdout != "" || strings.Count(got.stderr, "Permission denied") != 2 {
			t.Errorf("%.30q: %+v", value, got)
		}
	}
	// Of one name that of the variable counts.
	cmd := tracer(t, "run", "--policies", dir, "--log-level", "warn", "--", "/bin/sh", "-c", "cat "+one+" "+other)
	cmd.Env = append(cmd.Env, "TRACER_POLICY="+blockFile("dir", one))
	if got := outcomeOf(t, cmd); got.stdout != "s3cret\n" || !strings.Contains(got.stderr, "replaced by a later one") {
		t.Errorf("%+v", got)
	}
	cmd = tracer(t, "run", "--", "true")
	cmd.Env = append(cmd.Env, "TRACER_POLICY=kind: Pod")
	if got := outcomeOf(t, cmd); got.code != exitFailed || !strings.Contains(got.stderr, "TRACER_POLICY:1: kind") {
		t.Errorf("%+v", got)
	}
}
