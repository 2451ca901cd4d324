// Package document changes a JSON, YAML or Terraform text in place: what is not
// changed keeps its bytes, comments and order, and every change can be undone.
// It knows nothing of what the text is about.
package document

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kind is what a value is, as far as the text alone says it.
type Kind uint8

const (
	// Null is a null, or nothing where a value could be.
	Null Kind = iota
	// Scalar is a string, a number or a boolean.
	Scalar
	// Map is a JSON object or its like.
	Map
	// List is a JSON array or its like.
	List
	// Opaque is a value that is known later: a Terraform expression, a YAML value
	// with a tag of its own (!Sub), an alias.
	Opaque
)

type syntax uint8

const (
	jsonSyntax  syntax = iota
	flowSyntax         // YAML between brackets
	blockSyntax        // YAML by indentation
	hclSyntax
)

// Node is one value of a text.
type Node struct {
	Kind    Kind
	String  bool   // a Scalar that is a string
	Value   string // of a Scalar; of anything else as it is written
	Members []Member
	Items   []*Node
	Tag     string // of an Opaque of YAML: "!If"

	Start, End int
	whole      whole
	template   bool // of the root: Terraform reads the text, so ${ begins an expression
	syntax     syntax
	yaml       *yaml.Node
}

// whole is what the root of some texts stands for.
type whole uint8

const (
	wholeValue  whole = iota
	wholeStream       // the documents of a YAML text
	wholeFile         // the resources of a Terraform file
)

// IsStream says whether n is the list of the documents of a YAML text.
func (n *Node) IsStream() bool { return n.whole == wholeStream }

// IsFile says whether n has the resources of a Terraform file.
func (n *Node) IsFile() bool { return n.whole == wholeFile }

// Present returns n, or nil if it is a null.
func (n *Node) Present() *Node {
	if n == nil || n.Kind == Null {
		return nil
	}
	return n
}

// Member is an entry of a map.
type Member struct {
	Key        string
	Start, End int // of the key
	Slot       int // behind the colon or equals sign: the value's place begins there
	Value      *Node
}

// Get returns the member key of a map, or nil: also where n is nil or no map. A
// null counts as not there.
func (n *Node) Get(key string) *Node {
	if m := n.member(key); m != nil && m.Value.Kind != Null {
		return m.Value
	}
	return nil
}

// Has says whether the map has the key at all, with a null too.
func (n *Node) Has(key string) bool { return n.member(key) != nil }

func (n *Node) member(key string) *Member {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Key == key {
			return &n.Members[i]
		}
	}
	return nil
}

// Text is the string or number that n holds, or "" if it holds none. Opaque
// values are as they are written.
func (n *Node) Text() string {
	if n == nil || (n.Kind != Scalar && n.Kind != Opaque) {
		return ""
	}
	return n.Value
}

// Literal says whether the value is known: neither it nor what is in it is
// Opaque.
func (n *Node) Literal() bool {
	if n == nil {
		return true
	}
	if n.Kind == Opaque {
		return false
	}
	for i := range n.Members {
		if !n.Members[i].Value.Literal() {
			return false
		}
	}
	for _, item := range n.Items {
		if !item.Literal() {
			return false
		}
	}
	return true
}

// Strings returns the items of a list as they are, and false if n is no list of
// scalars.
func (n *Node) Strings() ([]string, bool) {
	if n == nil || n.Kind != List {
		return nil, false
	}
	out := make([]string, 0, len(n.Items))
	for _, item := range n.Items {
		if item.Kind != Scalar && item.Kind != Opaque {
			return nil, false
		}
		out = append(out, item.Value)
	}
	return out, true
}

// Parser makes the tree of a whole text. Positions are those in that text.
type Parser func(text string) (*Node, error)

// Document is a text and its tree.
type Document struct {
	Root  *Node
	text  string
	parse Parser
	log   []Undo
}

// New reads text.
func New(text string, parse Parser) (*Document, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	return &Document{Root: root, text: text, parse: parse}, nil
}

// Text is the text with all changes.
func (d *Document) Text() string { return d.text }

// Decode gives v what n holds, as encoding/json would from JSON.
func (d *Document) Decode(n *Node, v any) error {
	if n.yaml == nil {
		return json.Unmarshal([]byte(d.text[n.Start:n.End]), v)
	}
	var plain any
	if err := n.yaml.Decode(&plain); err != nil {
		return err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// Line is the number of n's line, from 1.
func (d *Document) Line(n *Node) int {
	return 1 + strings.Count(d.text[:min(n.Start, len(d.text))], "\n")
}

// splice replaces text[from:to].
func (d *Document) splice(from, to int, with string) error {
	next := d.text[:from] + with + d.text[to:]
	root, err := d.parse(next)
	if err != nil {
		return fmt.Errorf("change line %d: %w", 1+strings.Count(d.text[:from], "\n"), err)
	}
	d.text, d.Root = next, root
	return nil
}

// Step is one step of a path: the key of a map, or an item of a list. An item
// that has a name is found by it, also when others were put before it.
type Step struct {
	Key   string
	Index int
	Name  string
}

// Path leads from the root to a value.
type Path []Step

// Key adds the keys of maps to the path.
func (p Path) Key(keys ...string) Path {
	out := append(Path(nil), p...)
	for _, k := range keys {
		out = append(out, Step{Key: k})
	}
	return out
}

// Item adds item i of a list to the path.
func (p Path) Item(i int, name string) Path {
	return append(append(Path(nil), p...), Step{Index: i, Name: name})
}

// At returns what is at the path, or nil.
func (d *Document) At(p Path) *Node {
	n := d.Root
	for _, s := range p {
		if n == nil {
			return nil
		}
		if s.Key != "" {
			m := n.member(s.Key)
			if m == nil {
				return nil
			}
			n = m.Value
			continue
		}
		n = item(n, s)
	}
	return n
}

func item(list *Node, s Step) *Node {
	if s.Name != "" {
		for _, it := range list.Items {
			if it.Name() == s.Name {
				return it
			}
		}
	}
	if s.Index < 0 || s.Index >= len(list.Items) {
		return nil
	}
	return list.Items[s.Index]
}

// Name is what the member "name" or "Name" says, as it is written where it is
// not known.
func (n *Node) Name() string {
	if v := n.Get("name"); v != nil {
		return v.Text()
	}
	return n.Get("Name").Text()
}
