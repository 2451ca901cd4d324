package policydir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

const (
	// gather is how long further changes are waited for before one is looked at:
	// many at once are one look.
	gather = 20 * time.Millisecond
	// tick is how often the directory is looked at when nothing is told of it:
	// changes by other machines (NFS), of what links lead to, and of a directory
	// that is not there or is replaced are told by nobody.
	tick = 500 * time.Millisecond
)

// Open makes a Directory that can be watched. Where the path leads is looked up
// anew at each look, unless pinned: then it stays the directory that it is now,
// whatever is renamed above it. Close it.
func Open[C Content](path string, pinned bool, read Read[C], log *slog.Logger) (*Directory[C], error) {
	d := &Directory[C]{path: path, at: filepath.Clean(path), read: read, log: log, close: func() error { return nil }, files: map[string]*file[C]{}}
	if pinned {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening the directory of policies: %w", err)
		}
		d.at, d.close = fmt.Sprintf("/proc/self/fd/%d", f.Fd()), f.Close
	}
	return d, nil
}

// Close ends what Open began.
func (d *Directory[C]) Close() error { return d.close() }

// IsVolume says whether a directory is a volume that is mounted read-only: others
// can change what is in it, and this container cannot.
func IsVolume(path string) bool {
	var fs unix.Statfs_t
	var dir, root unix.Stat_t
	if err := errors.Join(unix.Statfs(path, &fs), unix.Stat(path, &dir), unix.Stat("/", &root)); err != nil {
		return false
	}
	return fs.Flags&unix.ST_RDONLY != 0 && dir.Dev != root.Dev
}

// Watch gives set all files whenever they have changed, until ctx ends; the first
// time also when the directory was not there before. What is wrong is said in the
// log, and changes nothing.
func (d *Directory[C]) Watch(ctx context.Context, set func([]File[C])) {
	n := d.notifications()
	defer n.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	sooner := func(wait time.Duration) {
		if at := time.Now().Add(wait); at.Before(due) {
			due = at
			timer.Reset(wait)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-n.events:
			if !ok || !d.concerns(e.Name) {
				continue
			}
			if e.Name == d.at {
				n.forget()
			}
			sooner(gather)
		case err, ok := <-n.errors:
			if ok {
				d.log.Debug("changes of policy files may not have been told", "error", err)
				sooner(gather)
			}
		case <-timer.C:
			n.follow(d.at)
			changed, again := d.look(time.Now())
			if changed {
				set(d.contents())
			}
			wait := tick
			if again > 0 {
				wait = min(wait, again)
			}
			due = time.Now().Add(wait)
			timer.Reset(wait)
		}
	}
}

// concerns says whether a change of a file can change policies: of one of them, of
// a hidden one that they are links to, or of the directory itself.
func (d *Directory[C]) concerns(path string) bool {
	name := filepath.Base(path)
	return path == d.at || IsFile(name) || strings.HasPrefix(name, "..")
}

// notifications are the kernel's, of changes in a directory. Without a watcher there
// are none.
type notifications struct {
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event
	errors  <-chan error
	dev     uint64 // of the directory that is watched
	ino     uint64
}

func (d *Directory[C]) notifications() *notifications {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("changes of policies are found by looking for them only", "error", err)
		return &notifications{}
	}
	return &notifications{watcher: w, events: w.Events, errors: w.Errors}
}

// follow watches the directory that is at a path now.
func (n *notifications) follow(path string) {
	var s unix.Stat_t
	if n.watcher == nil {
		return
	}
	if err := unix.Stat(path, &s); err != nil {
		n.forget()
		return
	}
	if s.Dev == n.dev && s.Ino == n.ino {
		return
	}
	_ = n.watcher.Remove(path) // of the directory that was there, if it still is watched
	if n.watcher.Add(path) == nil {
		n.dev, n.ino = s.Dev, s.Ino
	}
}

// forget has follow watch the path anew: another directory can have the number of
// one that is gone.
func (n *notifications) forget() { n.dev, n.ino = 0, 0 }

func (n *notifications) end() {
	if n.watcher != nil {
		n.watcher.Close()
	}
}
