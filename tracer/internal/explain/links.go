package explain

import (
	"fmt"
	"path"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// links finds rules that name a file that is a link: links on the way to a file are
// followed, and rules are compared with the path of the file itself.
type links struct {
	follow func(string) (string, error)
	never  []string
}

func (l *links) document(d *spolicy.Document) {
	for _, r := range d.Process {
		if r.ExecName == "" {
			l.check("process path", r.Path)
		}
		l.sources("process", r.FromSource)
	}
	for _, r := range d.File {
		l.check("file path", r.Path)
		l.check("file dir", strings.TrimSuffix(r.Dir, "/"))
		l.sources("file", r.FromSource)
	}
	for _, r := range d.Presets {
		l.sources("preset", r.FromSource)
	}
	for _, r := range d.Network {
		l.sources("network", r.FromSource)
	}
}

func (l *links) sources(section string, sources []string) {
	for _, s := range sources {
		l.check(section+" fromSource", s)
	}
}

// check notes a path that is not that of a file. What is not there may be there
// later.
func (l *links) check(what, name string) {
	if name == "" {
		return
	}
	for _, self := range []string{"/proc/self", "/proc/thread-self", "/dev/fd"} {
		if name == self || strings.HasPrefix(name, self+"/") {
			l.note(what, name, self+" is a link to another place for each process")
			return
		}
	}
	if strings.HasSuffix(what, "dir") {
		return // followed to its end
	}
	dir, dirErr := l.follow(path.Dir(name))
	file, err := l.follow(name)
	if err == nil && dirErr == nil && file != path.Join(dir, path.Base(name)) {
		l.note(what, name, fmt.Sprintf("it is a link to %s, and rules are about the file itself: write that", file))
	}
}

func (l *links) note(what, name, why string) {
	if text := what + " " + name + ": " + why; !slices.Contains(l.never, text) {
		l.never = append(l.never, text)
	}
}
