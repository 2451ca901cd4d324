package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"
)

// programs are small Go programs by the right names.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	first := filepath.Join(dir, kinds()[0].program)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", first, "testdata/program.go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, k := range kinds()[1:] {
		if err := os.Link(first, filepath.Join(dir, k.program)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func images(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if status := run(t.Context(), args, &out, &problems); status != 0 {
		t.Fatalf("%d %s", status, &problems)
	}
	return out.String()
}

// The same programs give the same images, which are whole and say what they run.
func TestImages(t *testing.T) {
	bin := programs(t)
	first, second := t.TempDir(), t.TempDir()
	a := images(t, "--amd64", bin, "--arm64", bin, "--out", first, "--version", "v1")
	b := images(t, "--amd64", bin, "--arm64", bin, "--out", second, "--version", "v1")
	if strings.ReplaceAll(a, first, "") != strings.ReplaceAll(b, second, "") {
		t.Errorf("not the same:\n%s%s", a, b)
	}
	images(t, "--amd64", bin, "--arm64", bin, "--out", first, "--version", "v1") // again, in the same place
	for _, k := range kinds() {
		index, err := layout.ImageIndexFromPath(filepath.Join(first, k.program))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Errorf("%s: %v", k.program, err)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			checkImage(t, k, imageOf(t, index, arch), arch)
			checkSBOM(t, filepath.Join(first, k.program+"-"+arch+".spdx.json"))
		}
	}
}

func imageOf(t *testing.T, index v1.ImageIndex, arch string) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%v %+v", err, manifest)
	}
	inner, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = inner.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		if d.Platform.Architecture == arch {
			img, err := inner.Image(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return img
		}
	}
	t.Fatalf("no image for %s", arch)
	return nil
}

func checkImage(t *testing.T, k kind, img v1.Image, arch string) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Architecture != arch || file.OS != "linux" || file.Config.Entrypoint[0] != "/"+k.program || file.Config.Labels["org.opencontainers.image.version"] != "v1" {
		t.Errorf("%s: %+v", k.program, file)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	owners := map[string]int{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		owners["/"+strings.TrimSuffix(h.Name, "/")] = h.Uid
		if h.Mode != 0o755 || !h.ModTime.Equal(epoch) {
			t.Errorf("%s: mode %o, time %s", h.Name, h.Mode, h.ModTime)
		}
	}
	if _, ok := owners["/"+k.program]; !ok {
		t.Errorf("%s is not in %v", k.program, owners)
	}
	if k.program == "sidekick" && (owners["/var/lib/sidearmor"] != nobody || owners["/run/sidearmor"] != nobody) {
		t.Errorf("owners %v", owners)
	}
}

func checkSBOM(t *testing.T, path string) *spdx.Document {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc spdx.Document
	if err := json.ReadInto(bytes.NewReader(text), &doc); err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(&doc); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return &doc
}

// An SBOM has the modules that the linker knew of.
func TestSBOM(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := sbom(self, "tracer", "v1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sbom.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range checkSBOM(t, path).Packages {
		if p.PackageName == "github.com/google/go-containerregistry" && strings.HasPrefix(p.PackageExternalReferences[0].Locator, "pkg:golang/github.com/google/go-containerregistry@v") {
			return
		}
	}
	t.Errorf("a module is missing: %s", text)
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	images(t, "--amd64", programs(t), "--out", t.TempDir(), "--version", "v1", "--push", host+"/sidearmor")
	for _, k := range kinds() {
		ref, err := name.ParseReference(host + "/sidearmor/" + k.program + ":v1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Image(ref, remote.WithContext(t.Context()), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
			t.Error(err)
		}
	}
}

func TestRefuses(t *testing.T) {
	other := t.TempDir()
	if err := os.MkdirAll(filepath.Join(other, "tracer", "precious"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"neither --amd64":                nil,
		"no such file":                   {"--amd64", t.TempDir()},
		"is there and no OCI layout":     {"--amd64", programs(t), "--out", other},
		"could not parse reference: a b": {"--amd64", programs(t), "--out", t.TempDir(), "--push", "a b"},
	} {
		var out, problems bytes.Buffer
		if status := run(t.Context(), args, &out, &problems); status != 1 || !strings.Contains(problems.String(), want) {
			t.Errorf("%v: %d %s", args, status, &problems)
		}
	}
	if _, err := os.Stat(filepath.Join(other, "tracer", "precious")); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
}
