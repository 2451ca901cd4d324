package policies

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func read(t *testing.T, text string) *Policy {
	t.Helper()
	all, err := Read(Text{Place: "p", Body: text}, false)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return &all[0]
}

func put(t *testing.T, p *Pushed, text string) {
	t.Helper()
	one := read(t, text)
	if err := p.Update(func(texts map[Key]Text) error {
		texts[KeyOf(&one.Document)] = p.Text(one)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func pushed(t *testing.T, dir string) *Pushed {
	t.Helper()
	p, err := OpenPushed("http", dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What clients sent is there after a restart, also when it was sent before Run.
func TestPushedIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	p := pushed(t, dir)
	put(t, p, policy("early", "/0"))
	h := runHub(t, p)
	h.await(t, "http: early=/0")
	put(t, p, policy("b", "/1"))
	put(t, p, policy("a", "/1"))
	put(t, p, policy("a", "/2"))
	h.await(t, "http: a=/2 b=/1 early=/0") // in force when Update returns
	if err := p.Update(func(texts map[Key]Text) error {
		delete(texts, Key{Kind: spolicy.KindPolicy, Name: "early"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again := runHub(t, pushed(t, dir))
	again.await(t, "http: a=/2 b=/1")
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "http.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestPushedChangesAllOrNothing(t *testing.T) {
	p := pushed(t, t.TempDir())
	put(t, p, policy("a", "/1"))
	failure := errors.New("no")
	err := p.Update(func(texts map[Key]Text) error {
		clear(texts)
		return failure
	})
	if !errors.Is(err, failure) || len(p.Texts()) != 1 {
		t.Errorf("%v, %v", err, p.Texts())
	}
	err = p.Update(func(texts map[Key]Text) error {
		texts[Key{Name: "x"}] = Text{Place: "x", Body: strings.Repeat("#", MaxBytes+1)}
		return nil
	})
	if !errors.Is(err, ErrTooMuch) || len(p.Texts()) != 1 {
		t.Errorf("%v, %d texts", err, len(p.Texts()))
	}
}

func TestPushedWithoutADirectory(t *testing.T) {
	p := pushed(t, "")
	if err := p.Update(func(map[Key]Text) error { return nil }); !errors.Is(err, ErrNotKept) {
		t.Error(err)
	}
}

// What is kept and cannot be read must not look as if there were no policies.
func TestPushedRefusesAWrongFile(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON": "{", "a later version": `{"version":2}`, "no policy": `{"version":1,"policies":[{"place":"x","body":"kind: Pod"}]}`,
		"two in one": `{"version":1,"policies":[{"place":"x","body":"# none"}]}`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "http.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPushed("http", dir); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadPushed(f *testing.F) {
	f.Add([]byte(`{"version":1,"policies":[{"place":"x","body":"","mode":1}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		texts, err := readPushed(content)
		if err == nil && len(state(texts).Texts) != len(texts) {
			t.Error("texts are lost")
		}
	})
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	h := runHub(t, NewDirectory(dir, slog.New(slog.DiscardHandler)))
	h.await(t, "directory pending")
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("b.yaml", policy("b", "/1"))
	h.await(t, "directory: b=/1")
	write("a.json", `{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorPolicy","metadata":{"name":"a"},"spec":{"file":{"matchPaths":[{"path":"/2"}]}}}`)
	write("not-one.txt", "text")
	h.await(t, "directory: a=/2 b=/1")
	write("b.yaml", "kind: wrong\n")
	h.await(t, "directory: a=/2 b=/1 wrong "+filepath.Join(dir, "b.yaml"))
	write("b.yaml", policy("b", "/3"))
	h.await(t, "directory: a=/2 b=/3")
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	h.await(t, "directory: a=/2")
}

// A directory that is there and empty has said that there are no policies.
func TestEmptyDirectory(t *testing.T) {
	runHub(t, NewDirectory(t.TempDir(), slog.New(slog.DiscardHandler))).await(t, "directory:")
}
