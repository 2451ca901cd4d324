package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Bounds of a directory. A container for which more is written has been given
// the wrong directory.
const (
	MaxFiles = 1000
	MaxBytes = 32 << 20 // of all files together
)

// Load reads a policy file, or the files *.yaml, *.yml and *.json directly in a
// directory, in the order of their names, which is the order of rules. "" and an
// empty directory give no documents. Hidden files, as the "..data" of a mounted
// ConfigMap, are passed over. Nothing is loaded in part: the error joins all that
// is wrong, each with file and line.
func Load(path string) ([]spolicy.Document, error) {
	if path == "" {
		return nil, nil
	}
	names, err := list(path)
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	var docs []spolicy.Document
	var errs []error
	total := int64(0)
	for _, name := range names {
		more, size, err := load(name)
		docs = append(docs, more...)
		if total += size; err == nil && total > MaxBytes {
			errs = append(errs, fmt.Errorf("%s: with this file the policies have more than %d bytes", name, MaxBytes))
			break
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, duplicates(docs)...)
	if len(errs) > 0 {
		return nil, fmt.Errorf("loading policies: %w", errors.Join(errs...))
	}
	return docs, nil
}

// list gives the files to read, sorted.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if wanted(e) {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) > MaxFiles {
		return nil, fmt.Errorf("%s: %d policy files are more than %d", path, len(names), MaxFiles)
	}
	return names, nil
}

func wanted(e fs.DirEntry) bool {
	if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
		return false
	}
	switch filepath.Ext(e.Name()) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func load(name string) (docs []spolicy.Document, size int64, err error) {
	// Stat first: opening a FIFO would wait for a writer.
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	docs, err = spolicy.Parse(name, file)
	return docs, info.Size(), err
}

// duplicates finds policies of one kind, namespace and name: with a cluster's API
// one would have replaced the other, and from files nobody can tell which.
func duplicates(docs []spolicy.Document) (errs []error) {
	seen := map[key]string{}
	for i := range docs {
		d, k := &docs[i], keyOf(&docs[i])
		if origin, dup := seen[k]; dup {
			errs = append(errs, fmt.Errorf("%s: %s %s was already defined at %s", d.Origin, d.Kind, k, origin))
			continue
		}
		seen[k] = d.Origin
	}
	return errs
}
