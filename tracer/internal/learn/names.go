package learn

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

// element is one name of a path, as rules write it: itself, or a pattern.
type element struct {
	text string
	glob bool
}

// naming gives the names of paths as rules have them.
type naming struct {
	made     map[string]bool // paths that the run has made
	software []string        // directories of programs and libraries
}

// Names that say the same in the next run, whatever they are now.
var (
	versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)
	digits        = regexp.MustCompile(`[0-9]+`)
	soName        = regexp.MustCompile(`\.so\..*$`)
	numbered      = regexp.MustCompile(`^[a-z_]{3,}[0-9]{3,}$`)
)

// installed is where programs and libraries are on every system.
var installed = []string{"/usr/", "/lib/", "/lib64/", "/opt/", "/app/", "/bin/", "/sbin/", "/nix/", "/snap/"}

func within(path string, places []string) bool {
	return slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(path, place) })
}

// elements writes a path.
func (n *naming) elements(path string) (all []element) {
	at := ""
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		parent := at + "/"
		at = parent + name
		all = append(all, n.element(parent, at, name))
	}
	return all
}

// element writes one name; parent is the path before it, at the path with it.
func (n *naming) element(parent, at, name string) element {
	switch {
	case parent == "/proc/" && isNumber(name), strings.HasPrefix(parent, "/proc/1/") && isNumber(name), parent == "/dev/pts/" && isNumber(name):
		return element{"[0-9]*", true}
	case parent == "/home/":
		return element{"*", true}
	case strings.HasPrefix(parent, "/sys/"):
		return replaced(name, digits)
	case n.made[at]:
		return temporary(name, slices.Contains(temporaries, parent))
	case within(at, n.software) && soName.MatchString(name):
		return element{escaped(soName.ReplaceAllString(name, ".so")) + "*", true}
	case within(at, n.software) && isNumber(name):
		return element{"[0-9]*", true}
	case within(at, n.software):
		return replaced(name, versionNumber)
	case strings.HasPrefix(parent, "/etc/") && versionNumber.ReplaceAllString(name, "") == "", strings.HasPrefix(parent, "/etc/") && isNumber(name):
		return element{"[0-9]*", true}
	}
	return plain(name)
}

// plain writes a name as it is. What YAML cannot hold is any character.
func plain(name string) element {
	odd := func(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }
	if !strings.ContainsFunc(name, odd) {
		return element{name, false}
	}
	return element{strings.Map(func(c rune) rune {
		if odd(c) {
			return '?'
		}
		return c
	}, escaped(name)), true}
}

// escaped writes a name in a pattern.
func escaped(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(name)
}

// replaced writes a name whose numbers may be others.
func replaced(name string, numbers *regexp.Regexp) element {
	places := numbers.FindAllStringIndex(name, -1)
	if places == nil {
		return plain(name)
	}
	var b strings.Builder
	last := 0
	for _, at := range places {
		b.WriteString(plainGlob(name[last:at[0]]) + "[0-9]*")
		last = at[1]
	}
	b.WriteString(plainGlob(name[last:]))
	return element{b.String(), true}
}

// plainGlob is plain in a pattern.
func plainGlob(name string) string {
	if e := plain(name); e.glob {
		return e.text
	}
	return escaped(name)
}

// temporary writes the name of what the run has made: numbers may be others, and of
// what looks like chance any character may be another. In a directory of temporary files
// a name that is a single word is chance, too: nobody can tell.
func temporary(name string, inTemp bool) element {
	if inTemp && numbered.MatchString(name) { // a number of a process, or chance
		return element{"{" + strings.Repeat("?", len(name)) + "," + replaced(name, digits).text + "}", true}
	}
	var b strings.Builder
	glob := false
	for rest := name; rest != ""; {
		i := strings.IndexFunc(rest, func(c rune) bool { return !isWord(c) })
		switch {
		case i < 0:
			i = len(rest)
		case i == 0:
			_, i = utf8.DecodeRuneInString(rest)
		}
		word := rest[:i]
		rest = rest[i:]
		switch e := replaced(word, digits); {
		case random(word) || inTemp && (unusual(word) || word == name && len(word) >= 6):
			kept := len(word) - len(strings.TrimPrefix(word, "tmp"))
			b.WriteString(word[:kept] + strings.Repeat("?", len(word)-kept))
			glob = true
		case e.glob:
			b.WriteString(e.text)
			glob = true
		default:
			b.WriteString(escaped(word))
		}
	}
	if !glob {
		return plain(name)
	}
	return element{b.String(), true}
}

// temporaries are the directories of temporary files.
var temporaries = []string{"/tmp/", "/var/tmp/", "/dev/shm/"}

// unusual says whether a word is hardly one that somebody has chosen for a file in a
// directory of temporary files: long, with capitals or digits.
func unusual(word string) bool {
	return len(word) >= 6 && !isNumber(word) && strings.ToLower(word) != word || random(word)
}

func isWord(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// random says whether a word looks like one that mkstemp, tempfile or their kind have
// made up: six characters at least of several kinds, in no order of a word's.
func random(word string) bool {
	if strings.HasPrefix(word, "tmp") && len(word) == len("tmp")+8 {
		return true // Python's tempfile
	}
	if len(word) < 6 || isNumber(word) {
		return false
	}
	changes, before := 0, 0
	for i, c := range word {
		kind := 1
		switch {
		case c >= '0' && c <= '9':
			kind = 2
		case c >= 'A' && c <= 'Z':
			kind = 3
		}
		if i > 0 && kind != before && (i > 1 || before != 3) {
			changes++
		}
		before = kind
	}
	return changes >= 2
}
