package document

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// hclAt makes the tree of an expression. Positions are those of the file that it
// was read from.
func hclAt(text string, e hclsyntax.Expression) (*Node, error) {
	rng := e.Range()
	n := &Node{Kind: Opaque, Start: rng.Start.Byte, End: rng.End.Byte, syntax: hclSyntax}
	n.Value = text[n.Start:n.End]
	switch e := e.(type) {
	case *hclsyntax.TupleConsExpr:
		n.Kind = List
		for _, x := range e.Exprs {
			item, err := hclAt(text, x)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, item)
		}
	case *hclsyntax.ObjectConsExpr:
		n.Kind = Map
		for _, it := range e.Items {
			m, err := hclMember(text, it)
			if err != nil {
				return nil, err
			}
			if n.member(m.Key) != nil {
				return nil, fmt.Errorf("line %d: key %q is there twice", it.KeyExpr.Range().Start.Line, m.Key)
			}
			n.Members = append(n.Members, m)
		}
	case *hclsyntax.LiteralValueExpr:
		n.Kind = Scalar
		if e.Val.IsNull() {
			n.Kind = Null
		}
	case *hclsyntax.TemplateExpr:
		if v, diags := e.Value(nil); !diags.HasErrors() && v.Type() == cty.String {
			n.Kind, n.String, n.Value = Scalar, true, v.AsString()
		} else if strings.HasPrefix(n.Value, `"`) {
			n.Value = strings.Trim(n.Value, `"`)
		}
	}
	return n, nil
}

func hclMember(text string, it hclsyntax.ObjectConsItem) (Member, error) {
	rng := it.KeyExpr.Range()
	key := ""
	if k, ok := it.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
		if v, diags := k.Value(nil); !diags.HasErrors() && v.Type() == cty.String {
			key = v.AsString()
		}
	}
	if key == "" {
		return Member{}, fmt.Errorf("line %d: the name of a setting is an expression", rng.Start.Line)
	}
	value, err := hclAt(text, it.ValueExpr)
	if err != nil {
		return Member{}, err
	}
	slot := rng.End.Byte + strings.IndexAny(text[rng.End.Byte:], "=:") + 1
	return Member{Key: key, Start: rng.Start.Byte, End: rng.End.Byte, Slot: slot, Value: value}, nil
}

// TerraformTemplate reads a template file that is one ${jsonencode(…)}.
func TerraformTemplate(text string) (*Node, error) {
	from := strings.Index(text, "${")
	to := strings.LastIndex(text, "}")
	if from < 0 || to < from || strings.TrimSpace(text[:from]) != "" || strings.TrimSpace(text[to+1:]) != "" {
		return nil, fmt.Errorf("not a template that is one ${jsonencode(…)}")
	}
	// Everything else is masked with blanks, so that positions are the file's.
	masked := blanks(text[:from+2]) + text[from+2:to]
	e, diags := hclsyntax.ParseExpression([]byte(masked), "", hcl.InitialPos)
	if diags.HasErrors() {
		return nil, hclError(diags)
	}
	return encoded(text, e)
}

// blanks is as long as text and has its line breaks.
func blanks(text string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
}

// encoded reads what jsonencode is given.
func encoded(text string, e hclsyntax.Expression) (*Node, error) {
	if call, ok := e.(*hclsyntax.FunctionCallExpr); ok && call.Name == "jsonencode" && len(call.Args) == 1 {
		return hclAt(text, call.Args[0])
	}
	return nil, fmt.Errorf("line %d: neither jsonencode(…) nor JSON: %s", e.Range().Start.Line, firstLine(text[e.Range().Start.Byte:e.Range().End.Byte]))
}

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " …"
	}
	return line
}

func hclError(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			line := 0
			if d.Subject != nil {
				line = d.Subject.Start.Line
			}
			return fmt.Errorf("not Terraform: line %d: %s: %s", line, d.Summary, d.Detail)
		}
	}
	return nil
}

// Attribute says which attribute of which resources Terraform reads.
type Attribute struct{ Resource, Name string }

// Terraform reads, of a file, the attribute of every resource of a kind: what
// jsonencode is given, or JSON in a heredoc. The root is a map of resource names
// to them.
func Terraform(of Attribute) Parser {
	return func(text string) (*Node, error) {
		file, diags := hclsyntax.ParseConfig([]byte(text), "", hcl.InitialPos)
		if diags.HasErrors() {
			return nil, hclError(diags)
		}
		root := &Node{Kind: Map, End: len(text), whole: wholeFile, syntax: hclSyntax}
		body, ok := file.Body.(*hclsyntax.Body)
		if !ok {
			return root, nil
		}
		for _, b := range body.Blocks {
			if b.Type != "resource" || len(b.Labels) != 2 || b.Labels[0] != of.Resource {
				continue
			}
			attribute := b.Body.Attributes[of.Name]
			if attribute == nil {
				continue
			}
			n, err := attributeNode(text, attribute.Expr)
			if err != nil {
				return nil, fmt.Errorf("%s of %s.%s: %w", of.Name, b.Labels[0], b.Labels[1], err)
			}
			root.Members = append(root.Members, Member{Key: b.Labels[1], Value: n})
		}
		return root, nil
	}
}

func attributeNode(text string, e hclsyntax.Expression) (*Node, error) {
	rng := e.Range()
	if t, ok := e.(*hclsyntax.TemplateExpr); ok && strings.HasPrefix(text[rng.Start.Byte:], "<<") {
		from := rng.Start.Byte + strings.IndexByte(text[rng.Start.Byte:], '\n') + 1
		marker := strings.TrimLeft(strings.TrimSpace(text[rng.Start.Byte:from]), "<-")
		to := rng.End.Byte
		if at := strings.LastIndex(text[from:to], marker); at >= 0 {
			to = from + at
		} else if len(t.Parts) > 0 {
			to = t.Parts[len(t.Parts)-1].Range().End.Byte
		}
		return jsonAt(text, from, to)
	}
	return encoded(text, e)
}
