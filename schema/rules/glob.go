package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// glob is a pattern over absolute paths, with AppArmor's meaning (apparmor.d(5),
// Globbing): * and ? stand for all but "/", ** for everything, [ab-c] and [^a]
// for one character that is not "/", {a,b} for one of several; \ takes the next
// character's meaning away. Between slashes, * and ** stand for one character at
// least: /a/**/b is not /a/b. What a pattern takes to match is linear in the
// length of the path.
type glob struct {
	text           string
	prefix, suffix string // plain text that the path must begin and end with
	below          bool   // it is prefix and then **, such as /usr/lib/**: the most usual one
	re             *regexp.Regexp
}

// compileGlob fails for a pattern with a bracket or brace that has no partner, or
// an empty or reversed set.
func compileGlob(pattern string) (*glob, error) {
	t := translator{rest: pattern}
	for t.rest != "" {
		if err := t.next(); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	if t.depth > 0 {
		return nil, fmt.Errorf("pattern %q: a { without its }", pattern)
	}
	re, err := regexp.Compile(`(?s)\A(?:` + t.out.String() + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	below := strings.HasSuffix(t.prefix, "/") && pattern == t.prefix+"**"
	return &glob{text: pattern, prefix: t.prefix, suffix: t.suffix.String(), below: below, re: re}, nil
}

func (g *glob) match(path string) bool {
	if g.below {
		return len(path) > len(g.prefix) && path[:len(g.prefix)] == g.prefix && path[len(g.prefix)] != '/'
	}
	return strings.HasPrefix(path, g.prefix) && strings.HasSuffix(path, g.suffix) && g.re.MatchString(path)
}

// translator turns a pattern into a regular expression, one element at a time.
type translator struct {
	rest   string
	last   rune // the plain character before rest; 0 after anything else
	depth  int  // of braces
	out    strings.Builder
	prefix string          // plain text from the beginning on
	suffix strings.Builder // plain text since the last element that is none
	mixed  bool            // something that is no plain text was met
}

func (t *translator) next() error {
	c, size := utf8.DecodeRuneInString(t.rest)
	t.rest = t.rest[size:]
	switch {
	case c == '*':
		t.stars()
	case c == '?':
		t.special(`[^/]`)
	case c == '[':
		return t.set()
	case c == '{':
		t.depth++
		t.special(`(?:`)
	case c == '}':
		if t.depth--; t.depth < 0 {
			return errors.New("a } without its {")
		}
		t.special(`)`)
	case c == ',' && t.depth > 0:
		t.special(`|`)
	case c == '\\':
		if t.rest == "" {
			return errors.New(`a \ at the end`)
		}
		c, size = utf8.DecodeRuneInString(t.rest)
		t.rest = t.rest[size:]
		t.plain(c)
	default:
		t.plain(c)
	}
	return nil
}

func (t *translator) plain(c rune) {
	t.last = c
	t.out.WriteString(regexp.QuoteMeta(string(c)))
	if !t.mixed {
		t.prefix += string(c)
	}
	if t.depth == 0 {
		t.suffix.WriteRune(c)
	}
}

func (t *translator) special(expression string) {
	t.last, t.mixed = 0, true
	t.suffix.Reset()
	t.out.WriteString(expression)
}

// stars takes the stars that follow the first, too.
func (t *translator) stars() {
	after := strings.TrimLeft(t.rest, "*")
	double := len(after) < len(t.rest)
	t.rest = after
	whole := t.last == '/' && (after == "" || after[0] == '/') // all that is between two slashes
	switch {
	case double && whole:
		t.special(`[^/].*`)
	case double:
		t.special(`.*`)
	case whole:
		t.special(`[^/]+`)
	default:
		t.special(`[^/]*`)
	}
}

// set reads [abc], [a-z] or [^a], of which the bracket is already read.
func (t *translator) set() error {
	body := `[`
	rest, negated := strings.CutPrefix(t.rest, "^")
	if negated {
		body = `[^/`
	}
	t.rest = rest
	for first := true; ; first = false {
		switch {
		case t.rest == "":
			return errors.New("a [ without its ]")
		case t.rest[0] == ']' && first:
			return errors.New("an empty set")
		case t.rest[0] == ']':
			t.rest = t.rest[1:]
			if body == `[` { // of "/" alone
				body = `[^\x00-\x{10FFFF}`
			}
			t.special(body + `]`)
			return nil
		}
		lo, hi, err := t.span()
		if err != nil {
			return err
		}
		if lo <= '/' && '/' <= hi && !negated {
			body += charRange(lo, '/'-1) + charRange('/'+1, hi)
		} else {
			body += charRange(lo, hi)
		}
	}
}

// span reads one character of a set, or the two of a range.
func (t *translator) span() (lo, hi rune, err error) {
	if lo, err = t.member(); err != nil {
		return 0, 0, err
	}
	after, isRange := strings.CutPrefix(t.rest, "-")
	if !isRange {
		return lo, lo, nil
	}
	t.rest = after
	if hi, err = t.member(); err != nil {
		return 0, 0, err
	}
	if hi < lo {
		return 0, 0, errors.New("a reversed range in a set")
	}
	return lo, hi, nil
}

func (t *translator) member() (rune, error) {
	rest, escaped := strings.CutPrefix(t.rest, `\`)
	if rest == "" || !escaped && (rest[0] == '-' || rest[0] == ']') {
		return 0, errors.New("a set that is not complete")
	}
	c, size := utf8.DecodeRuneInString(rest)
	t.rest = rest[size:]
	return c, nil
}

// charRange writes a range for a regular expression, "" for an empty one.
func charRange(lo, hi rune) string {
	if lo > hi {
		return ""
	}
	return fmt.Sprintf(`\x{%X}-\x{%X}`, lo, hi)
}
