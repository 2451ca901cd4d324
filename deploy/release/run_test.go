package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// built has small Go programs by the right names.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	first := filepath.Join(dir, programs[0])
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", first, "../images/testdata/program.go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, p := range programs[1:] {
		if err := os.Link(first, filepath.Join(dir, p)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func layouts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"tracer", "sidekick"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		body := `{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("ab", 32) + `"}]}`
		if err := os.WriteFile(filepath.Join(dir, name, "index.json"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func release(t *testing.T, args ...string) {
	t.Helper()
	var out, problems bytes.Buffer
	if status := run(t.Context(), append([]string{"--root", "../..", "--commit", commit, "--epoch", "1700000000"}, args...), &out, &problems); status != 0 {
		t.Fatalf("%d %s", status, &problems)
	}
}

// command runs what a user runs on the files of a release.
func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// The same programs give the same files; they can be checked, unpacked and installed.
func TestRelease(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: Debian's packages are made by it", err)
	}
	bin, images, first, second := built(t), layouts(t), t.TempDir(), t.TempDir()
	for _, out := range []string{first, second} {
		release(t, "--amd64", bin, "--arm64", bin, "--images", images, "--version", "v1.2.3", "--out", out)
	}
	names := []string{
		"SHA256SUMS", "sidearmor_1.2.3_amd64.deb", "sidearmor_1.2.3_arm64.deb", "sidearmor_v1.2.3.intoto.json",
		"sidearmor_v1.2.3_linux_amd64.tar.gz", "sidearmor_v1.2.3_linux_arm64.tar.gz",
	}
	var found []string
	entries, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
		a, err1 := os.ReadFile(filepath.Join(first, e.Name()))
		b, err2 := os.ReadFile(filepath.Join(second, e.Name()))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not the same twice: %v", e.Name(), err)
		}
	}
	if !slices.Equal(found, names) {
		t.Errorf("made %q, want %q", found, names)
	}
	command(t, first, "sha256sum", "--check", "--strict", "SHA256SUMS")
	if sums, err := os.ReadFile(filepath.Join(first, "SHA256SUMS")); err != nil || strings.Count(string(sums), "\n") != len(names)-1 {
		t.Errorf("%v\n%s", err, sums)
	}
	checkArchive(t, filepath.Join(first, "sidearmor_v1.2.3_linux_amd64.tar.gz"))
	checkPackage(t, first)
	checkProvenance(t, first)
}

func checkArchive(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
	}
	for name, mode := range map[string]int64{
		"sidearmor-v1.2.3/tracer": 0o755, "sidearmor-v1.2.3/sidekick": 0o755, "sidearmor-v1.2.3/inject": 0o755, "sidearmor-v1.2.3/LICENSE": 0o644,
		"sidearmor-v1.2.3/policies/protect-credentials.yaml": 0o644,
	} {
		if modes[name] != mode {
			t.Errorf("%s has mode %o", name, modes[name])
		}
	}
}

// checkPackage installs a package where it harms nobody, and has dpkg say what it knows.
func checkPackage(t *testing.T, dir string) {
	t.Helper()
	if v := command(t, dir, "dpkg-deb", "--field", "sidearmor_1.2.3_arm64.deb", "Version", "Architecture"); v != "Version: 1.2.3\nArchitecture: arm64\n" {
		t.Errorf("%q", v)
	}
	root := t.TempDir()
	command(t, dir, "dpkg-deb", "--extract", "sidearmor_1.2.3_amd64.deb", root)
	for name, mode := range map[string]os.FileMode{
		"usr/bin/sidearmor-tracer": 0o755, "usr/bin/sidearmor-sidekick": 0o755, "usr/bin/sidearmor-inject": 0o755,
		"usr/share/doc/sidearmor/copyright": 0o644, "usr/share/sidearmor/policies/audit-outbound.yaml": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	command(t, dir, filepath.Join(root, "usr/bin/sidearmor-tracer"))
	if owners := command(t, dir, "dpkg-deb", "--contents", "sidearmor_1.2.3_amd64.deb"); strings.Count(owners, "root/root") != strings.Count(owners, "\n") {
		t.Errorf("not everything is root's:\n%s", owners)
	}
	if os.Geteuid() != 0 {
		return
	}
	admin := filepath.Join(root, "admin")
	if err := errors.Join(os.MkdirAll(filepath.Join(admin, "info"), 0o755), os.MkdirAll(filepath.Join(admin, "updates"), 0o755), os.WriteFile(filepath.Join(admin, "status"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	at := []string{"dpkg", "--instdir=" + root, "--admindir=" + admin, "--log=/dev/null", "--force-not-root", "--force-bad-path", "--force-architecture", "--force-script-chrootless"}
	command(t, dir, append(at, "--install", "sidearmor_1.2.3_amd64.deb")...)
	command(t, dir, append(at, "--verify", "sidearmor")...)
	command(t, dir, append(at, "--purge", "sidearmor")...)
	if _, err := os.Stat(filepath.Join(root, "usr/bin/sidearmor-tracer")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its removal: %v", err)
	}
}

func checkProvenance(t *testing.T, dir string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "sidearmor_v1.2.3.intoto.json"))
	if err != nil {
		t.Fatal(err)
	}
	statement, predicate := &intoto.Statement{}, &provenance.Provenance{}
	if err := protojson.Unmarshal(body, statement); err != nil {
		t.Fatal(err)
	}
	inner, err := protojson.Marshal(statement.GetPredicate())
	if err == nil {
		err = protojson.Unmarshal(inner, predicate)
	}
	if err := errors.Join(err, statement.Validate(), predicate.Validate()); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, s := range statement.GetSubject() {
		digest := s.GetDigest()["sha256"]
		if strings.HasPrefix(s.GetName(), "image/") {
			if digest != strings.Repeat("ab", 32) {
				t.Errorf("%s: %s", s.GetName(), digest)
			}
			continue
		}
		files++
		if !strings.Contains(string(sums), digest+"  "+s.GetName()+"\n") {
			t.Errorf("%s has the digest %s, not what SHA256SUMS has", s.GetName(), digest)
		}
	}
	if len(statement.GetSubject()) != files+2 || files != 4 {
		t.Errorf("%v", statement.GetSubject())
	}
	materials := predicate.GetBuildDefinition().GetResolvedDependencies()
	if len(materials) < 2 || materials[0].GetDigest()["gitCommit"] != commit || !strings.HasPrefix(materials[1].GetUri(), "pkg:golang/stdlib@") {
		t.Errorf("made of %v", materials)
	}
}

func TestDebianVersion(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v2.0.0-rc.1": "2.0.0~rc.1", "6334a0f": "0~git.6334a0f", "6334a0f-dirty": "0~git.6334a0f.dirty", "unknown": "0~git.unknown",
		"v1.2.3-4-g6334a0f": "1.2.3.4.g6334a0f", "v": "0~git.v",
	} {
		if got := (&settings{version: version}).debianVersion(); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	bin := t.TempDir()
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(bin, p), []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for says, args := range map[string][]string{
		"neither":         {"--commit", commit, "--version", "v1"},
		"is no commit":    {"--amd64", bin, "--version", "v1", "--commit", "v1"},
		"is no version":   {"--amd64", bin, "--commit", commit},
		"no OCI":          {"--amd64", bin, "--root", "../..", "--commit", commit, "--version", "v1", "--images", t.TempDir(), "--out", t.TempDir()},
		"not a directory": {"--amd64", bin, "--root", "../..", "--commit", commit, "--version", "v1", "--out", filepath.Join(bin, "tracer")},
	} {
		var out, problems bytes.Buffer
		status := run(t.Context(), args, &out, &problems)
		if status != 1 || !strings.Contains(problems.String(), says) {
			t.Errorf("%q: %d %s", args, status, &problems)
		}
	}
}
