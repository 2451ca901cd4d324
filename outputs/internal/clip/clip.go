// Package clip makes foreign text fit to be shown: printable, and no longer
// than a service takes. It does not know any service's markup.
package clip

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Ellipsis ends every text that was cut.
const Ellipsis = "…"

// Units is the length of s in UTF-16 code units. Services count characters in
// different ways; no usual way gives more than this, so it is the safe one.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// Line gives s on one line, at most limit units long. What does not print
// (control and format characters, line ends, broken UTF-8) is shown as Go
// writes it in a string: \n, \x1b, \u202e. escape, when not nil, gives what
// stands for a rune in the service's markup; it is never cut in two.
func Line(s string, limit int, escape func(rune) string) string {
	return fit(s, limit, escape, false)
}

// Lines is Line for text that may have several: line ends and tabs stay.
func Lines(s string, limit int, escape func(rune) string) string {
	return fit(s, limit, escape, true)
}

// fit stops reading as soon as the limit is reached, so that a huge string
// costs no more than a short one.
func fit(s string, limit int, escape func(rune) string, multiline bool) string {
	var b strings.Builder
	used, keep := 0, 0 // keep: length of b that leaves room for the ellipsis
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := visible(r, s[i:i+size], multiline)
		if escape != nil {
			piece = escapeAll(piece, escape)
		}
		n := Units(piece)
		if used+n > limit {
			return b.String()[:keep] + Ellipsis
		}
		b.WriteString(piece)
		used += n
		if used < limit {
			keep = b.Len()
		}
		i += size
	}
	return b.String()
}

func visible(r rune, raw string, multiline bool) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case unicode.IsPrint(r), multiline && (r == '\n' || r == '\t'):
		return raw
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

func escapeAll(s string, escape func(rune) string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(escape(r))
	}
	return b.String()
}

// Bytes cuts s to at most limit bytes, between runes, the ellipsis included.
func Bytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := max(limit-len(Ellipsis), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + Ellipsis
}
