package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
)

// Directory is a directory of policies that can be watched.
type Directory struct {
	*policydir.Directory[[]spolicy.Document]
	strict bool
}

// Open makes a Directory, as policydir.Open. Close it.
func Open(path string, pinned, strict bool, log *slog.Logger) (*Directory, error) {
	d, err := policydir.Open(path, pinned, parser(strict), log)
	return &Directory{d, strict}, err
}

// Load reads all files, for the start: the error joins all that is wrong, and then
// nothing is loaded.
func (d *Directory) Load() ([]spolicy.Document, error) {
	files, err := d.Directory.Load()
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	docs := together(files)
	if d.strict {
		if errs := duplicates(docs); len(errs) > 0 {
			return nil, fmt.Errorf("loading policies: %w", errors.Join(errs...))
		}
	}
	return docs, nil
}

// Watch gives set the documents whenever they have changed, until ctx ends; the
// first time also when the directory was not there before. What is wrong is said in
// the log, and changes nothing.
func (d *Directory) Watch(ctx context.Context, set func([]spolicy.Document)) {
	d.Directory.Watch(ctx, func(files []policydir.File[[]spolicy.Document]) { set(together(files)) })
}

// together gives the documents of all files.
func together(files []policydir.File[[]spolicy.Document]) (docs []spolicy.Document) {
	for _, f := range files {
		docs = append(docs, f.Content...)
	}
	return docs
}
