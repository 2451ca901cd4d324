package identity

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
)

// maxFile bounds what is read of a file; a mountinfo of a busy container has
// some tens of kilobytes.
const maxFile = 1 << 20

// files reads small files below a root. A file that does not exist is empty: it
// belongs to a platform that this is not.
type files struct {
	root   fs.FS
	logger *slog.Logger
}

func (f files) text(name string) string {
	text, err := f.read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.logger.Warn("a file about this container cannot be read", "error", err)
	}
	return text
}

// named reads a file that the user named, by its absolute path.
func (f files) named(name string) (string, error) {
	return f.read(strings.TrimPrefix(path.Clean("/"+name), "/"))
}

func (f files) line(name string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(f.text(name)), "\n")
	return clip(line, maxValue)
}

func (f files) read(name string) (string, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return "", err // a *fs.PathError says what and where
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return string(b), nil
}
