package schema

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string; null leaves into as it is.
func (s *scanner) str(into *string) error {
	if s.peek() == '"' {
		v, err := s.quoted()
		*into = v
		return err
	}
	if s.null() {
		return nil
	}
	return s.mismatch("a string")
}

// quoted reads the string that starts at the current quote.
func (s *scanner) quoted() (string, error) {
	s.at++
	i := plainEnd(s.text, s.at)
	if i == len(s.text) {
		s.at = i
		return "", s.syntax("the end of a string")
	}
	switch s.text[i] {
	case '"':
		v := s.text[s.at:i]
		s.at = i + 1
		return v, s.stringSize(v)
	case '\\':
		return s.unescape(i)
	}
	s.at = i
	return "", s.syntax("part of a string: control characters are escaped")
}

// plainEnd gives the index, from at on, of the first byte that does not stand for
// itself in a string: a quote, a backslash or a control character. It looks at eight
// bytes at a time: for each of the three the lowest byte that is marked is right.
func plainEnd(text string, at int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; at+8 <= len(text); at += 8 {
		t := text[at : at+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		quote, backslash := w^ones*'"', w^ones*'\\'
		marks := ((w-ones*' ')&^w | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
		if marks != 0 {
			return at + bits.TrailingZeros64(marks)/8
		}
	}
	for ; at < len(text); at++ {
		if c := text[at]; c == '"' || c == '\\' || c < ' ' {
			return at
		}
	}
	return at
}

func (s *scanner) stringSize(v string) error {
	if s.limited && len(v) > MaxStringBytes {
		return s.fail("has %d bytes: at most %d are allowed", len(v), MaxStringBytes)
	}
	return nil
}

// unescape reads on from the first backslash, at i.
func (s *scanner) unescape(i int) (string, error) {
	out := append(make([]byte, 0, i-s.at+64), s.text[s.at:i]...)
	for s.at = i; s.at < len(s.text); {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			v := string(out)
			return v, s.stringSize(v)
		case c < ' ':
			return "", s.syntax("part of a string: control characters are escaped")
		case c != '\\':
			end := plainEnd(s.text, s.at)
			out = append(out, s.text[s.at:end]...)
			s.at = end
		default:
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", s.syntax("the end of a string")
}

// escape reads one escape sequence. Half a surrogate pair stands for no character:
// a program that cuts texts makes such halves. It becomes the replacement
// character, as with encoding/json, since the event is worth more.
func (s *scanner) escape() (rune, error) {
	s.at++ // the backslash
	if s.at == len(s.text) {
		return 0, s.syntax("an escape sequence")
	}
	c := s.text[s.at]
	if plain := strings.IndexByte(`"\/bfnrt`, c); plain >= 0 {
		s.at++
		return rune("\"\\/\b\f\n\r\t"[plain]), nil
	}
	r, ok := s.hex4()
	if !ok {
		return 0, s.fail("not JSON: a string has an invalid escape sequence before byte %d", s.at)
	}
	if utf16.IsSurrogate(r) {
		return s.pair(r), nil
	}
	return r, nil
}

// pair reads what follows a surrogate, if that makes a character of the two.
func (s *scanner) pair(high rune) rune {
	if s.at < len(s.text) && s.text[s.at] == '\\' {
		before := s.at
		s.at++
		if low, ok := s.hex4(); ok {
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				return r
			}
		}
		s.at = before // an escape sequence by itself
	}
	s.broken = true
	return utf8.RuneError
}

// hex4 reads "uXXXX".
func (s *scanner) hex4() (rune, bool) {
	if s.at+5 > len(s.text) || s.text[s.at] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(s.text[s.at+1:s.at+5], 16, 16)
	s.at += 5
	return rune(v), err == nil
}

// number reads a number by JSON's grammar and gives its text.
func (s *scanner) number() (string, error) {
	start := s.at
	if s.text[s.at] == '-' {
		s.at++
	}
	leadingZero := s.at < len(s.text) && s.text[s.at] == '0'
	whole := s.digits()
	ok := whole == 1 || whole > 1 && !leadingZero
	if ok && s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		ok = s.digits() > 0
	}
	if ok && s.at < len(s.text) && (s.text[s.at] == 'e' || s.text[s.at] == 'E') {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		ok = s.digits() > 0
	}
	if !ok {
		return "", s.fail("not JSON: a malformed number before byte %d", s.at)
	}
	return s.text[start:s.at], nil
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}

// small reads a whole number of at most nine digits, which most are. It reads
// nothing when there is anything else.
func (s *scanner) small() (v int64, ok bool) {
	s.peek()
	for i := s.at; i < len(s.text) && i <= s.at+9; i++ {
		c := s.text[i]
		if c >= '0' && c <= '9' {
			v = 10*v + int64(c-'0')
			continue
		}
		if i == s.at || s.text[s.at] == '0' && i > s.at+1 || c != ',' && c != '}' {
			return 0, false
		}
		s.at = i
		return v, true
	}
	return 0, false
}

func (s *scanner) integer(size int) (int64, error) {
	if v, ok := s.small(); ok {
		return v, nil
	}
	if s.null() {
		return 0, nil
	}
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, s.mismatch("a whole number")
	}
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	if strings.ContainsAny(text, ".eE") {
		return 0, s.fail("must be a whole number, without a point or an exponent")
	}
	v, err := strconv.ParseInt(text, 10, size)
	if err != nil {
		return 0, s.fail("is out of range: it must be from %d to %d", int64(math.MinInt64)>>(64-size), int64(math.MaxInt64)>>(64-size))
	}
	return v, nil
}
