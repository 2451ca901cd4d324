package access

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// recheck is how old the knowledge about a file may be: the files are looked at
// when they are needed, not in between. It is short, so that what a SIGHUP tells of
// counts at once.
const recheck = 100 * time.Millisecond

// fromFiles is a value made of files, and made anew when they have changed.
type fromFiles[T any] struct {
	paths []string
	load  func() (T, error)
	log   *slog.Logger

	mu      sync.Mutex
	value   T         // the last that could be made
	seen    []version // of the files at the last attempt
	failed  bool      // whether that attempt did
	checked time.Time
}

// version tells one content of a file from another.
type version struct {
	device, inode uint64
	size          int64
	modified      int64 // nanoseconds
}

// newFromFiles makes the first value, or fails. Without paths it never changes.
func newFromFiles[T any](paths []string, load func() (T, error), log *slog.Logger) (*fromFiles[T], error) {
	f := &fromFiles[T]{paths: paths, load: load, log: log, seen: versions(paths), checked: time.Now()}
	var err error
	if f.value, err = load(); err != nil {
		return nil, err
	}
	return f, nil
}

// get gives the value. Where the files have changed to something that cannot be
// used, or are being changed, it stays what it was.
func (f *fromFiles[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if len(f.paths) == 0 || now.Sub(f.checked) < recheck {
		return f.value
	}
	f.checked = now
	// Versions first: what is written while it is read shows at the next look.
	current := versions(f.paths)
	changed := !slices.Equal(current, f.seen)
	if !changed && !f.failed {
		return f.value
	}
	f.seen = current
	value, err := f.load()
	if f.failed = err != nil; f.failed {
		if changed {
			f.log.Warn("changed files cannot be used, what was read before stays in force", "error", err)
		}
		return f.value
	}
	f.value = value
	f.log.Info("changed files were read again", "files", fmt.Sprint(f.paths))
	return f.value
}

func versions(paths []string) []version {
	list := make([]version, len(paths))
	for i, path := range paths {
		info, err := os.Stat(path) // follows links: that is how Kubernetes changes a mounted secret
		if err != nil {
			continue
		}
		list[i] = version{size: info.Size(), modified: info.ModTime().UnixNano()}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			list[i].device, list[i].inode = s.Dev, s.Ino
		}
	}
	return list
}
