package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Directory is a directory of policy files, and what was last right in each. Its
// methods are called from one goroutine.
type Directory struct {
	path   string // for people
	at     string // where it is looked at
	strict bool
	log    *slog.Logger
	close  func() error

	files     map[string]*file // by name
	delivered bool             // its documents have been told
	said      string           // of the directory, lest it be said again and again
}

// file is a file of a directory.
type file struct {
	docs  []spolicy.Document // of the last time that it was right
	wrong bool               // it was not, the last time that it was read

	read  signature // what it was when it was read last
	seen  signature // what it was when it was looked at last
	since time.Time // when it was first seen like that
	dirty time.Time // when it was first seen to be other than what was read; zero while it is not
}

// signature tells two states of a file apart. The zero signature is no file.
type signature struct {
	dev, ino uint64
	size     int64
	changed  unix.Timespec
	errno    unix.Errno // it cannot be looked at
}

// maxFile is what counts of one file: the parser refuses larger ones.
const maxFile = 1 << 20

// A change is taken when the file has not changed for settle: it may be half
// written. One that goes on changing is taken after patience. A file that has
// become empty or is gone may be about to be written anew.
const (
	settle      = 100 * time.Millisecond
	settleEmpty = 400 * time.Millisecond
	patience    = 500 * time.Millisecond
)

// observe notes what a file is now.
func (f *file) observe(s signature, now time.Time) {
	if s != f.seen {
		f.seen, f.since = s, now
	}
	switch {
	case s == f.read:
		f.dirty = time.Time{}
	case f.dirty.IsZero():
		f.dirty = now
	}
}

// wait is how long a change must still wait, not positive when it is due.
func (f *file) wait(now time.Time) time.Duration {
	if f.seen.size == 0 && len(f.docs) > 0 {
		return settleEmpty - now.Sub(f.since)
	}
	return min(settle-now.Sub(f.since), patience-now.Sub(f.dirty))
}

// Load reads all files, for the start: the error joins all that is wrong, and then
// nothing is loaded.
func (d *Directory) Load() ([]spolicy.Document, error) {
	found, err := d.list()
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	d.files = map[string]*file{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(found)) {
		d.observe(name, found[name], time.Time{})
		if _, err := d.take(name); err != nil {
			errs = append(errs, err)
		}
	}
	docs := d.documents()
	if d.strict {
		errs = append(errs, duplicates(docs)...)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("loading policies: %w", errors.Join(errs...))
	}
	d.delivered = true
	return docs, nil
}

// list looks at the policy files. A file that is not there, as behind a link, is
// left out.
func (d *Directory) list() (map[string]signature, error) {
	entries, err := os.ReadDir(d.at)
	if err != nil {
		return nil, named(err, d.path)
	}
	found, total := map[string]signature{}, int64(0)
	for _, e := range entries {
		if e.IsDir() || !wanted(e.Name()) {
			continue
		}
		s := signatureOf(filepath.Join(d.at, e.Name()))
		if total += min(s.size, maxFile); total > MaxBytes {
			return nil, fmt.Errorf("%s: with %s the policies have more than %d bytes", d.path, e.Name(), MaxBytes)
		}
		found[e.Name()] = s
	}
	if len(found) > MaxFiles {
		return nil, fmt.Errorf("%s: %d policy files are more than %d", d.path, len(found), MaxFiles)
	}
	return found, nil
}

func signatureOf(path string) signature {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		e, _ := errors.AsType[unix.Errno](err)
		return signature{errno: e}
	}
	return signature{dev: s.Dev, ino: s.Ino, size: s.Size, changed: s.Ctim}
}

// look finds out what has changed, reads what is due, and says in the log what is
// wrong with it: once for each change. It gives whether there are other documents
// than before, and when something will be due; 0 when nothing waits.
func (d *Directory) look(now time.Time) (changed bool, again time.Duration) {
	found, err := d.list()
	absent := errors.Is(err, fs.ErrNotExist)
	if absent && !d.delivered {
		return false, 0 // the start says what it waits for
	}
	if d.complain(err); err != nil && !absent {
		return false, 0
	}
	for name := range d.files {
		if _, ok := found[name]; !ok {
			d.observe(name, signature{}, now)
		}
	}
	for name, s := range found {
		if s.errno == unix.ENOENT {
			s = signature{} // a link to a file that is gone, or still to come
		}
		d.observe(name, s, now)
	}
	changed, again = d.takeDue(now)
	return d.tell(changed, again), again
}

// takeDue reads the files whose change is due.
func (d *Directory) takeDue(now time.Time) (changed bool, again time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		if f.dirty.IsZero() {
			continue
		}
		if wait := f.wait(now); wait > 0 {
			if again == 0 || wait < again {
				again = wait
			}
			continue
		}
		other, err := d.take(name)
		if err != nil {
			d.log.Error("a policy file is wrong: what it said before stays in force", "file", filepath.Join(d.path, name),
				"policies", len(f.docs), "errors", strings.Split(err.Error(), "\n"))
		}
		changed = changed || other
	}
	return changed, again
}

// complain says once what is wrong with the directory itself.
func (d *Directory) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != d.said && text != "" {
		d.log.Error("the directory of policies cannot be read", "from", d.path, "error", text)
	}
	d.said = text
}

// observe notes what a file is now.
func (d *Directory) observe(name string, s signature, now time.Time) {
	f := d.files[name]
	if f == nil {
		f = &file{}
		d.files[name] = f
	}
	f.observe(s, now)
}

// take reads a file, and says whether it has other documents than before. What is
// wrong keeps those that it had.
func (d *Directory) take(name string) (other bool, err error) {
	f := d.files[name]
	f.read, f.dirty = f.seen, time.Time{}
	if f.seen == (signature{}) {
		delete(d.files, name)
		return len(f.docs) > 0, nil
	}
	docs, err := load(filepath.Join(d.at, name), filepath.Join(d.path, name), d.strict)
	if f.wrong = err != nil; f.wrong {
		return false, err
	}
	other = len(f.docs) > 0 || len(docs) > 0
	f.docs = docs
	return other, nil
}

// tell says whether the documents are to be told. The first time, those of a
// directory that was not there at the start, they are complete, and right.
func (d *Directory) tell(changed bool, again time.Duration) bool {
	if d.delivered {
		return changed
	}
	if again > 0 || len(d.files) == 0 {
		return false
	}
	for _, f := range d.files {
		if f.wrong {
			return false
		}
	}
	d.delivered = true
	return true
}

// documents are those of all files, in the order of their names.
func (d *Directory) documents() (docs []spolicy.Document) {
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		docs = append(docs, d.files[name].docs...)
	}
	return docs
}
