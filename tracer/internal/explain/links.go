package explain

import (
	"fmt"
	"path"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// links finds rules that name a file by way of a link: rules are compared with the
// paths of the files themselves.
type links struct {
	follow func(string) (string, error)
	never  []string
}

func (l *links) document(d *spolicy.Document) {
	for _, r := range d.Process {
		if r.ExecName == "" {
			l.rule("process", r.Path, r.Dir, r.Pattern)
		}
		l.sources("process", r.FromSource)
	}
	for _, r := range d.File {
		l.rule("file", r.Path, r.Dir, r.Pattern)
		l.sources("file", r.FromSource)
	}
	for _, r := range d.Network {
		l.sources("network", r.FromSource)
	}
}

func (l *links) rule(section, file, dir, pattern string) {
	switch {
	case file != "":
		l.check(section+" path "+file, file)
	case dir != "":
		l.check(section+" dir "+dir, strings.TrimSuffix(dir, "/"))
	case pattern != "":
		// Up to where it is no plain text.
		plain := pattern
		if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
			plain = pattern[:i]
		}
		l.check(section+" pattern "+pattern, path.Dir(plain))
	}
}

func (l *links) sources(section string, sources []string) {
	for _, s := range sources {
		l.check(section+" fromSource "+s, s)
	}
}

// check notes a path that is not that of its file. What is not there, or below
// something that is not, may be there later; but the directories above it count.
func (l *links) check(what, name string) {
	for _, self := range []string{"/proc/self", "/proc/thread-self", "/dev/fd"} {
		if name == self || strings.HasPrefix(name, self+"/") {
			l.note(what, self+" is a link to another place for each process")
			return
		}
	}
	for rest := ""; strings.HasPrefix(name, "/") && name != "/"; name, rest = path.Dir(name), "/"+path.Base(name)+rest {
		real, err := l.follow(name)
		if err != nil {
			continue
		}
		if real != name {
			l.note(what, fmt.Sprintf("%s is, by a link, %s: write %s", name, real, strings.TrimSuffix(real, "/")+rest))
		}
		return
	}
}

func (l *links) note(what, why string) {
	if text := what + ": " + why; !slices.Contains(l.never, text) {
		l.never = append(l.never, text)
	}
}
