package policies

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
)

// Directory is a directory of policy files as a source.
type Directory struct {
	path string
	log  *slog.Logger
}

// NewDirectory makes a source of the files *.yaml, *.yml and *.json directly in a
// directory, which may be still to come.
func NewDirectory(path string, log *slog.Logger) *Directory { return &Directory{path, log} }

// Name implements Source.
func (d *Directory) Name() string { return "directory" }

// openEvery is how often a directory is tried that cannot be opened.
const openEvery = time.Second

// Run implements Source.
func (d *Directory) Run(ctx context.Context, report Report) {
	tell := func(files []policydir.File[string]) { report(d.state(files)) }
	watched, err := policydir.Open(d.path, false, policydir.Text, d.log)
	if err != nil { // never of a path that is not pinned
		d.log.Error("the directory of policies is not followed", "from", d.path, "error", err)
		<-ctx.Done()
		return
	}
	defer watched.Close()
	if _, err := os.Stat(d.path); err == nil {
		d.load(ctx, watched, tell)
	} else {
		d.log.Warn("the directory of policies is not there yet", "from", d.path)
	}
	watched.Watch(ctx, tell)
}

// load reads what is there at the start.
func (d *Directory) load(ctx context.Context, watched *policydir.Directory[string], tell func([]policydir.File[string])) {
	for said := ""; ; {
		files, err := watched.Load()
		if err == nil {
			tell(files)
			return
		}
		if said != err.Error() {
			said = err.Error()
			d.log.Error("the directory of policies cannot be read", "from", d.path, "error", err)
		}
		select {
		case <-time.After(openEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (d *Directory) state(files []policydir.File[string]) (s State) {
	for _, f := range files {
		s.Texts = append(s.Texts, Text{Place: filepath.Join(d.path, f.Name), Body: f.Content, Mode: spolicy.Enforce})
	}
	return s
}
