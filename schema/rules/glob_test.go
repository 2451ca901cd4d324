package rules

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// naiveGlob answers by trying everything: one alternative after the other, and
// for stars one length after the other.
func naiveGlob(pattern, path string) bool {
	for _, plain := range alternatives(pattern) {
		if naiveMatch([]rune("\x00"+plain), []rune("\x00"+path)) { // so that there always is a character before
			return true
		}
	}
	return false
}

// alternatives writes out the first braces, and then those of each result. A ","
// or a brace with a \ before it, or in a set, is none.
func alternatives(pattern string) (all []string) {
	depth, open, last, inSet := 0, 0, 0, false
	var parts []string
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case inSet:
			inSet = c != ']'
		case c == '[':
			inSet = true
		case c == '{':
			if depth == 0 {
				open, last = i, i+1
			}
			depth++
		case c == ',' && depth == 1:
			parts, last = append(parts, pattern[last:i]), i+1
		case c == '}':
			if depth--; depth == 0 {
				for _, part := range append(parts, pattern[last:i]) {
					// The marks keep stars in braces from seeing slashes outside.
					all = append(all, alternatives(pattern[:open]+"\x01"+part+"\x01"+pattern[i+1:])...)
				}
				return all
			}
		}
	}
	return []string{pattern}
}

// naiveMatch takes p[0] and s[0] for what stands before.
func naiveMatch(p, s []rune) bool {
	before := p[0]
	p = p[1:]
	if len(p) == 0 {
		return len(s) == 1
	}
	switch p[0] {
	case '\x01':
		return naiveMatch(append([]rune{'\x01'}, p[1:]...), s)
	case '*':
		n := 1
		for n < len(p) && p[n] == '*' {
			n++
		}
		least := 0
		if before == '/' && (n == len(p) || p[n] == '/') {
			least = 1
		}
		for taken := 0; taken < len(s); taken++ {
			if taken > 0 && s[taken] == '/' && (n == 1 || taken == 1 && least == 1) {
				return false
			}
			if taken >= least && naiveMatch(append([]rune{'\x01'}, p[n:]...), s[taken:]) {
				return true
			}
		}
		return false
	case '?':
		return len(s) > 1 && s[1] != '/' && naiveMatch(append([]rune{'\x01'}, p[1:]...), s[1:])
	case '[':
		n, ok := naiveSet(p, s)
		return ok && naiveMatch(append([]rune{'\x01'}, p[n:]...), s[1:])
	case '\\':
		p = p[1:]
	}
	return len(s) > 1 && s[1] == p[0] && naiveMatch(p, s[1:])
}

// naiveSet gives the length of a set and whether it has the next character.
func naiveSet(p, s []rune) (n int, ok bool) {
	n, negated, has := 1, false, false
	if p[1] == '^' {
		negated, n = true, 2
	}
	member := func() rune {
		if p[n] == '\\' {
			n++
		}
		n++
		return p[n-1]
	}
	for p[n] != ']' {
		lo := member()
		hi := lo
		if p[n] == '-' {
			n++
			hi = member()
		}
		has = has || len(s) > 1 && lo <= s[1] && s[1] <= hi
	}
	return n + 1, len(s) > 1 && s[1] != '/' && has != negated
}

func TestGlob(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"/tmp/*", "/tmp/a /tmp/.a", "/tmp /tmp/ /tmp/a/b /tmpa"},
		{"/tmp/**", "/tmp/a /tmp/a/b", "/tmp /tmp/"},
		{"/usr/lib**", "/usr/lib /usr/lib64 /usr/lib/a/b", "/usr/li /usr"},
		{"/a/**/b", "/a/x/b /a/x/y/b", "/a/b /a//b"},
		{"/a/{,**/}b", "/a/b /a/x/b /a/x/y/b", "/ab /a/xb"},
		{"/*/b", "/a/b", "//b /b /a/a/b"},
		{"/etc/*hado?", "/etc/shadow /etc/gshadow", "/etc/shado /etc/x/shadow"},
		{"/etc/{shadow,passwd}", "/etc/shadow /etc/passwd", "/etc/ /etc/group"},
		{"/{a,b{c,d}}", "/a /bc /bd", "/b /c /abc"},
		{"/[a-c]", "/a /b /c", "/d / //"},
		{"/[^a-c]", "/d", "/a / //"},
		{"/a[+-9]b", "/a0b /a.b", "/a/b"},
		{"/a[/]b", "", "/a/b /ab"},
		{"/a[^x]b", "/ayb", "/a/b"},
		{`/\*\{a\,`, "/*{a,", "/xa"},
		{`/[\]\-]`, `/] /-`, `/\`},
		{"/**/*.key", "/a/b.key /a/b/c.key", "/b.key /a/b.keys"},
		{"/a.b", "/a.b", "/axb"},
		{"/a,b", "/a,b", "/a"},
		{"/é?", "/éü", "/é /e1"},
		{"**", "/ /a/b", ""},
		{"*", "", "/ /a"},
	} {
		g, err := compileGlob(c.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		for want, paths := range map[bool]string{true: c.yes, false: c.no} {
			for path := range strings.FieldsSeq(paths) {
				if g.match(path) != want || naiveGlob(c.pattern, path) != want {
					t.Errorf("%s, %s: %v, naively %v, want %v", c.pattern, path, g.match(path), naiveGlob(c.pattern, path), want)
				}
			}
		}
	}
	if g, err := compileGlob("/a\nb*"); err != nil || !g.match("/a\nb\n") {
		t.Error("a path has no lines")
	}
}

func TestGlobRefuses(t *testing.T) {
	for _, pattern := range []string{"/[", "/[a", "/[]", "/[]a]", "/[^]", "/[a-", "/[a-]", "/[-a]", "/[z-a]", "/{", "/{a", "/}", "/a}", `/\`, `/[\`} {
		if _, err := compileGlob(pattern); err == nil || !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"/a/*", "/**/b", "/a/**", "/{a,{b,c}*}", "/[^a-c]?", `/\*[\]]`, "a**b/*/"} {
		f.Add(pattern, "/a/b/c")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		// Alternatives multiply and stars are tried one by one: the naive way is for
		// small patterns.
		if len(pattern) > 16 || len(path) > 16 || strings.ContainsAny(pattern+path, "\x00\x01") || !utf8.ValidString(pattern) || !utf8.ValidString(path) {
			return
		}
		g, err := compileGlob(pattern)
		if err != nil {
			return
		}
		if got, want := g.match(path), naiveGlob(pattern, path); got != want {
			t.Errorf("%q, %q: %v, naively %v", pattern, path, got, want)
		}
	})
}
