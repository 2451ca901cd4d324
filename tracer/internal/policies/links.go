package policies

import (
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// maxLinks is how many links the kernel follows in one path.
const maxLinks = 40

// usual are the directories that are links on most systems, and that policies name.
func usual() []string {
	return []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/sbin", "/usr/lib64", "/var/run", "/var/lock"}
}

// links follows the links on the way to what rules name: rules are compared with the
// paths of the files themselves. Each is looked up once and counts as it was found
// then, since the workload may be able to change it.
type links struct {
	log   *slog.Logger
	known map[string]link
	// running says that the workload may have begun to make links: what is found from
	// then on makes no Allow rule wider.
	running bool
}

// link is what was found under a name.
type link struct {
	to   string // where it leads to; "" for what is no link
	late bool   // it was found while the workload ran
}

func newLinks(log *slog.Logger) *links {
	l := &links{log: log, known: map[string]link{}}
	for _, dir := range usual() {
		l.target(dir, false)
	}
	return l
}

// target is where a link leads to, "" for what is none.
func (l *links) target(name string, allow bool) string {
	found, ok := l.known[name]
	switch {
	case allow && (found.late || !ok && l.running):
		return ""
	case ok:
		return found.to
	}
	to, err := os.Readlink(name)
	if err == nil && strings.HasPrefix(name, "/proc/") {
		to = "" // another one for each process
	}
	l.known[name] = link{to, l.running}
	if to != "" {
		l.log.Debug("rules that lead through a link are about what it leads to as well", "link", name, "to", to)
	}
	return to
}

// directory follows all links of a directory's path, without its final slash.
func (l *links) directory(dir string, allow bool) string {
	done, rest := "", strings.TrimPrefix(dir, "/")
	for followed := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			done = done[:max(strings.LastIndexByte(done, '/'), 0)]
			continue
		}
		next := done + "/" + name
		to := l.target(next, allow)
		if to == "" {
			done = next
			continue
		}
		if followed++; followed > maxLinks {
			return dir
		}
		if path.IsAbs(to) {
			done = ""
		}
		rest = to + "/" + rest
	}
	return done
}

// file follows the links on the way to a file, and not the file if it is one: what
// is about /bin/wget must not be about all of busybox.
func (l *links) file(name string, allow bool) string {
	slash := strings.LastIndexByte(name, '/')
	if slash <= 0 {
		return name
	}
	return l.directory(name[:slash], allow) + name[slash:]
}

// place is what a rule is about; one of its parts is set.
type place struct{ path, dir, pattern string }

// follow gives the place that links lead to, and whether it is another one.
func (l *links) follow(p place, allow bool) (place, bool) {
	to := p
	switch {
	case p.path != "":
		to.path = l.file(p.path, allow)
	case p.dir != "":
		to.dir = l.directory(strings.TrimSuffix(p.dir, "/"), allow) + "/"
	case strings.HasPrefix(p.pattern, "/"):
		// As far as it is plain text.
		end := strings.IndexAny(p.pattern, `*?[{\`)
		if end < 0 {
			end = len(p.pattern)
		}
		slash := strings.LastIndexByte(p.pattern[:end], '/')
		if dir := l.directory(p.pattern[:slash], allow); !strings.ContainsAny(dir, `*?[]{},\`) {
			to.pattern = dir + p.pattern[slash:]
		}
	}
	return to, to != p
}

// sources adds the programs that links lead to.
func (l *links) sources(all []string, allow bool) []string {
	out := all[:len(all):len(all)] // what is added must not be written into the document
	for _, s := range all {
		if to := l.file(s, allow); !slices.Contains(out, to) {
			out = append(out, to)
		}
	}
	return out
}

// resolve gives the document with a further rule behind each that leads through a
// link: about what it leads to. The rule as it is written stays.
func (l *links) resolve(d spolicy.Document) spolicy.Document {
	var process []spolicy.ProcessRule
	for _, r := range d.Process {
		allow := r.Action == spolicy.ActionAllow
		r.FromSource = l.sources(r.FromSource, allow)
		process = append(process, r)
		if to, other := l.follow(place{r.Path, r.Dir, r.Pattern}, allow); other && r.ExecName == "" {
			r.Path, r.Dir, r.Pattern = to.path, to.dir, to.pattern
			process = append(process, r)
		}
	}
	var file []spolicy.FileRule
	for _, r := range d.File {
		allow := r.Action == spolicy.ActionAllow
		r.FromSource = l.sources(r.FromSource, allow)
		file = append(file, r)
		if to, other := l.follow(place{r.Path, r.Dir, r.Pattern}, allow); other {
			r.Path, r.Dir, r.Pattern = to.path, to.dir, to.pattern
			file = append(file, r)
		}
	}
	var network []spolicy.NetworkRule
	for _, r := range d.Network {
		allow := r.Action == spolicy.ActionAllow
		r.FromSource = l.sources(r.FromSource, allow)
		network = append(network, r)
		if r.Endpoint != nil && strings.HasPrefix(r.Endpoint.Path, "/") {
			if to := l.file(r.Endpoint.Path, allow); to != r.Endpoint.Path {
				r.Endpoint = &spolicy.Endpoint{Path: to}
				network = append(network, r)
			}
		}
	}
	presets := slices.Clone(d.Presets)
	for i := range presets {
		presets[i].FromSource = l.sources(presets[i].FromSource, true)
	}
	d.Process, d.File, d.Network, d.Presets = process, file, network, presets
	return d
}
