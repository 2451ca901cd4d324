package learn

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// How many files of a directory stand for all of it.
const (
	manyWritten  = 3 // files and directories that are made or written in it
	manyRead     = 5 // files that are read where software is installed
	manyReadElse = 8 // files that are read anywhere else
)

// whole are directories that are read as one: what is looked up in them depends on the
// time zone, the language, the certificates of who is talked to, the host.
var whole = []string{"/usr/share/zoneinfo/", "/usr/lib/locale/", "/usr/share/locale/", "/etc/ssl/certs/", "/usr/share/ca-certificates/", "/sys/fs/cgroup/"}

// shared are directories that belong to no program: what is made or found in them does
// not stand for the rest.
var shared = []string{
	"/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
	"/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin", "/usr/share", "/usr/lib", "/var",
	"/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool", "/var/tmp", "/var/www",
}

// secret are places of which no file stands for another.
var secret = []string{"/proc/", "/dev/", "/sys/", "/root/", "/home/", "/run/secrets/", "/var/run/secrets/", "/etc/ssl/private/", "/etc/ssh/", "/etc/sudoers.d/"}

var library = regexp.MustCompile(`\.so($|\.|\*)`)

// node is a file or a directory of a run, with what is below it.
type node struct {
	element
	path        string // of one that it stands for
	children    map[string]*node
	names       map[string]bool // that it stands for
	read, write bool
	made        bool
}

func (n *node) child(e element, path string) *node {
	c := n.children[e.text]
	if c == nil {
		c = &node{element: e, path: path, children: map[string]*node{}, names: map[string]bool{}}
		n.children[e.text] = c
	}
	c.names[path] = true
	return c
}

// count gives how many names of a directory are such.
func (n *node) count(such func(*node) bool) (all int) {
	for _, c := range n.children {
		if such(c) {
			all += len(c.names)
		}
	}
	return all
}

// forest makes the tree of all files of a run.
func (m *maker) forest() *node {
	names := m.naming()
	names.made = map[string]bool{}
	for _, u := range m.sorted {
		if u.op == rules.FileWrite && u.create {
			names.made[u.path] = true
		}
	}
	root := &node{children: map[string]*node{}, names: map[string]bool{}}
	for _, u := range m.sorted {
		if u.op&rules.File == 0 {
			continue
		}
		n, at := root, ""
		if u.path != "/" {
			for _, e := range names.elements(u.path) {
				// A slash is between the elements, whatever they have become.
				next := strings.IndexByte(u.path[len(at)+1:], '/')
				if next < 0 {
					at = u.path
				} else {
					at = u.path[:len(at)+1+next]
				}
				n = n.child(e, at)
			}
		}
		n.read = n.read || u.op == rules.FileRead
		n.write = n.write || u.op == rules.FileWrite
		n.made = n.made || u.create
	}
	return root
}

// files makes the rules for files.
func (m *maker) files() {
	if m.blind {
		m.remarks = append(m.remarks, "the events do not tell of opens that only read, so the policy is not about files: --visibility=all tells them")
		m.doc.File, m.doc.FilePosture = nil, ""
		if len(m.doc.Process) > 0 {
			m.doc.FilePosture = spolicy.PostureBlock // that of programs
		}
		return
	}
	w := walk{software: m.naming().software}
	root := m.forest()
	w.visit(root, cover{}, nil)
	m.doc.File = simplify(append(m.doc.File, w.rules...))
	m.presets()
}

// presets keeps others' files in /proc from programs that have opened their own alone:
// rules can name all processes, or none.
func (m *maker) presets() {
	others := slices.ContainsFunc(m.sorted, func(u use) bool { return strings.HasPrefix(u.path, "/proc/1/") && !u.own })
	environ := slices.ContainsFunc(m.sorted, func(u use) bool { return u.path == "/proc/1/environ" && !u.own })
	for _, d := range m.past {
		all := slices.ContainsFunc(d.Presets, func(p spolicy.PresetRule) bool { return p.Name == spolicy.PresetProtectProc })
		others = others || !all
		environ = environ || !all && !slices.ContainsFunc(d.Presets, func(p spolicy.PresetRule) bool { return p.Name == spolicy.PresetProtectEnv })
	}
	switch {
	case !others:
		m.doc.Presets = append(m.doc.Presets, spolicy.PresetRule{Name: spolicy.PresetProtectProc, Effect: block})
	case !environ:
		m.doc.Presets = append(m.doc.Presets, spolicy.PresetRule{Name: spolicy.PresetProtectEnv, Effect: block})
	}
}

// cover is what rules of directories above say already.
type cover struct {
	read, write bool
	pattern     bool // one of them is a pattern, which decides before directories
}

// walk makes rules of a tree.
type walk struct {
	software []string
	rules    []spolicy.FileRule
}

func (w *walk) visit(n *node, c cover, above []element) {
	all := above
	if n.text != "" {
		all = append(slices.Clone(above), n.element)
	}
	below, direct := w.directory(n, all, &c)
	if (n.read || n.write) && (!c.read || n.write && !c.write) {
		w.file(n, all)
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		covered := below
		if !child.isDir() {
			covered = direct
		}
		w.visit(child, covered, all)
	}
}

// directory makes the rule of a directory where it stands for what is in it, and gives
// what is covered below it: in all of it, and of files in it.
func (w *walk) directory(n *node, all []element, c *cover) (below, direct cover) {
	below, direct = *c, *c
	if !n.isDir() {
		return below, direct
	}
	read, write, recursive := n.stands(w.software)
	if !read && !write || c.write || c.read && !write {
		return below, direct
	}
	name, glob := join(all)
	if glob = glob || c.pattern && write; glob {
		tail := "/*"
		if recursive {
			tail = "/**"
		}
		w.add(spolicy.FileRule{Pattern: name, ReadOnly: !write}, spolicy.FileRule{Pattern: name + tail, ReadOnly: !write})
	} else {
		w.add(spolicy.FileRule{Dir: strings.TrimSuffix(name, "/") + "/", Recursive: recursive, ReadOnly: !write})
	}
	own := cover{read: true, write: write || c.write, pattern: c.pattern || glob}
	c.read, c.write = true, own.write // the rule is about the directory itself, too
	direct = own
	if recursive {
		below = own
	}
	below.pattern = own.pattern
	return below, direct
}

// stands says whether a directory stands for what is in it: to be read, or written, in
// its files alone or in all that is below it.
func (n *node) stands(software []string) (read, write, recursive bool) {
	if n.path == "" {
		return false, false, false // the root
	}
	if n.made {
		return true, true, true
	}
	own := !slices.Contains(shared, n.path) && path.Dir(n.path) != "/home"
	if own && n.count((*node).written) >= manyWritten {
		return true, true, n.count(func(c *node) bool { return c.isDir() && c.written() }) > 0
	}
	dir := n.path + "/"
	if slices.Contains(whole, dir) {
		return true, false, true
	}
	files := n.count(func(c *node) bool { return c.read && !c.isDir() })
	if within(dir, software) {
		many := own && files >= manyRead
		return many || own && n.read && files > 0 || n.count(func(c *node) bool { return c.read && library.MatchString(c.text) }) > 0, false, many
	}
	return own && !within(dir, secret) && (n.read && files > 0 || files >= manyReadElse), false, false
}

func (n *node) isDir() bool { return len(n.children) > 0 }

// written says whether a file was written, or a file of a directory.
func (n *node) written() bool {
	return n.write || n.count(func(c *node) bool { return c.write }) > 0
}

// file makes the rule of a file, or of a directory that does not stand for what is in it.
func (w *walk) file(n *node, all []element) {
	name, glob := join(all)
	if glob {
		w.add(spolicy.FileRule{Pattern: name, ReadOnly: !n.write})
		return
	}
	w.add(spolicy.FileRule{Path: name, ReadOnly: !n.write})
}

func (w *walk) add(all ...spolicy.FileRule) {
	for _, r := range all {
		r.Action = spolicy.ActionAllow
		w.rules = append(w.rules, r)
	}
}

// maxPath is the longest path that KubeArmor takes for one.
const maxPath = 200

// join writes a path; glob says that it is a pattern.
func join(all []element) (path string, glob bool) {
	var literal, pattern strings.Builder
	for _, e := range all {
		glob = glob || e.glob
		literal.WriteString("/" + e.text)
		if e.glob {
			pattern.WriteString("/" + e.text)
		} else {
			pattern.WriteString("/" + escaped(e.text))
		}
	}
	switch {
	case len(all) == 0:
		return "/", true // no path and no directory of KubeArmor's is the root alone
	case glob, literal.Len() > maxPath:
		return pattern.String(), true
	}
	return literal.String(), false
}
