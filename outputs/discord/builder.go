package discord

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
)

// builder fills an embed and keeps it within Discord's limits: what would not
// fit is left out, and the last field says how much that was.
type builder struct {
	embed embed
	used  int // characters that count towards maxTotal
	slots int // fields that are spoken for
	left  int // fields that were left out
}

func (b *builder) title(s string) {
	b.embed.Title = s
	b.used += clip.Units(s)
}

func (b *builder) describe(s string) {
	if blank(s) {
		return
	}
	b.embed.Description = s
	b.used += clip.Units(s)
}

func (b *builder) foot(s string) {
	s = clip.Line(s, 600, nil)
	b.embed.Footer = &footer{Text: s}
	b.used += clip.Units(s)
}

// reserve keeps room for fields that come last, release gives it back to them.
// Together with them it holds one slot and some room for the note of what was
// left out.
func (b *builder) reserve(list []field) {
	b.slots += len(list) + 1
	b.used += size(list) + noteSize
}

func (b *builder) release(list []field) {
	b.slots -= len(list) + 1
	b.used -= size(list) + noteSize
	if b.left > 0 {
		b.field(clip.Ellipsis, fmt.Sprintf("%d more fields", b.left))
	}
}

const noteSize = 50

func size(list []field) int {
	n := 0
	for _, f := range list {
		n += clip.Units(f.Name) + clip.Units(f.Value)
	}
	return n
}

// field adds a field, unless it is empty, which Discord refuses, or does not
// fit.
func (b *builder) field(name, value string) {
	if blank(value) {
		return
	}
	if blank(name) {
		name = "(no name)"
	}
	f := field{Name: name, Value: value, Inline: true}
	n := size([]field{f})
	if len(b.embed.Fields)+b.slots >= maxFields || b.used+n > maxTotal {
		b.left++
		return
	}
	b.used += n
	b.embed.Fields = append(b.embed.Fields, f)
}

// blank says whether Discord would take s for empty.
func blank(s string) bool {
	return strings.TrimFunc(s, unicode.IsSpace) == ""
}

// markdown escapes what Discord takes for markup, links and mentions included. The
// colon is there for bare addresses, of which Discord makes links (https://…), and
// for names of emoji (:tada:).
func markdown(r rune) string {
	if strings.ContainsRune("\\*_~|`<>[]()#@:", r) {
		return `\` + string(r)
	}
	return string(r)
}

// unneeded: before a blank a colon makes nothing, and texts are full of them.
const unneeded, colon = `\: `, ": "

// line and lines are text in which Discord finds no markup, at most limit long.
func line(s string, limit int) string {
	return strings.ReplaceAll(clip.Line(s, limit, markdown), unneeded, colon)
}

func lines(s string, limit int) string {
	return strings.ReplaceAll(clip.Lines(s, limit, markdown), unneeded, colon)
}

// inCode keeps text between backticks from ending them.
func inCode(r rune) string {
	if r == '`' {
		return "ˋ"
	}
	return string(r)
}

// inline is the value of a short field, as plain text.
func inline(s string) string { return line(s, 500) }

// code shows s between backticks, in at most limit characters.
func code(s string, limit int) string {
	if blank(s) {
		return ""
	}
	return "`" + clip.Line(s, limit-2, inCode) + "`"
}

// block shows s in a block of code, as FalcoSidekick shows output fields. Of
// several lines Discord would take the first for the name of a language, and hide
// it.
func block(s string) string {
	if blank(s) {
		return ""
	}
	begin := "```"
	if strings.Contains(s, "\n") {
		begin += "\n"
	}
	return begin + clip.Lines(s, maxValue-7, inCode) + "```"
}
