package document

import (
	"fmt"
	"strings"
)

// put gives the map at p the member key, or gives the one that is there another
// value.
func (d *Document) put(p Path, key string, v any) error {
	n := d.At(p)
	if n == nil || n.Kind != Map {
		return d.notA("map", p, n)
	}
	if m := n.member(key); m != nil {
		return d.fill(n, m, v)
	}
	if len(n.Members) == 0 {
		return d.refill(p, Entries{{key, v}})
	}
	last := n.Members[len(n.Members)-1]
	w := d.writer(n)
	if n.syntax == blockSyntax {
		at := lineEnd(d.text, max(last.Slot, last.Value.End))
		column := last.Start - lineStart(d.text, last.Start)
		text, err := w.block(Entries{{key, v}}, column)
		if err != nil {
			return err
		}
		return d.splice(at, at, w.newline+strings.Repeat(" ", column)+text)
	}
	separator, long := d.separator(n)
	text := w.key(key) + w.colon + w.inline(v, w.indentation(last.Start), long)
	return d.splice(last.Value.End, last.Value.End, separator+text)
}

// fill puts another value in the place of a member's.
func (d *Document) fill(n *Node, m *Member, v any) error {
	w := d.writer(n)
	if n.syntax == blockSyntax {
		column := m.Start - lineStart(d.text, m.Start)
		text, err := w.block(Entries{{m.Key, v}}, column)
		if err != nil {
			return err
		}
		_, value, _ := strings.Cut(text, ":")
		return d.splice(m.Slot, m.Value.End, value)
	}
	_, long := d.separator(n)
	return d.splice(m.Value.Start, m.Value.End, w.inline(v, w.indentation(m.Start), long))
}

// refill replaces the empty collection at p.
func (d *Document) refill(p Path, v any) error {
	if len(p) == 0 {
		return fmt.Errorf("the text is an empty collection")
	}
	last := p[len(p)-1]
	parent := d.At(p[:len(p)-1])
	if last.Key != "" {
		return d.fill(parent, parent.member(last.Key), v)
	}
	n := d.At(p)
	w := d.writer(n)
	_, long := d.separator(parent)
	return d.splice(n.Start, n.End, w.inline(v, w.indentation(n.Start), long && parent.syntax != blockSyntax))
}

// add puts an item at the end of the list at p.
func (d *Document) add(p Path, v any) error {
	n := d.At(p)
	if n == nil || n.Kind != List {
		return d.notA("list", p, n)
	}
	if len(n.Items) == 0 {
		return d.refill(p, Items{v})
	}
	last := n.Items[len(n.Items)-1]
	w := d.writer(n)
	if n.syntax == blockSyntax {
		at := lineEnd(d.text, n.End)
		column := n.dash(d.text)
		text, err := w.block(v, column+2)
		if err != nil {
			return err
		}
		return d.splice(at, at, w.newline+strings.Repeat(" ", column)+"- "+text)
	}
	separator, _ := d.separator(n)
	separator = "," + strings.TrimPrefix(separator, ",")
	long := strings.Contains(d.text[last.Start:last.End], "\n")
	return d.splice(last.End, last.End, separator+w.inline(v, w.indentation(last.Start), long))
}

// insert puts items at the beginning of the list at p.
func (d *Document) insert(p Path, items Items) error {
	n := d.At(p)
	if n == nil || n.Kind != List {
		return d.notA("list", p, n)
	}
	if len(n.Items) == 0 {
		return d.refill(p, items)
	}
	w := d.writer(n)
	var b strings.Builder
	if n.syntax == blockSyntax {
		for _, item := range items {
			text, err := w.block(item, n.dash(d.text)+2)
			if err != nil {
				return err
			}
			b.WriteString("- " + text + w.newline + strings.Repeat(" ", n.dash(d.text)))
		}
		at := lineStart(d.text, n.Start) + n.dash(d.text)
		return d.splice(at, at, b.String())
	}
	first := n.Items[0]
	separator := ", "
	if gap := d.text[n.Start:first.Start]; strings.Contains(gap, "\n") {
		separator = "," + w.newline + w.indentation(first.Start)
	}
	long := strings.Contains(d.text[first.Start:first.End], "\n")
	for _, item := range items {
		b.WriteString(w.inline(item, w.indentation(first.Start), long) + separator)
	}
	return d.splice(first.Start, first.Start, b.String())
}

// remove takes the member key away from the map at p.
func (d *Document) remove(p Path, key string) error {
	n := d.At(p)
	if n == nil || n.Kind != Map || n.member(key) == nil {
		return nil
	}
	at := 0
	for n.Members[at].Key != key {
		at++
	}
	m := n.Members[at]
	end := max(m.Slot, m.Value.End)
	switch {
	case len(n.Members) == 1:
		return d.empty(p, n, m.Start, end, "{}")
	case n.syntax == blockSyntax && at > 0:
		return d.splice(previousEnd(d.text, m.Start), lineEnd(d.text, end), "")
	case at > 0:
		previous := n.Members[at-1]
		return d.splice(max(previous.Slot, previous.Value.End), end, "")
	}
	return d.splice(m.Start, n.Members[1].Start, "")
}

// removeItem takes item i away from the list at p.
func (d *Document) removeItem(p Path, i int) error {
	n := d.At(p)
	it := n.Items[i]
	switch {
	case len(n.Items) == 1:
		return d.empty(p, n, it.Start, it.End, "[]")
	case n.syntax == blockSyntax && i > 0:
		return d.splice(previousEnd(d.text, n.dashOf(d.text, i)), lineEnd(d.text, it.End), "")
	case n.syntax == blockSyntax:
		return d.splice(n.dashOf(d.text, 0), n.dashOf(d.text, 1), "")
	case i > 0:
		return d.splice(n.Items[i-1].End, it.End, "")
	}
	return d.splice(it.Start, n.Items[1].Start, "")
}

// empty leaves nothing in the collection at p but its brackets.
func (d *Document) empty(p Path, n *Node, from, to int, brackets string) error {
	if n.syntax != blockSyntax {
		return d.splice(from, to, "")
	}
	if len(p) > 0 && p[len(p)-1].Key != "" {
		m := d.At(p[:len(p)-1]).member(p[len(p)-1].Key)
		return d.splice(m.Slot, m.Value.End, " "+brackets)
	}
	return d.splice(n.Start, n.End, brackets)
}

// previousEnd is the end of the line before the one that at is in.
func previousEnd(text string, at int) int {
	start := lineStart(text, at)
	if start == 0 {
		return 0
	}
	if strings.HasSuffix(text[:start], "\r\n") {
		return start - 2
	}
	return start - 1
}

// dash is the column of the dashes of a block list.
func (n *Node) dash(text string) int { return n.Start - lineStart(text, n.Start) }

// dashOf is the place of the dash of item i.
func (n *Node) dashOf(text string, i int) int {
	column := n.dash(text)
	for at := lineStart(text, n.Items[i].Start); ; at = lineStart(text, at-1) {
		if at+column < len(text) && text[at+column] == '-' && at+column < n.Items[i].Start || at == 0 {
			return at + column
		}
	}
}

// separator is what stands between the last two items of a collection between
// brackets, and whether its items have lines of their own.
func (d *Document) separator(n *Node) (string, bool) {
	var starts, ends []int
	for _, m := range n.Members {
		starts, ends = append(starts, m.Start), append(ends, max(m.Slot, m.Value.End))
	}
	for _, it := range n.Items {
		starts, ends = append(starts, it.Start), append(ends, it.End)
	}
	if len(starts) == 0 {
		return ",", strings.Contains(d.text[n.Start:n.End], "\n")
	}
	if len(starts) > 1 {
		gap := d.text[ends[len(ends)-2]:starts[len(starts)-1]]
		if trimmed := strings.TrimSpace(gap); trimmed == "," || trimmed == "" {
			// One line break, and no blank lines.
			comma, rest, _ := strings.Cut(gap, "\n")
			if comma != gap {
				return strings.TrimRight(comma, "\r") + d.writer(n).newline + rest[strings.LastIndexByte(rest, '\n')+1:], true
			}
			return gap, false
		}
	}
	first := starts[0]
	if strings.Contains(d.text[n.Start:first], "\n") {
		w := d.writer(n)
		comma := ","
		if n.syntax == hclSyntax && n.Kind == Map {
			comma = ""
		}
		return comma + w.newline + w.indentation(starts[len(starts)-1]), true
	}
	return ", ", false
}

func (d *Document) notA(what string, p Path, n *Node) error {
	if n == nil {
		return fmt.Errorf("%s: is not there", p)
	}
	if n.Kind == Opaque {
		return fmt.Errorf("line %d: %s is not written out, but %s", d.Line(n), p, firstLine(n.Value))
	}
	return fmt.Errorf("line %d: %s is no %s", d.Line(n), p, what)
}

// String is the path as it is named in errors.
func (p Path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch {
		case s.Key != "" && b.Len() > 0:
			b.WriteString("." + s.Key)
		case s.Key != "":
			b.WriteString(s.Key)
		case s.Name != "":
			b.WriteString("[" + s.Name + "]")
		default:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return b.String()
}
