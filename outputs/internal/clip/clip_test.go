package clip_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
)

func entity(r rune) string {
	if r == '<' {
		return "&lt;"
	}
	return string(r)
}

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		limit    int
		escape   func(rune) string
		want     string
	}{
		{"empty", "", 5, nil, ""},
		{"fits exactly", "abcde", 5, nil, "abcde"},
		{"one too many", "abcdef", 5, nil, "abcd…"},
		{"control characters show", "a\x1b[31m\nb\r\tc\x00", 50, nil, `a\x1b[31m\nb\r\tc\x00`},
		{"direction override shows", "exe\u202etxt", 50, nil, `exe\u202etxt`},
		{"format character beyond the basic plane", "\U000e0001", 50, nil, `\U000e0001`},
		{"broken UTF-8 shows", "a\xff\xc3", 50, nil, `a\xff\xc3`},
		{"a real replacement character stays", "\ufffd", 50, nil, "\ufffd"},
		{"surrogate pair counts two", "😀😀😀", 5, nil, "😀😀…"},
		{"surrogate pair fits", "😀😀", 4, nil, "😀😀"},
		{"entity counts whole", "<<<", 12, entity, "&lt;&lt;&lt;"},
		{"entity is never cut", "<<<", 11, entity, "&lt;&lt;…"},
		{"visible escape is never cut", "ab\x00", 5, nil, "ab…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := clip.Line(tt.in, tt.limit, tt.escape); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLinesKeepsLineEnds(t *testing.T) {
	if got, want := clip.Lines("a\n\tb\r\x1b", 50, nil), "a\n\tb\\r\\x1b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcdef", 5, "ab…"},
		{"ääää", 7, "ää…"},
		{"ääää", 6, "ä…"},
		{"日本語", 8, "日…"},
	} {
		if got := clip.Bytes(tt.in, tt.limit); got != tt.want {
			t.Errorf("Bytes(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\xff<😀\u202e", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 1 || limit > 1000 {
			t.Skip()
		}
		got := clip.Line(s, limit, entity)
		if n := clip.Units(got); n > limit {
			t.Fatalf("%d units, the limit is %d: %q", n, limit, got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Fatalf("not printable: %q", got)
		}
	})
}
