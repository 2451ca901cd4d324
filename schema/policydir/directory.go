// Package policydir reads the policy files of a directory and follows their
// changes: what is half written is waited for, and a file that is wrong keeps what it
// had. What a file says is for others to parse.
package policydir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/policy"
)

// Bounds of a directory. A container for which more is written has been given
// the wrong directory.
const (
	MaxFiles = 1000
	MaxBytes = 32 << 20 // of all files together
)

// Content is what is kept of a file: its text, or what it was parsed to. What has no
// length says nothing.
type Content interface{ string | []policy.Document }

// Directory is a directory of policy files, and what was last right in each. Its
// methods are called from one goroutine.
type Directory[C Content] struct {
	path  string // for people
	at    string // where it is looked at
	read  Read[C]
	log   *slog.Logger
	close func() error

	files     map[string]*file[C] // by name
	delivered bool                // its files have been told
	said      string              // of the directory, lest it be said again and again
}

// Read reads a file, name being how people know it. An error says that it is wrong.
type Read[C Content] func(name string, in io.Reader) (C, error)

// File is a file of a directory.
type File[C Content] struct {
	Name    string // without the directory
	Content C      // of the last time that it was right
}

// file is a file of a directory.
type file[C Content] struct {
	content C    // of the last time that it was right
	wrong   bool // it was not, the last time that it was read

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
func (f *file[C]) observe(s signature, now time.Time) {
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
func (f *file[C]) wait(now time.Time) time.Duration {
	if f.seen.size == 0 && len(f.content) > 0 {
		return settleEmpty - now.Sub(f.since)
	}
	return min(settle-now.Sub(f.since), patience-now.Sub(f.dirty))
}

// Load reads all files, for the start, in the order of their names: the error joins
// all that is wrong, and then nothing is loaded.
func (d *Directory[C]) Load() ([]File[C], error) {
	found, err := d.list()
	if err != nil {
		return nil, err
	}
	d.files = map[string]*file[C]{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(found)) {
		d.observe(name, found[name], time.Time{})
		if _, err := d.take(name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d.delivered = true
	return d.contents(), nil
}

// list looks at the policy files. A file that is not there, as behind a link, is
// left out.
func (d *Directory[C]) list() (map[string]signature, error) {
	entries, err := os.ReadDir(d.at)
	if err != nil {
		return nil, Named(err, d.path)
	}
	found, total := map[string]signature{}, int64(0)
	for _, e := range entries {
		if e.IsDir() || !IsFile(e.Name()) {
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
func (d *Directory[C]) look(now time.Time) (changed bool, again time.Duration) {
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
func (d *Directory[C]) takeDue(now time.Time) (changed bool, again time.Duration) {
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
				"errors", strings.Split(err.Error(), "\n"))
		}
		changed = changed || other
	}
	return changed, again
}

// complain says once what is wrong with the directory itself.
func (d *Directory[C]) complain(err error) {
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
func (d *Directory[C]) observe(name string, s signature, now time.Time) {
	f := d.files[name]
	if f == nil {
		f = &file[C]{}
		d.files[name] = f
	}
	f.observe(s, now)
}

// take reads a file, and says whether it has other documents than before. What is
// wrong keeps those that it had.
func (d *Directory[C]) take(name string) (other bool, err error) {
	f := d.files[name]
	f.read, f.dirty = f.seen, time.Time{}
	if f.seen == (signature{}) {
		delete(d.files, name)
		return len(f.content) > 0, nil
	}
	content, err := ReadFile(filepath.Join(d.at, name), filepath.Join(d.path, name), d.read)
	if f.wrong = err != nil; f.wrong {
		return false, err
	}
	other = len(f.content) > 0 || len(content) > 0
	f.content = content
	return other, nil
}

// tell says whether the documents are to be told. The first time, those of a
// directory that was not there at the start, they are complete, and right.
func (d *Directory[C]) tell(changed bool, again time.Duration) bool {
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

// contents are those of all files, in the order of their names.
func (d *Directory[C]) contents() (all []File[C]) {
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		all = append(all, File[C]{name, d.files[name].content})
	}
	return all
}
