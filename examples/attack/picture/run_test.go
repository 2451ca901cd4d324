package main

import (
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// The messages of the Slack output can be drawn, and what others could send is an error.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"blocked-exec.json", "blocked-file.json", "audited-connect.json", "hostile.json"} {
		body, err := os.ReadFile(filepath.Join("../../../outputs/slack/testdata/all", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.png")
	if err := run([]string{dir, out}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil || img.Bounds().Dx() != width || img.Bounds().Dy() < 1500 {
		t.Errorf("%v, %v", img, err)
	}
	for name, body := range map[string]string{"a.json": "{", "b.json": `{"blocks": [{"type": "video"}]}`} {
		bad := t.TempDir()
		if err := os.WriteFile(filepath.Join(bad, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{bad, out}); err == nil {
			t.Errorf("%s was drawn", body)
		}
	}
	if run(nil) == nil || run([]string{t.TempDir(), out}) == nil {
		t.Error("no messages, and no error")
	}
}
