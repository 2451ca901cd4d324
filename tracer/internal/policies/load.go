package policies

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
// is wrong, each with file and line. Strict, what KubeArmor would pass over is wrong,
// and so are two policies of one kind, namespace and name.
func Load(path string, strict bool) ([]spolicy.Document, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	if info.IsDir() {
		return (&Directory{path: path, at: path, strict: strict}).Load()
	}
	docs, err := load(path, path, strict)
	if err == nil && strict {
		err = errors.Join(duplicates(docs)...)
	}
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	return docs, nil
}

// Files gives the policy files that a path leads to: the file itself, or those of a
// directory, in order.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	found, err := (&Directory{path: path, at: path}).list()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(found))
	for i := range names {
		names[i] = filepath.Join(path, names[i])
	}
	return names, nil
}

// IsFile says whether a path that leads nowhere yet names a file of policies, and
// not a directory.
func IsFile(path string) bool { return wanted(filepath.Base(path)) }

// wanted says whether a file of a directory is one of policies.
func wanted(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// load reads the file at a path, which is called name in what is said of it.
func load(at, name string, strict bool) ([]spolicy.Document, error) {
	// Stat first: opening a FIFO would wait for a writer.
	info, err := os.Stat(at)
	if err != nil {
		return nil, named(err, name)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	file, err := os.Open(at)
	if err != nil {
		return nil, named(err, name)
	}
	defer file.Close()
	return parser(strict)(name, file)
}

func parser(strict bool) func(name string, in io.Reader) ([]spolicy.Document, error) {
	if strict {
		return spolicy.ParseStrict
	}
	return spolicy.Parse
}

// named gives an error the name by which people know the file.
func named(err error, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Path = name
	}
	return err
}

// duplicates finds policies of one kind, namespace and name, of which only the last
// would count.
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
