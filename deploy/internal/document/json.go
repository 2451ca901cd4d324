package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// JSON reads JSON. A Terraform template may have ${…} where a value could be: it
// is Opaque.
func JSON(text string) (*Node, error) { return jsonAt(text, 0, len(text)) }

// jsonAt reads the JSON that text[from:to] is.
func jsonAt(text string, from, to int) (*Node, error) {
	masked, holes := maskHoles(text[from:to], false)
	v, err := hujson.Parse(masked)
	if err != nil && strings.Contains(text[from:to], "${") {
		// Expressions in strings may hold quotation marks: "${join(",", list)}".
		masked, again := maskHoles(text[from:to], true)
		if w, failed := hujson.Parse(masked); failed == nil {
			v, holes, err = w, again, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", shifted(err, text[:from]))
	}
	if !v.IsStandard() {
		return nil, errors.New("not JSON: it has comments or a comma behind the last item")
	}
	r := jsonReader{text: text, base: from, holes: holes}
	n, err := r.node(&v)
	if n != nil {
		n.template = len(holes) > 0
	}
	return n, err
}

// shifted leaves the error as it is where the JSON begins the text, and says
// where it begins otherwise.
func shifted(err error, before string) error {
	if before == "" {
		return err
	}
	return fmt.Errorf("that begins in line %d: %w", 1+strings.Count(before, "\n"), err)
}

type jsonReader struct {
	text  string
	base  int
	holes map[int]bool // where a ${…} begins
}

func (r *jsonReader) node(v *hujson.Value) (*Node, error) {
	n := &Node{Start: r.base + v.StartOffset, End: r.base + v.EndOffset, syntax: jsonSyntax}
	n.Value = r.text[n.Start:n.End]
	if r.holes[v.StartOffset] {
		n.Kind = Opaque
		return n, nil
	}
	switch t := v.Value.(type) {
	case *hujson.Object:
		n.Kind = Map
		for i := range t.Members {
			m := &t.Members[i]
			key, ok := m.Name.Value.(hujson.Literal)
			if !ok {
				return nil, errors.New("not JSON: a key is no string")
			}
			if n.member(key.String()) != nil {
				return nil, fmt.Errorf("line %d: key %q is there twice", r.line(m.Name.StartOffset), key.String())
			}
			value, err := r.node(&m.Value)
			if err != nil {
				return nil, err
			}
			end := r.base + m.Name.EndOffset
			n.Members = append(n.Members, Member{
				Key: key.String(), Start: r.base + m.Name.StartOffset, End: end,
				Slot: end + strings.IndexByte(r.text[end:], ':') + 1, Value: value,
			})
		}
	case *hujson.Array:
		n.Kind = List
		for i := range t.Elements {
			value, err := r.node(&t.Elements[i])
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, value)
		}
	case hujson.Literal:
		n.Kind = Scalar
		switch t.Kind() {
		case 'n':
			n.Kind = Null
		case '"':
			n.String, n.Value = true, decoded(n.Value)
		}
	}
	return n, nil
}

// decoded is what a quoted string means. One with a Terraform expression that
// holds quotation marks is taken as it is written.
func decoded(quoted string) string {
	var s string
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return quoted[1 : len(quoted)-1]
	}
	return s
}

func (r *jsonReader) line(offset int) int {
	return 1 + strings.Count(r.text[:r.base+offset], "\n")
}

// maskHoles puts a string of the same length in place of each ${…} outside of
// strings, and returns where. With inStrings, expressions in strings are masked
// too.
func maskHoles(text string, inStrings bool) ([]byte, map[int]bool) {
	out, holes := []byte(text), map[int]bool{}
	inString := false
	for i := 0; i < len(out); i++ {
		switch c := text[i]; {
		case (!inString || inStrings) && strings.HasPrefix(text[i:], "${") && (i == 0 || text[i-1] != '$'):
			end := i + 2 + holeEnd(text[i+2:])
			if end > len(text) || end < i+4 {
				continue
			}
			for j := i; j < end; j++ {
				out[j] = 'x'
			}
			if !inString {
				out[i], out[end-1], holes[i] = '"', '"', true
			}
			i = end - 1
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		}
	}
	return out, holes
}

// holeEnd returns the length of an expression with its closing brace, or 0 if it
// has none in its line.
func holeEnd(text string) int {
	depth := 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '\n':
			return 0
		}
	}
	return 0
}
