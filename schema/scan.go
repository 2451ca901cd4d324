package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner reads one JSON text strictly: RFC 8259, with the limits of this
// package and without duplicate keys. encoding/json would take the last of two
// equal keys, replace invalid text silently and name fields by their Go names.
type scanner struct {
	text    string
	at      int
	depth   int
	path    []step   // to the value that is being read
	keys    []string // of the objects that are open, to find duplicates
	limited bool     // sizes are checked; an event from our own store may exceed them

	checking bool                  // what takes memory of its own is read, but not kept
	exec     ExecEvent             // is read to, when checking
	after    *[maxFields]*spelling // by number of a field, which one came after it last; nil with a single event

	// What was read and would not be there again if what was read was written.
	foreign bool // keys of no field
	empty   bool // lists without items
	broken  bool // halves of surrogate pairs
	blank   int  // bytes between values

	camel bool // a key is spelled as the daemon spells it
}

// step is a key of an object or an item of a list.
type step struct {
	key   string
	index int // -1 with a key
}

func newScanner(body []byte, limited bool) (*scanner, error) {
	if err := acceptable(body, limited); err != nil {
		return nil, err
	}
	// One copy that all strings of the event share.
	return scanText(string(body), limited), nil
}

// acceptable looks at the size and the encoding of a body.
func acceptable(body []byte, limited bool) error {
	switch {
	case limited && len(body) > MaxEventBytes:
		return &FieldError{Reason: fmt.Sprintf("the event has %d bytes: at most %d are allowed", len(body), MaxEventBytes)}
	case hasPrefix(body, "\xef\xbb\xbf"):
		return &FieldError{Reason: "the event starts with a byte order mark: send UTF-8 without one"}
	case hasPrefix(body, "\xff\xfe"), hasPrefix(body, "\xfe\xff"), hasPrefix(body, "{\x00"), hasPrefix(body, "\x00{"):
		return &FieldError{Reason: "the event is UTF-16: send UTF-8"}
	case !utf8.Valid(body):
		return &FieldError{Reason: "the event is not UTF-8"}
	}
	return nil
}

func scanText(text string, limited bool) *scanner {
	return &scanner{text: text, limited: limited, keys: make([]string, 0, 16)}
}

func hasPrefix(body []byte, prefix string) bool {
	return len(body) >= len(prefix) && string(body[:len(prefix)]) == prefix
}

// document reads the whole text: one object, each called for every key with the
// scanner before its value, and nothing after it.
func (s *scanner) document(each func(key string) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.object(each); err != nil {
		return err
	}
	return s.end()
}

func (s *scanner) begin() error {
	if s.peek() == 0 && s.at == len(s.text) {
		return s.fail("the event is empty")
	}
	return nil
}

func (s *scanner) end() error {
	if s.peek(); s.at != len(s.text) {
		return s.fail("there is text after the event")
	}
	return nil
}

func (s *scanner) fail(format string, args ...any) error {
	var field strings.Builder
	for i, p := range s.path {
		switch {
		case p.index >= 0:
			fmt.Fprintf(&field, "[%d]", p.index)
		case i > 0:
			field.WriteString("." + shorten(p.key))
		default:
			field.WriteString(shorten(p.key))
		}
	}
	return &FieldError{Field: field.String(), Reason: fmt.Sprintf(format, args...)}
}

// shorten keeps a hostile key from filling a log line.
func shorten(key string) string {
	const limit = 64
	if len(key) <= limit {
		return key
	}
	return strings.ToValidUTF8(key[:limit], "") + "…"
}

// peek skips white space and gives the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) && s.text[s.at] > ' ' {
		return s.text[s.at]
	}
	return s.peekOn()
}

// peekOn is the rest of peek, which is small enough to be a part of its callers.
func (s *scanner) peekOn() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.blank++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) syntax(want string) error {
	if s.at >= len(s.text) {
		return s.fail("not JSON: the text ends where %s should be", want)
	}
	return s.fail("not JSON: byte %d is not %s", s.at, want)
}

// mismatch is the error for a value that is well-formed but not what is wanted.
func (s *scanner) mismatch(want string) error {
	var have string
	switch c := s.peek(); {
	case c == '"':
		have = "a string"
	case c == '{':
		have = "an object"
	case c == '[':
		have = "a list"
	case c == 't' || c == 'f':
		have = "true or false"
	case c == '-' || c >= '0' && c <= '9':
		have = "a number"
	default:
		return s.syntax(want)
	}
	return s.fail("must be %s, not %s", want, have)
}

// null takes a null, which for every field counts as not given.
func (s *scanner) null() bool {
	if s.peek() == 'n' && strings.HasPrefix(s.text[s.at:], "null") {
		s.at += len("null")
		return true
	}
	return false
}

func (s *scanner) open(c byte, want string) error {
	if s.peek() != c {
		return s.mismatch(want)
	}
	s.at++
	if s.depth++; s.limited && s.depth > MaxDepth {
		return s.fail("is nested more than %d deep", MaxDepth)
	}
	return nil
}

// next goes past the comma before member n of an object or list, or past its
// end, which it reports.
func (s *scanner) next(n int, end byte) (more bool, err error) {
	switch c := s.peek(); {
	case c == end:
		s.at++
		s.depth--
		return false, nil
	case n == 0:
	case c == ',':
		s.at++
	default:
		return false, s.syntax(strconv.QuoteRune(rune(end)) + " or a comma")
	}
	if s.limited && n == MaxEntries {
		return false, s.fail("has more than %d entries", MaxEntries)
	}
	return true, nil
}

func (s *scanner) object(each func(key string) error) error {
	if err := s.open('{', "an object"); err != nil {
		return err
	}
	first := len(s.keys)
	var known keySet
	for n := 0; ; n++ {
		more, err := s.next(n, '}')
		if err != nil {
			return err
		}
		if !more {
			s.keys = s.keys[:first]
			return nil
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if err := s.noteKey(first, &known, key); err != nil {
			return err
		}
		if err := s.colon(); err != nil {
			return err
		}
		if err := each(key); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
	}
}

// key reads a key, which from then on is where errors are.
func (s *scanner) key() (string, error) {
	if s.peek() != '"' {
		return "", s.syntax("a key in quotes")
	}
	key, err := s.quoted()
	if err == nil {
		s.path = append(s.path, step{key: key, index: -1})
	}
	return key, err
}

// noteKey refuses a key that the object, whose keys are from first on, has already
// had.
func (s *scanner) noteKey(first int, known *keySet, key string) error {
	if known.has(s.keys[first:], key) {
		return s.fail("is given twice")
	}
	s.keys = append(s.keys, key)
	return nil
}

func (s *scanner) colon() error {
	if s.peek() != ':' {
		return s.syntax("a colon")
	}
	s.at++
	return nil
}

// keySet finds keys that an object has already had. The keys of an event are
// few enough that a map would only be slower; more are a hostile sender's.
type keySet map[string]bool

func (k *keySet) has(keys []string, key string) bool {
	const few = 64
	if len(keys) < few {
		return slices.Contains(keys, key)
	}
	if *k == nil {
		*k = make(keySet, 2*few)
		for _, earlier := range keys {
			(*k)[earlier] = true
		}
	}
	had := (*k)[key]
	(*k)[key] = true
	return had
}

func (s *scanner) list(each func() error) error {
	if err := s.open('[', "a list"); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := s.next(n, ']')
		if err != nil || !more {
			return err
		}
		s.path = append(s.path, step{index: n})
		if err := each(); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
	}
}

// skip reads a value of any type and forgets it.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(func(string) error { return s.skip() })
	case c == '[':
		return s.list(s.skip)
	case c == '"':
		_, err := s.quoted()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := s.number()
		return err
	case s.null():
		return nil
	}
	for _, word := range []string{"true", "false"} {
		if strings.HasPrefix(s.text[s.at:], word) {
			s.at += len(word)
			return nil
		}
	}
	return s.syntax("a value")
}

// Check reads body and reports what Decode would refuse of any event, whatever
// its fields: what is not one JSON object in UTF-8, exceeds the limits or has a
// key twice. Keys of the first level are the same when fold makes them the same.
// The error is a *FieldError.
func Check(body []byte, fold func(key string) string) error {
	s, err := newScanner(body, true)
	if err != nil {
		return err
	}
	first := make(map[string]string)
	return s.document(func(key string) error {
		if before, ok := first[fold(key)]; ok {
			return s.fail("is given twice, as %s before", shorten(before))
		}
		first[fold(key)] = key
		return s.skip()
	})
}
