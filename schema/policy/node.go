package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Limits of one file. A policy of a thousand rules is about 100 KiB.
const (
	maxFileBytes = 1 << 20
	maxVisits    = 500_000 // nodes looked at, aliases followed: a small file can refer to itself very often
	maxErrors    = 20      // reported; the rest is as likely to follow from the first
)

// Error is one thing wrong in a policy file.
type Error struct {
	File  string
	Line  int    // from 1
	Field string // as in spec.file.matchPaths[0].path; "" where it is about no single one
	What  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What) }

// reader walks the nodes of one file and gathers what is wrong with them, so
// that one look at the errors is enough to mend a file.
type reader struct {
	file     string
	before   int // lines of the file that stand before what is read
	strict   bool
	single   bool       // a document is one policy
	root     *yaml.Node // of the current document
	errs     []error
	visits   int
	warnings []string // of the current document
}

func (r *reader) errorf(n *yaml.Node, format string, args ...any) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, &Error{File: r.file, Line: r.before + n.Line, Field: field(r.root, n, ""), What: fmt.Sprintf(format, args...)})
	}
}

func (r *reader) errorAt(line int, format string, args ...any) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, &Error{File: r.file, Line: r.before + max(line, 1), What: fmt.Sprintf(format, args...)})
	}
}

// field says where below at, which is called name, a node stands; "" where it does
// not. Aliases are not followed: what is wrong behind one is wrong where it is written.
func field(at, n *yaml.Node, name string) string {
	if at == nil || at == n {
		return name
	}
	for i, child := range at.Content {
		below := fmt.Sprintf("%s[%d]", name, i)
		if at.Kind == yaml.MappingNode {
			below = strings.TrimPrefix(name+"."+shorten(at.Content[i&^1].Value), ".")
		}
		if found := field(child, n, below); found != "" {
			return found
		}
	}
	return ""
}

func (r *reader) warnf(n *yaml.Node, format string, args ...any) {
	if len(r.warnings) < maxErrors {
		r.warnings = append(r.warnings, fmt.Sprintf("%s:%d: %s", r.file, r.before+n.Line, fmt.Sprintf(format, args...)))
	}
}

// doubtf tells of what KubeArmor takes although it means less than is written: a
// warning, and an error where that is wanted.
func (r *reader) doubtf(n *yaml.Node, format string, args ...any) {
	if r.strict {
		r.errorf(n, format, args...)
		return
	}
	r.warnf(n, format, args...)
}

func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b error) int { return cmp.Compare(lineOf(a), lineOf(b)) })
	return errors.Join(r.errs...)
}

func lineOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Line
	}
	return 0
}

// node follows an alias and counts the visit; nil when the file is too large to
// go on.
func (r *reader) node(n *yaml.Node) *yaml.Node {
	if r.visits++; r.visits > maxVisits {
		if r.visits == maxVisits+1 {
			r.errorf(n, "too many values: a file holds at most %d, aliases followed", maxVisits)
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fields are the keys that a mapping may have and what to do with their values.
type fields map[string]func(n *yaml.Node)

// mapping walks the mapping n, called what in errors. A key that f does not have
// is passed over, and of a key given twice the last counts, as where Kubernetes
// takes the policy; both are doubtful. A null value counts as not given.
func (r *reader) mapping(n *yaml.Node, what string, f fields) {
	if n = r.node(n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "%s must be a mapping, not %s", what, kindName(n))
		return
	}
	last := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		last[keyText(n.Content[i])] = i
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.node(n.Content[i]), r.node(n.Content[i+1])
		if key == nil || value == nil {
			return
		}
		if key.Kind != yaml.ScalarNode {
			r.errorf(key, "%s has a key that is %s: keys are plain words", what, kindName(key))
			continue
		}
		if other := last[keyText(n.Content[i])]; other != i {
			r.doubtf(key, "%s gives %s twice: what stands in line %d counts", what, quote(key.Value), r.before+n.Content[other].Line)
			continue
		}
		use, ok := f[key.Value]
		if !ok {
			r.doubtf(key, "%s", unknownKey(key.Value, what, f))
			continue
		}
		if !isNull(value) {
			use(value)
		}
	}
}

// keyText is the text of a key, behind an alias too.
func keyText(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		return n.Alias.Value
	}
	return n.Value
}

// list walks the sequence n.
func (r *reader) list(n *yaml.Node, what string, each func(n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.errorf(n, "%s must be a list, not %s", what, kindName(n))
		return
	}
	for _, item := range n.Content {
		if item = r.node(item); item == nil {
			return
		}
		each(item)
	}
}

func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode {
		r.errorf(n, "%s must be a string, not %s", what, kindName(n))
		return ""
	}
	if tag := n.ShortTag(); tag != "!!str" {
		r.errorf(n, "%s must be a string, not %s: write \"%s\"", what, kindName(n), n.Value)
		return ""
	}
	return n.Value
}

func (r *reader) texts(n *yaml.Node, what string) []string {
	var all []string
	r.list(n, what, func(n *yaml.Node) {
		all = append(all, r.text(n, "an item of "+what))
	})
	return all
}

func (r *reader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.errorf(n, "%s must be true or false, not %s", what, kindName(n))
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func (r *reader) integer(n *yaml.Node, what string, low, high int) int {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		r.errorf(n, "%s must be a whole number from %d to %d, not %s", what, low, high, kindName(n))
		return 0
	}
	v, err := strconv.Atoi(n.Value)
	if err != nil || v < low || v > high {
		r.errorf(n, "%s is %s: it must be from %d to %d", what, n.Value, low, high)
		return 0
	}
	return v
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!str":
		return "the string " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return shorten(n.Value)
	}
	return "a " + shorten(strings.TrimPrefix(n.ShortTag(), "!!"))
}

func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten keeps a hostile file from writing a page into a log line.
func shorten(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func unknownKey(key, what string, f fields) string {
	known := make([]string, 0, len(f))
	for k := range f {
		known = append(known, k)
	}
	slices.Sort(known)
	if hint := closest(key, known); hint != "" {
		return fmt.Sprintf("%s has no key %s: did you mean %q?", what, quote(key), hint)
	}
	return fmt.Sprintf("%s has no key %s: it knows %s", what, quote(key), strings.Join(known, ", "))
}

// closest gives the word that is most likely meant by a misspelt one, or "".
// Words that are much longer than any key mean none.
func closest(word string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if strings.EqualFold(word, k) {
			return k
		}
		if len(word) > 40 {
			continue
		}
		if d := levenshtein.ComputeDistance(word, k); d < bestDistance && d < len(k)/2 {
			best, bestDistance = k, d
		}
	}
	return best
}
