package document

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// YAML reads a stream of YAML documents. The root is the list of them.
func YAML(text string) (*Node, error) {
	r := yamlReader{text: text}
	for i := 0; i <= len(text); i++ {
		if i == 0 || text[i-1] == '\n' {
			r.lines = append(r.lines, i)
		}
	}
	root := &Node{Kind: List, End: len(text), whole: wholeStream, syntax: blockSyntax}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return root, nil
		} else if err != nil {
			return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		n, err := r.node(doc.Content[0], false)
		if err != nil {
			return nil, err
		}
		root.Items = append(root.Items, n)
	}
}

type yamlReader struct {
	text  string
	lines []int // where each line begins
}

// offset turns the parser's line and column, which counts characters, into a
// place in the text.
func (r *yamlReader) offset(line, column int) int {
	if line < 1 || line > len(r.lines) {
		return len(r.text)
	}
	at := r.lines[line-1]
	if line == 1 {
		at += len(r.text) - len(strings.TrimPrefix(r.text, "\ufeff"))
	}
	for range column - 1 {
		if at >= len(r.text) {
			break
		}
		_, size := utf8.DecodeRuneInString(r.text[at:])
		at += size
	}
	return at
}

func (r *yamlReader) node(y *yaml.Node, flow bool) (*Node, error) {
	n := &Node{Start: r.offset(y.Line, y.Column), yaml: y, syntax: blockSyntax}
	content := r.properties(n.Start, y)
	if flow || y.Kind != yaml.ScalarNode && y.Style&yaml.FlowStyle != 0 {
		n.syntax = flowSyntax
	}
	var err error
	switch y.Kind {
	case yaml.AliasNode:
		n.Kind, n.End = Opaque, content+1+len(y.Value)
	case yaml.ScalarNode:
		n.Kind, n.String, n.Value = Scalar, y.ShortTag() == "!!str", y.Value
		if y.ShortTag() == "!!null" {
			n.Kind = Null
		}
		n.End, err = r.scalarEnd(content, y)
	case yaml.MappingNode:
		n.Kind = Map
		err = r.members(n, y)
	case yaml.SequenceNode:
		n.Kind = List
		for _, c := range y.Content {
			item, failed := r.node(c, n.syntax == flowSyntax)
			if failed != nil {
				return nil, failed
			}
			n.Items = append(n.Items, item)
			n.End = item.End
		}
	}
	if err != nil {
		return nil, err
	}
	if n.syntax == flowSyntax && (n.Kind == Map || n.Kind == List) {
		if n.End, err = r.closing(max(n.End, content+1)); err != nil {
			return nil, err
		}
	}
	if y.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(y.Tag, "!!") {
		n.Kind, n.Tag, n.Value = Opaque, y.Tag, r.text[n.Start:n.End]
	} else if n.Kind == Opaque {
		n.Value = r.text[n.Start:n.End]
	}
	return n, nil
}

func (r *yamlReader) members(n *Node, y *yaml.Node) error {
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: a key that is no string", k.Line)
		}
		if n.member(k.Value) != nil && k.Value != "<<" {
			return fmt.Errorf("line %d: key %q is there twice", k.Line, k.Value)
		}
		key, err := r.node(k, n.syntax == flowSyntax)
		if err != nil {
			return err
		}
		value, err := r.node(v, n.syntax == flowSyntax)
		if err != nil {
			return err
		}
		m := Member{Key: k.Value, Start: key.Start, End: key.End, Value: value}
		m.Slot = key.End + len(r.text[key.End:]) - len(strings.TrimLeft(r.text[key.End:], " \t"))
		if m.Slot >= len(r.text) || r.text[m.Slot] != ':' {
			if n.syntax != flowSyntax {
				return fmt.Errorf("line %d: key %q is not followed by a colon", k.Line, k.Value)
			}
			m.Slot = key.End // {a, b}: keys without values
		} else {
			m.Slot++
		}
		if value.Kind == Null && value.Start == value.End {
			value.Start, value.End = m.Slot, m.Slot
		}
		n.Members = append(n.Members, m)
		n.End = max(m.Slot, value.End)
	}
	return nil
}

// properties passes the anchor and the tag in front of a value.
func (r *yamlReader) properties(at int, y *yaml.Node) int {
	if y.Kind == yaml.AliasNode {
		return at
	}
	for at < len(r.text) && (r.text[at] == '&' || r.text[at] == '!') {
		at += strings.IndexAny(r.text[at:]+" ", " \t\r\n,")
		next := r.blank(at)
		if next >= len(r.text) {
			return at
		}
		at = next
	}
	return at
}

// blank passes white space and comments.
func (r *yamlReader) blank(at int) int {
	for at < len(r.text) {
		switch c := r.text[at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			at++
		case c == '#' && (at == 0 || strings.IndexByte(" \t\r\n", r.text[at-1]) >= 0):
			at = lineEnd(r.text, at)
		default:
			return at
		}
	}
	return at
}

// closing returns the place behind the bracket that closes a flow collection
// whose last item ends at a place.
func (r *yamlReader) closing(at int) (int, error) {
	for at = r.blank(at); at < len(r.text); at = r.blank(at + 1) {
		if c := r.text[at]; c == ']' || c == '}' {
			return at + 1, nil
		} else if c != ',' && c != ':' {
			break
		}
	}
	return 0, fmt.Errorf("line %d: where this ends is not clear", 1+strings.Count(r.text[:at], "\n"))
}

// scalarEnd finds where a scalar ends. The text of a plain or block scalar has
// the characters of its value, in order, and white space of its own.
func (r *yamlReader) scalarEnd(at int, y *yaml.Node) (int, error) {
	switch {
	case y.Style&yaml.DoubleQuotedStyle != 0:
		for i := at + 1; i < len(r.text); i++ {
			if r.text[i] == '\\' {
				i++
			} else if r.text[i] == '"' {
				return i + 1, nil
			}
		}
	case y.Style&yaml.SingleQuotedStyle != 0:
		for i := at + 1; i < len(r.text); i++ {
			if r.text[i] != '\'' {
				continue
			}
			if i+1 < len(r.text) && r.text[i+1] == '\'' {
				i++
				continue
			}
			return i + 1, nil
		}
	case y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := lineEnd(r.text, at)
		end, ok := r.through(header, y.Value)
		if !ok {
			break
		}
		if strings.Contains(strings.SplitN(r.text[at:header], "#", 2)[0], "+") {
			for end = lineEnd(r.text, end); ; {
				next := lineEnd(r.text, min(lineBreak(r.text, end), len(r.text)))
				if next == end || strings.TrimSpace(r.text[end:next]) != "" || next == len(r.text) {
					break
				}
				end = next
			}
		}
		return end, nil
	default:
		if end, ok := r.through(at, y.Value); ok {
			return end, nil
		}
	}
	return 0, fmt.Errorf("line %d: where this value ends is not clear", y.Line)
}

// through passes the characters of value, and white space between them.
func (r *yamlReader) through(at int, value string) (int, bool) {
	for i := 0; i < len(value); i++ {
		if isSpace(value[i]) {
			continue
		}
		for at < len(r.text) && isSpace(r.text[at]) {
			at++
		}
		if at >= len(r.text) || r.text[at] != value[i] {
			return 0, false
		}
		at++
	}
	return at, true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// lineEnd is the end of the line that at is in, without its line break.
func lineEnd(text string, at int) int {
	end := at + strings.IndexByte(text[at:]+"\n", '\n')
	if end > at && text[end-1] == '\r' {
		end--
	}
	return end
}

// lineBreak passes the line break at a line's end.
func lineBreak(text string, at int) int {
	if strings.HasPrefix(text[at:], "\r\n") {
		return at + 2
	}
	return at + 1
}

// lineStart is the beginning of the line that at is in.
func lineStart(text string, at int) int { return strings.LastIndexByte(text[:at], '\n') + 1 }
