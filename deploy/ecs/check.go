package ecs

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
)

// maxSize is how long a task definition may be.
const maxSize = 64 << 10

// Check holds the task definitions in a text against the types of AWS's SDK and
// the rules of where they run. Values that are known only later (parameters,
// expressions) pass. launch is FARGATE and the like, or empty: as the definition
// says. It returns all faults.
func Check(text, launch string) error {
	doc, targets, err := read(text)
	if err != nil {
		return err
	}
	var faults []error
	for _, t := range targets {
		c := &checker{target: t, params: doc.Root}
		if doc.Root.IsStream() {
			c.params = doc.Root.Items[t.at[0].Index]
		}
		c.model()
		c.rules(launch)
		for _, f := range c.faults {
			faults = append(faults, fmt.Errorf("%s: %w", t.label, f))
		}
	}
	return errors.Join(faults...)
}

type checker struct {
	*target
	params *document.Node // has CloudFormation's Parameters
	faults []error
}

func (c *checker) fault(format string, a ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, a...))
}

// model checks keys, kinds of values and enumerations.
func (c *checker) model() {
	if c.alone {
		c.value(c.doc.At(c.containers), "", reflect.TypeFor[[]types.ContainerDefinition]())
		return
	}
	n := c.doc.At(c.at)
	if size := n.End - n.Start; size > maxSize && !c.pascal {
		c.fault("it has %d bytes: ECS takes %d", size, maxSize)
	}
	c.value(n, "", reflect.TypeFor[types.TaskDefinition]())
}

func (c *checker) value(n *document.Node, at string, typ reflect.Type) {
	if n.Kind == document.Null || later(n) {
		return
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	wrong := func(want string) { c.fault("line %d: %s must be %s", c.doc.Line(n), at, want) }
	switch typ.Kind() {
	case reflect.Struct:
		if typ.PkgPath() == "time" {
			return
		}
		if n.Kind != document.Map {
			wrong("an object")
			return
		}
		c.members(n, at, typ)
	case reflect.Slice:
		if n.Kind != document.List {
			wrong("a list")
			return
		}
		for i, item := range n.Items {
			label := strconv.Itoa(i + 1)
			if name := item.Name(); name != "" {
				label = name
			}
			c.value(item, at+"["+label+"]", typ.Elem())
		}
	case reflect.Map:
		if n.Kind != document.Map {
			wrong("an object")
			return
		}
		for _, m := range n.Members {
			c.value(m.Value, at+"."+m.Key, typ.Elem())
		}
	case reflect.String:
		c.text(n, at, typ)
	case reflect.Bool:
		if n.Text() != "true" && n.Text() != "false" {
			wrong("true or false")
		}
	default:
		if _, err := strconv.ParseFloat(n.Text(), 64); err != nil && !strings.Contains(n.Text(), "${") {
			wrong("a number")
		}
	}
}

func (c *checker) members(n *document.Node, at string, typ reflect.Type) {
	for _, m := range n.Members {
		name := strings.TrimPrefix(at+"."+m.Key, ".")
		if at == "" && strings.EqualFold(m.Key, "tags") {
			continue
		}
		field, ok := typ.FieldByNameFunc(func(f string) bool {
			if c.pascal {
				return strings.EqualFold(f, m.Key)
			}
			return f == upperFirst(m.Key) && unicode.IsLower(rune(m.Key[0]))
		})
		if !ok {
			c.fault("line %d: %s: the ECS API has no such setting", c.doc.Line(m.Value), name)
			continue
		}
		c.value(m.Value, name, field.Type)
	}
}

func upperFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (c *checker) text(n *document.Node, at string, typ reflect.Type) {
	if n.Kind != document.Scalar || !n.String && !c.pascal && !c.alone {
		c.fault("line %d: %s must be a string", c.doc.Line(n), at)
		return
	}
	values := reflect.Zero(typ).MethodByName("Values")
	if !values.IsValid() || strings.Contains(n.Value, "${") {
		return
	}
	known := values.Call(nil)[0]
	var names []string
	for i := range known.Len() {
		names = append(names, known.Index(i).String())
	}
	if !slices.Contains(names, n.Value) {
		c.fault("line %d: %s is %q, not one of %s", c.doc.Line(n), at, n.Value, strings.Join(names, ", "))
	}
}

// later says whether a value is known only when the text is applied.
func later(n *document.Node) bool {
	if n.Kind == document.Opaque {
		return true
	}
	return n.Kind == document.Map && len(n.Members) == 1 &&
		(n.Members[0].Key == "Ref" || strings.HasPrefix(n.Members[0].Key, "Fn::"))
}

// literal is the text of a value, where a parameter stands for its default, and
// "" where nobody can say.
func (c *checker) literal(n *document.Node) string {
	if n == nil {
		return ""
	}
	var name string
	switch {
	case n.Tag == "!Ref":
		name = strings.TrimSpace(strings.TrimPrefix(n.Value, "!Ref"))
	case later(n) && n.Has("Ref"):
		name = n.Get("Ref").Text()
	case later(n):
		return ""
	default:
		if strings.Contains(n.Text(), "${") {
			return ""
		}
		return n.Text()
	}
	return c.params.Get("Parameters").Get(name).Get("Default").Text()
}

func (c *checker) number(n *document.Node) (int, bool) {
	v, err := strconv.Atoi(c.literal(n))
	return v, err == nil
}
