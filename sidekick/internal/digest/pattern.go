package digest

import "strings"

// maxPattern bounds a pattern, which is made of what the workload chooses.
const maxPattern = 256

// pattern is what strings have in common: a beginning and an end, cut at a
// separator.
type pattern struct {
	head, tail string
	open       bool // something else is between head and tail
	set        bool
}

func (p pattern) String() string {
	if p.open {
		return p.head + "*" + p.tail
	}
	return p.head
}

// patternOf is the pattern of one string.
func patternOf(s string) pattern {
	p := pattern{head: s, set: true}
	if len(s) > maxPattern {
		p.head, p.open = strings.ToValidUTF8(s[:maxPattern], ""), true
	}
	return p
}

// merge gives the pattern of what matches either.
func (p pattern) merge(q pattern) pattern {
	switch {
	case !p.set:
		return q
	case !q.set, p == q:
		return p
	}
	head := commonHead(p.head, q.head)
	tail := commonTail(p.end(), q.end())
	// Where a string is short, its head and its tail must not overlap.
	for _, one := range []pattern{p, q} {
		if over := len(head) + len(tail) - len(one.head); !one.open && over > 0 {
			tail = afterSeparator(tail[min(over, len(tail)):])
		}
	}
	return pattern{head: head, tail: tail, open: true, set: true}
}

// end is what the matching strings end with.
func (p pattern) end() string {
	if p.open {
		return p.tail
	}
	return p.head
}

func commonHead(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && !isSeparator(a[n-1]) {
		n--
	}
	return a[:n]
}

func commonTail(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return afterSeparator(a[len(a)-n:])
}

// afterSeparator cuts s so that it begins with a separator.
func afterSeparator(s string) string {
	for i := range len(s) {
		if isSeparator(s[i]) {
			return s[i:]
		}
	}
	return ""
}

// isSeparator says whether c separates parts of a path or address. It is always ASCII, so that a cut never
// goes through a rune.
func isSeparator(c byte) bool { return strings.IndexByte("/ =.:,-_", c) >= 0 }
