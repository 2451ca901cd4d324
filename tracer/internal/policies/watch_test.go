package policies

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
)

// watched is a directory that is watched, and the names of the policies that it
// gave last.
type watched struct {
	path string
	log  *lockedBuffer

	mu    sync.Mutex
	names []string
	sets  int
	more  chan struct{} // closed at the next change
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (w *watched) set(docs []spolicy.Document) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = nil
	for _, d := range docs {
		w.names = append(w.names, d.Name)
	}
	w.sets++
	close(w.more)
	w.more = make(chan struct{})
}

// watchDirectory watches a path until the test ends.
func watchDirectory(t *testing.T, path string, pinned bool) *watched {
	t.Helper()
	w := &watched{path: path, log: &lockedBuffer{}, more: make(chan struct{})}
	d, err := Open(path, pinned, false, slog.New(slog.NewJSONHandler(w.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		docs, err := d.Load()
		if err != nil {
			t.Fatal(err)
		}
		w.set(docs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Watch(ctx, w.set) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// await waits until the policies have the given names.
func (w *watched) await(t *testing.T, want ...string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		names, more := w.names, w.more
		w.mu.Unlock()
		if slices.Equal(names, want) {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("policies %v, want %v; log:\n%s", names, want, w.log)
		}
	}
}

// told says whether documents were ever told.
func (w *watched) told() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets > 0
}

// awaitLog waits until the log says something.
func (w *watched) awaitLog(t *testing.T, want string) {
	t.Helper()
	for range 2000 {
		if strings.Contains(w.log.String(), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log does not say %q:\n%s", want, w.log)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatchFollowsFiles(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": document("a", "")})
	w := watchDirectory(t, dir, false)
	w.await(t, "a")
	put(t, filepath.Join(dir, "b.yaml"), document("b", ""))
	w.await(t, "a", "b")
	put(t, filepath.Join(dir, "a.yaml"), document("a2", ""))
	w.await(t, "a2", "b")
	must(t, os.Remove(filepath.Join(dir, "a.yaml")))
	w.await(t, "b")
	put(t, filepath.Join(dir, "new"), document("c", "")) // renamed in one step, as one should
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "b.yaml")))
	w.await(t, "c")
	put(t, filepath.Join(dir, "b.yaml"), "")
	w.await(t)
}

// What editors and half a file leave behind is not policy, and takes none away.
func TestWatchKeepsWhatWasRight(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": document("a", ""), "b.yaml": document("b", "")})
	w := watchDirectory(t, dir, false)
	w.await(t, "a", "b")
	path := filepath.Join(dir, "a.yaml")
	put(t, path, document("a2", "")[:60])
	w.awaitLog(t, `a.yaml:`)
	w.await(t, "a", "b")
	if got := strings.Count(w.log.String(), "a policy file is wrong"); got != 1 {
		t.Errorf("it is said %d times", got)
	}
	put(t, path, document("a2", ""))
	w.await(t, "a2", "b")

	// An editor moves the file away, and writes it anew.
	must(t, os.Rename(path, path+"~"))
	put(t, filepath.Join(dir, ".a.yaml.swp"), "x")
	put(t, filepath.Join(dir, "4913"), "")
	put(t, path, document("a3", ""))
	w.await(t, "a3", "b")

	// One that truncates and takes its time.
	put(t, path, "")
	time.Sleep(150 * time.Millisecond)
	put(t, path, document("a4", ""))
	w.await(t, "a4", "b")
}

// kubelet changes a ConfigMap's files in one step: by a link that all lead through.
func TestWatchFollowsConfigMaps(t *testing.T) {
	dir := t.TempDir()
	version := func(name, policy string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		put(t, filepath.Join(dir, name, "p.yaml"), document(policy, ""))
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..2026_01", "one")
	must(t, os.Symlink("..data/p.yaml", filepath.Join(dir, "p.yaml")))
	w := watchDirectory(t, dir, true)
	w.await(t, "one")
	for i := range 5 {
		name := fmt.Sprintf("v%d", i)
		version("..2026_1"+name, name)
		w.await(t, name)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "..2026_01")))
	must(t, os.Remove(filepath.Join(dir, "p.yaml")))
	w.await(t)
}

func TestWatchFollowsTheDirectory(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "policies")
	w := watchDirectory(t, dir, false)
	must(t, os.Mkdir(dir, 0o755)) // empty, it is not what was waited for
	time.Sleep(700 * time.Millisecond)
	if w.told() {
		t.Error("an empty directory was told")
	}
	put(t, filepath.Join(dir, "a.yaml"), document("a", ""))
	w.await(t, "a")
	// Another one in its place, then by way of a link, and none.
	must(t, os.Mkdir(dir+".new", 0o755))
	put(t, filepath.Join(dir+".new", "b.yaml"), document("b", ""))
	must(t, os.Rename(dir, dir+".old"), os.Rename(dir+".new", dir))
	w.await(t, "b")
	put(t, filepath.Join(dir, "c.yaml"), document("c", ""))
	w.await(t, "b", "c")
	must(t, os.RemoveAll(dir), os.Symlink("policies.old", dir))
	w.await(t, "a")
	must(t, os.Remove(dir))
	w.await(t)
	w.awaitLog(t, "the directory of policies cannot be read")
}

// A directory that appears is taken when all of it is right.
func TestWatchAwaitsADirectoryThatIsRight(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	w := watchDirectory(t, dir, false)
	must(t, os.Mkdir(dir, 0o755))
	put(t, filepath.Join(dir, "a.yaml"), document("a", ""))
	put(t, filepath.Join(dir, "b.yaml"), "kind: [")
	w.awaitLog(t, "b.yaml:1")
	if w.told() {
		t.Error("half of it was told")
	}
	put(t, filepath.Join(dir, "b.yaml"), document("b", ""))
	w.await(t, "a", "b")
}

func TestWatchTakesManyChanges(t *testing.T) {
	dir := t.TempDir()
	w := watchDirectory(t, dir, false)
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("p%03d", i)
		want = append(want, name)
		put(t, filepath.Join(dir, name+".yaml"), document(name, ""))
	}
	w.await(t, want...)
}

// What is pinned stays what it is, whatever is renamed.
func TestPinnedDirectoryIsNotReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	must(t, os.Mkdir(dir, 0o755))
	put(t, filepath.Join(dir, "a.yaml"), document("a", ""))
	w := watchDirectory(t, dir, true)
	must(t, os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755))
	put(t, filepath.Join(dir, "x.yaml"), document("hostile", ""))
	put(t, filepath.Join(dir+".old", "b.yaml"), document("b", ""))
	w.await(t, "a", "b")
}

func TestIsVolume(t *testing.T) {
	for path, want := range map[string]bool{t.TempDir(): false, "/no/such": false, "/": false} {
		if policydir.IsVolume(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
