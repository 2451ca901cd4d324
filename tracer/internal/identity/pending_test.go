package identity

import (
	"context"
	"io/fs"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// late is a root whose files are there from some time on.
type late struct {
	fs.FS
	there atomic.Bool
}

func (l *late) Open(name string) (fs.File, error) {
	if !l.there.Load() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return l.FS.Open(name)
}

func TestLabelsFileThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := fstest.MapFS{"podinfo/labels": {Data: []byte("app=\"web\"\n")}}
		l := &late{FS: files}
		i := Discover(Options{Root: l, Environ: []string{"LABELS_FILE=/podinfo/labels"}})
		want := spolicy.Target{Pending: spolicy.FactLabels, From: spolicy.Sources{Labels: "LABELS_FILE /podinfo/labels"}}
		if diff := cmp.Diff(want, i.Target()); diff != "" {
			t.Error(diff)
		}
		time.AfterFunc(time.Second, func() { l.there.Store(true) })
		var learned []spolicy.Target
		i.Run(t.Context(), func(target spolicy.Target) { learned = append(learned, target) })
		want.Pending, want.Labels = 0, map[string]string{"app": "web"}
		if diff := cmp.Diff([]spolicy.Target{want}, learned); diff != "" {
			t.Error(diff)
		}
		// What is written to it afterwards is not heeded.
		files["podinfo/labels"] = &fstest.MapFile{Data: []byte("app=\"other\"\n")}
		time.Sleep(time.Hour)
		if diff := cmp.Diff(want, i.Target()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLabelsFileThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		i := Discover(Options{Root: root(nil), Environ: []string{"LABELS_FILE=/podinfo/labels"}})
		i.Run(ctx, func(spolicy.Target) { t.Error("there was nothing to learn") })
		if i.Target().Pending != spolicy.FactLabels {
			t.Error("what could not be read counts as known")
		}
	})
}

// What the metadata alone can tell is pending until they have told it; what the
// environment says is not.
func TestPendingOnECS(t *testing.T) {
	for _, c := range []struct {
		name    string
		environ []string
		before  spolicy.Facts
		after   spolicy.Sources
	}{
		{"nothing said", nil, spolicy.FactContainer | spolicy.FactLabels, spolicy.Sources{Container: ecs, Labels: ecs}},
		{"the name is said", []string{"CONTAINER_NAME=web"}, spolicy.FactLabels, spolicy.Sources{Container: "CONTAINER_NAME", Labels: ecs}},
		{"labels are said", []string{"POD_LABELS=a=b"}, spolicy.FactContainer, spolicy.Sources{Container: ecs, Labels: "POD_LABELS"}},
		{"both are said", []string{"POD_LABELS=a=b", "CONTAINER_NAME=web"}, 0, spolicy.Sources{Container: "CONTAINER_NAME", Labels: "POD_LABELS"}},
	} {
		uri := endpoint(t, []http.HandlerFunc{status(500), text(containerJSON)}, []http.HandlerFunc{text(taskJSON)})
		i := Discover(Options{Root: root(nil), Environ: append(c.environ, MetadataVariable+"="+uri)})
		if got := i.Target().Pending; got != c.before {
			t.Errorf("%s: pending %q, want %q", c.name, got, c.before)
		}
		var last spolicy.Target
		i.Run(t.Context(), func(target spolicy.Target) { last = target })
		if last.Pending != 0 || last.From != c.after || !cmp.Equal(last, i.Target()) {
			t.Errorf("%s: then %+v", c.name, last)
		}
	}
}
