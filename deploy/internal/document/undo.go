package document

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Undo is one change, by what was there before.
type Undo struct {
	Op   op       `json:"o"`
	Path Path     `json:"p"`
	Key  string   `json:"k,omitempty"`
	Was  *string  `json:"w,omitempty"` // the member's place as it was written; nil: there was none
	Item *Match   `json:"m,omitempty"`
	Head []string `json:"h,omitempty"`
	Next string   `json:"n,omitempty"` // the key before or behind one that was taken away
	Gap  int      `json:"g,omitempty"`
}

type op string

const (
	opSet  op = "set"  // a value was set
	opMake op = "make" // a collection was made
	opItem op = "item" // an item was put into a list
	opHead op = "head" // strings were put at the beginning of a list
	opDrop op = "drop" // a member was taken away
)

// Match finds an item of a list: by a member of it, or as a scalar.
type Match struct {
	Key   string `json:"k,omitempty"`
	Value string `json:"v"`
}

func (m Match) is(n *Node) bool {
	if m.Key != "" {
		return n.Get(m.Key).Text() == m.Value
	}
	return n.Kind == Scalar && n.Value == m.Value
}

// MarshalJSON writes a key as a string, an item as a list.
func (s Step) MarshalJSON() ([]byte, error) {
	if s.Key != "" {
		return json.Marshal(s.Key)
	}
	return json.Marshal([]any{s.Index, s.Name})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Step) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &s.Key) == nil {
		return nil
	}
	var item []json.RawMessage
	if err := json.Unmarshal(text, &item); err != nil || len(item) != 2 {
		return fmt.Errorf("step %s is neither a key nor an item", text)
	}
	if err := json.Unmarshal(item[0], &s.Index); err != nil {
		return fmt.Errorf("step %s: %w", text, err)
	}
	return json.Unmarshal(item[1], &s.Name)
}

// Log returns how all changes so far are undone.
func (d *Document) Log() []Undo { return slices.Clone(d.log) }

// Forget begins the log anew.
func (d *Document) Forget() { d.log = nil }

// Set gives the map at p the member key. Maps on the way that are not there or
// are null are made.
func (d *Document) Set(p Path, key string, v any) error {
	if err := d.ensure(p, Entries{}); err != nil {
		return err
	}
	d.log = append(d.log, Undo{Op: opSet, Path: p, Key: key, Was: d.slot(p, key)})
	return d.put(p, key, v)
}

// Append puts an item at the end of the list at p, which is made if it is not
// there or null. The match finds it again.
func (d *Document) Append(p Path, v any, m Match) error {
	if err := d.ensure(p, Items{}); err != nil {
		return err
	}
	d.log = append(d.log, Undo{Op: opItem, Path: p, Item: &m})
	return d.add(p, v)
}

// Added is the undoing of an item that was put into the list at p.
func Added(p Path, m Match) Undo { return Undo{Op: opItem, Path: p, Item: &m} }

// Prepare makes the list at p, if it is not there or null.
func (d *Document) Prepare(p Path) error { return d.ensure(p, Items{}) }

// Prepend puts strings at the beginning of the list at p.
func (d *Document) Prepend(p Path, words ...string) error {
	if err := d.ensure(p, Items{}); err != nil {
		return err
	}
	d.log = append(d.log, Undo{Op: opHead, Path: p, Head: words})
	items := make(Items, len(words))
	for i, word := range words {
		items[i] = word
	}
	return d.insert(p, items)
}

// Lead puts an item at the beginning of the list at p, which is made if it is not
// there or null. The match finds it again.
func (d *Document) Lead(p Path, v any, m Match) error {
	if err := d.ensure(p, Items{}); err != nil {
		return err
	}
	d.log = append(d.log, Undo{Op: opItem, Path: p, Item: &m})
	return d.insert(p, Items{v})
}

// Drop takes the member key away from the map at p.
func (d *Document) Drop(p Path, key string) error {
	n := d.At(p)
	if !n.Has(key) {
		return nil
	}
	i := slices.IndexFunc(n.Members, func(m Member) bool { return m.Key == key })
	u := Undo{Op: opDrop, Path: p, Key: key}
	m := n.Members[i]
	var raw string
	switch {
	case n.syntax == blockSyntax:
		return fmt.Errorf("line %d: %s: it can be taken away from JSON only", d.Line(m.Value), p.Key(key))
	case i > 0:
		raw, u.Next = d.text[max(n.Members[i-1].Slot, n.Members[i-1].Value.End):m.Value.End], n.Members[i-1].Key
	case len(n.Members) > 1:
		raw, u.Next, u.Gap = d.text[m.Start:n.Members[1].Start], n.Members[1].Key, 1
	default:
		raw = d.text[m.Start:m.Value.End]
	}
	u.Was = &raw
	d.log = append(d.log, u)
	return d.remove(p, key)
}

// slot is the place of a member as it is written, or nil if there is none.
func (d *Document) slot(p Path, key string) *string {
	m := d.At(p).member(key)
	if m == nil {
		return nil
	}
	raw := d.text[m.Slot:max(m.Slot, m.Value.End)]
	return &raw
}

// ensure makes the collections that are missing on the way to p.
func (d *Document) ensure(p Path, empty any) error {
	n := d.At(p)
	if n != nil && n.Kind != Null && (n.Kind == Opaque || n.Kind == Scalar || len(n.Items)+len(n.Members) > 0) {
		return nil
	}
	if len(p) == 0 || p[len(p)-1].Key == "" {
		return d.notA("map", p, n)
	}
	parent, key := p[:len(p)-1], p[len(p)-1].Key
	if err := d.ensure(parent, Entries{}); err != nil {
		return err
	}
	d.log = append(d.log, Undo{Op: opMake, Path: parent, Key: key, Was: d.slot(parent, key)})
	return d.put(parent, key, empty)
}

// Revert undoes changes, the last one first. What is not there any more is
// passed over.
func (d *Document) Revert(log []Undo) error {
	for _, u := range slices.Backward(log) {
		n := d.At(u.Path)
		if n == nil {
			continue
		}
		var err error
		switch u.Op {
		case opSet, opMake:
			err = d.revertMember(n, u)
		case opItem:
			if i := slices.IndexFunc(n.Items, u.Item.is); u.Item != nil && i >= 0 && n.Kind == List {
				err = d.removeItem(u.Path, i)
			}
		case opHead:
			err = d.revertHead(n, u)
		case opDrop:
			err = d.revertDrop(n, u)
		default:
			err = fmt.Errorf("no such change: %q", u.Op)
		}
		if err != nil {
			return fmt.Errorf("undo the change of %s: %w", u.Path, err)
		}
	}
	return nil
}

func (d *Document) revertMember(n *Node, u Undo) error {
	m := n.member(u.Key)
	if m == nil {
		return nil
	}
	if u.Op == opMake && len(m.Value.Items)+len(m.Value.Members) > 0 {
		return nil // somebody put more into it
	}
	if u.Was == nil {
		return d.remove(u.Path, u.Key)
	}
	return d.splice(m.Slot, max(m.Slot, m.Value.End), *u.Was)
}

func (d *Document) revertHead(n *Node, u Undo) error {
	if n.Kind != List || len(n.Items) < len(u.Head) {
		return nil
	}
	for i, word := range u.Head {
		if n.Items[i].Text() != word {
			return nil
		}
	}
	for range u.Head {
		if err := d.removeItem(u.Path, 0); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) revertDrop(n *Node, u Undo) error {
	if n.Kind != Map || n.Has(u.Key) || u.Was == nil {
		return nil
	}
	if m := n.member(u.Next); m != nil && u.Gap == 1 {
		return d.splice(m.Start, m.Start, *u.Was)
	} else if m != nil {
		end := max(m.Slot, m.Value.End)
		return d.splice(end, end, *u.Was)
	}
	return nil
}
