package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Entry is an entry of a map to be written.
type Entry struct {
	Key   string
	Value any
}

// Entries is a map to be written, in this order. A value is a string, an int, a
// bool, nil, Entries, Items, or a *Node that is written as it is.
type Entries []Entry

// Items is a list to be written.
type Items []any

// writer writes values the way that the text around them is written.
type writer struct {
	text    string
	syntax  syntax
	newline string
	unit    string
	colon   string // between key and value
	quoted  bool   // keys are quoted
	escape  bool   // ${ would begin an expression
}

func (d *Document) writer(n *Node) *writer {
	w := &writer{text: d.text, syntax: n.syntax, newline: "\n", unit: "  "}
	if strings.Contains(d.text, "\r\n") {
		w.newline = "\r\n"
	}
	w.colon, w.quoted = ": ", n.syntax == jsonSyntax
	w.escape = n.syntax == hclSyntax || d.Root.IsFile() || d.Root.template
	if n.syntax == jsonSyntax || n.syntax == hclSyntax {
		w.unit = unit(d.text, n)
	}
	if m := n.first(); m != nil && n.syntax != blockSyntax {
		w.quoted = d.text[m.Start] == '"'
		if colon := d.text[m.End:max(m.End, m.Value.Start)]; strings.TrimSpace(colon) == "=" {
			w.colon = " = "
		} else if strings.TrimSpace(colon) == ":" && !strings.Contains(colon, "\n") {
			w.colon = ":" + colon[strings.IndexByte(colon, ':')+1:]
		}
	}
	return w
}

// first is the first member of the first map in n.
func (n *Node) first() *Member {
	for n != nil {
		if len(n.Members) > 0 {
			return &n.Members[0]
		}
		if len(n.Items) == 0 {
			return nil
		}
		n = n.Items[0]
	}
	return nil
}

// unit is by how much the first item of a collection is indented.
func unit(text string, n *Node) string {
	first := n.End
	if len(n.Members) > 0 {
		first = n.Members[0].Start
	} else if len(n.Items) > 0 {
		first = n.Items[0].Start
	}
	outer, inner := indentation(text, n.Start), indentation(text, first)
	if len(inner) > len(outer) && strings.HasPrefix(inner, outer) {
		if u := inner[len(outer):]; len(u) <= 8 {
			return u
		}
	}
	return "  "
}

// indentation is the white space that the line begins with.
func indentation(text string, at int) string {
	line := text[lineStart(text, at):]
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

func (w *writer) indentation(at int) string { return indentation(w.text, at) }

// key writes the key of a map between brackets.
func (w *writer) key(key string) string {
	if w.quoted || !plainKey.MatchString(key) {
		return quote(key)
	}
	return key
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// inline writes a value for a place between brackets. With long, maps and lists
// of maps take several lines, with indent before the last.
func (w *writer) inline(v any, indent string, long bool) string {
	switch v := v.(type) {
	case Entries:
		return w.brackets('{', '}', len(v), indent, long && len(v) > 0, func(i int, inner string) string {
			return w.key(v[i].Key) + w.colon + w.inline(v[i].Value, inner, long)
		})
	case Items:
		return w.brackets('[', ']', len(v), indent, long && holdsCollections(v), func(i int, inner string) string {
			return w.inline(v[i], inner, long)
		})
	case *Node:
		return w.node(v, indent, long)
	case string:
		if w.escape {
			return templateQuote(v)
		}
		return quote(v)
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

func (w *writer) brackets(open, closing byte, n int, indent string, long bool, item func(int, string) string) string {
	var b strings.Builder
	b.WriteByte(open)
	inner := indent + w.unit
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if long {
			b.WriteString(w.newline + inner)
		} else if i > 0 || open == '{' {
			b.WriteByte(' ')
		}
		b.WriteString(item(i, inner))
	}
	if long {
		b.WriteString(w.newline + indent)
	} else if open == '{' && n > 0 {
		b.WriteByte(' ')
	}
	b.WriteByte(closing)
	return b.String()
}

func holdsCollections(v Items) bool {
	for _, item := range v {
		switch item := item.(type) {
		case Entries, Items:
			return true
		case *Node:
			if item.Kind == Map || item.Kind == List {
				return true
			}
		}
	}
	return false
}

// node writes a value that was read. Values of the same text stay as they are.
func (w *writer) node(n *Node, indent string, long bool) string {
	switch {
	case n.Kind == Map:
		entries := make(Entries, len(n.Members))
		for i, m := range n.Members {
			entries[i] = Entry{m.Key, m.Value}
		}
		return w.inline(entries, indent, long)
	case n.Kind == List:
		items := make(Items, len(n.Items))
		for i, it := range n.Items {
			items[i] = it
		}
		return w.inline(items, indent, long)
	case n.Kind == Null:
		return "null"
	case n.String && !w.escape:
		return w.inline(n.Value, indent, long)
	}
	return w.text[n.Start:n.End]
}

// block writes a value as YAML by indentation, without a final line break. Lines
// but the first are indented by column.
func (w *writer) block(v any, column int) (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(yamlValue(v)); err != nil {
		return "", fmt.Errorf("write YAML: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i] != "" {
			lines[i] = strings.Repeat(" ", column) + lines[i]
		}
	}
	return strings.Join(lines, w.newline), nil
}

// Strings that need no quotation marks, and those among them that some readers
// take for something else.
var (
	plain = regexp.MustCompile(`^[A-Za-z/_]([A-Za-z0-9_./:@+=-]*[A-Za-z0-9_/=])?$`)
	meant = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

func yamlValue(v any) *yaml.Node {
	switch v := v.(type) {
	case Entries:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, e := range v {
			n.Content = append(n.Content, yamlValue(e.Key), yamlValue(e.Value))
		}
		return n
	case Items:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if !holdsCollections(v) {
			n.Style = yaml.FlowStyle
		}
		for _, it := range v {
			n.Content = append(n.Content, yamlValue(it))
		}
		return n
	case *Node:
		return v.yaml
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if !plain.MatchString(v) || meant.MatchString(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(v)}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// quote writes a string as JSON, which is a string of YAML too.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// A string always encodes.
	_ = enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// templateQuote writes a string of Terraform: what would be an expression is not
// one.
func templateQuote(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quote(s))
}
