package policydir

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
)

// Files gives the policy files that a path leads to: the file itself, or those of a
// directory, in order.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	found, err := (&Directory[string]{path: path, at: path}).list()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(found))
	for i := range names {
		names[i] = filepath.Join(path, names[i])
	}
	return names, nil
}

// IsFile says whether a path, which need not lead anywhere, names a file of policies
// and not a directory. Hidden files, as the "..data" of a mounted ConfigMap, are
// none.
func IsFile(path string) bool {
	name := filepath.Base(path)
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// ReadFile reads the file at a path, which is called name in what is said of it.
func ReadFile[C Content](at, name string, read Read[C]) (content C, err error) {
	// Stat first: opening a FIFO would wait for a writer.
	info, err := os.Stat(at)
	if err != nil {
		return content, Named(err, name)
	}
	if !info.Mode().IsRegular() {
		return content, fmt.Errorf("%s: not a regular file", name)
	}
	file, err := os.Open(at)
	if err != nil {
		return content, Named(err, name)
	}
	defer file.Close()
	return read(name, file)
}

// Text is the Read that keeps a file as it is.
func Text(name string, in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return "", Named(err, name)
	case len(text) > maxFile:
		return "", fmt.Errorf("%s: the file is larger than %d bytes", name, maxFile)
	}
	return string(text), nil
}

// Named gives an error of a file the name by which people know it.
func Named(err error, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Path = name
	}
	return err
}
