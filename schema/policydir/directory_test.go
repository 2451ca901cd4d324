package policydir

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema/policy"
)

const text = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: a\nspec:\n  file:\n    matchPaths:\n    - path: /a\n"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Between two versions of a file there is no moment without it.
func TestAFileThatIsRewrittenIsNeverLost(t *testing.T) {
	t.Run("parsed", func(t *testing.T) { neverLost(t, Read[[]policy.Document](policy.Parse), 0) })
	t.Run("text", func(t *testing.T) { neverLost(t, Text, 1) })
}

// neverLost rewrites a file in all ways. With texts, what is half written counts only
// where it stays so for long.
func neverLost[C Content](t *testing.T, read Read[C], from int) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	d, err := Open(filepath.Dir(path), false, read, slog.New(slog.DiscardHandler))
	must(t, err)
	defer d.Close()
	_, err = d.Load()
	must(t, err)
	now := time.Now()
	for i := range 400 {
		switch i % 4 {
		case 0:
			err = os.WriteFile(path, nil, 0o600)
		case 1:
			err = os.WriteFile(path, []byte(text[:40*(1-from)]), 0o600)
		case 2:
			err = os.Rename(path, path+"~")
		case 3:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		must(t, err)
		now = now.Add([]time.Duration{10, 30, 70, 130}[i/100] * time.Millisecond)
		d.look(now)
		if files := d.contents(); len(files) != 1 || len(files[0].Content) == 0 {
			t.Fatalf("after step %d the file is %v", i, files)
		}
	}
}

func TestText(t *testing.T) {
	if got, err := Text("f", strings.NewReader(text)); err != nil || got != text {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Text("f", io.LimitReader(zeros{}, maxFile+1)); err == nil || !strings.Contains(err.Error(), "f: ") {
		t.Errorf("a file that is too large: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
