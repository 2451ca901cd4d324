package ecs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
)

// target is one task definition in a text.
type target struct {
	doc        *document.Document
	at         document.Path // the definition; where Terraform has the containers alone, the list of them
	containers document.Path
	pascal     bool   // CloudFormation's spelling: ContainerDefinitions
	alone      bool   // the list of containers alone
	label      string // in messages
}

// key spells a key of the API as the text does.
func (t *target) key(name string) string {
	if t.pascal {
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

func (t *target) keys(names ...string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = t.key(n)
	}
	return out
}

// get reads a member of the task definition.
func (t *target) get(names ...string) *document.Node {
	if t.alone {
		return nil
	}
	return t.doc.At(t.at.Key(t.keys(names...)...)).Present()
}

// read finds out what a text is, and where the task definitions in it are.
func read(text string) (*document.Document, []*target, error) {
	parse, err := form(text)
	if err != nil {
		return nil, nil, err
	}
	doc, err := document.New(text, parse)
	if err != nil {
		return nil, nil, err
	}
	targets, err := find(doc)
	if err != nil {
		return nil, nil, err
	}
	return doc, targets, nil
}

var (
	terraformFile     = regexp.MustCompile(`(?m)^\s*(resource|data|module|variable|locals|terraform|output)\b[^\n=:]*\{`)
	terraformTemplate = regexp.MustCompile(`^\s*\$\{\s*jsonencode\s*\(`)
)

// form tells what a text is by its beginning.
func form(text string) (document.Parser, error) {
	trimmed := strings.TrimLeft(strings.TrimPrefix(text, "\ufeff"), " \t\r\n")
	switch {
	case trimmed == "":
		return nil, errors.New("it is empty")
	case strings.HasPrefix(text, "\ufeff"):
		return nil, errors.New("it begins with a byte order mark, which ECS does not take: save it as UTF-8 without one")
	case terraformTemplate.MatchString(text):
		return document.TerraformTemplate, nil
	case trimmed[0] == '{' || trimmed[0] == '[':
		return document.JSON, nil
	case terraformFile.MatchString(text):
		return document.Terraform(document.Attribute{Resource: "aws_ecs_task_definition", Name: "container_definitions"}), nil
	}
	if first, _, _ := strings.Cut(trimmed, "\n"); strings.Contains(first, "aws ecs ") {
		return nil, fmt.Errorf("line 1 is %q: it begins with what a terminal showed, not with the definition", first)
	}
	return document.YAML, nil
}

const nothing = "no task definition is in it: neither containerDefinitions, nor a resource of type AWS::ECS::TaskDefinition, " +
	"nor container_definitions of a resource aws_ecs_task_definition, nor a list of containers"

func find(doc *document.Document) ([]*target, error) {
	var targets []*target
	root := doc.Root
	switch {
	case root.Kind == document.List && root.IsStream():
		for i := range root.Items {
			more, err := definitions(doc, document.Path{}.Item(i, ""))
			if err != nil {
				return nil, err
			}
			targets = append(targets, more...)
		}
	case root.Kind == document.List:
		targets = append(targets, &target{doc: doc, alone: true, label: "the containers"})
	case root.IsFile():
		for _, m := range root.Members {
			at := document.Path{}.Key(m.Key)
			targets = append(targets, &target{doc: doc, at: at, containers: at, alone: true, label: "aws_ecs_task_definition." + m.Key})
		}
	default:
		var err error
		if targets, err = definitions(doc, nil); err != nil {
			return nil, err
		}
	}
	if len(targets) == 0 {
		return nil, errors.New(nothing)
	}
	for _, t := range targets {
		n := doc.At(t.containers)
		if n == nil || n.Kind != document.List || len(n.Items) == 0 {
			return nil, fmt.Errorf("%s: its containers are not a list that is written out here", t.label)
		}
		for i, item := range n.Items {
			if t.alone && item.Kind == document.Map && !item.Has("name") && !item.Has("image") {
				return nil, fmt.Errorf("%s: item %d is no container: it has neither name nor image", t.label, i+1)
			}
		}
	}
	return targets, nil
}

// definitions finds the task definitions in the document at a path.
func definitions(doc *document.Document, at document.Path) ([]*target, error) {
	n := doc.At(at)
	if n.Kind == document.List && len(n.Items) > 0 && n.Items[0].Has("image") {
		return []*target{{doc: doc, at: at, containers: at, alone: true, label: "the containers"}}, nil
	}
	if inner := n.Get("taskDefinition"); inner != nil && inner.Kind == document.Map {
		return []*target{{doc: doc, at: at.Key("taskDefinition"), containers: at.Key("taskDefinition", "containerDefinitions"), label: "the task definition"}}, nil
	}
	if n.Has("containerDefinitions") {
		return []*target{{doc: doc, at: at, containers: at.Key("containerDefinitions"), label: "the task definition"}}, nil
	}
	resources := n.Get("Resources")
	if resources == nil || resources.Kind != document.Map {
		if n.Has("ContainerDefinitions") {
			return []*target{{doc: doc, at: at, containers: at.Key("ContainerDefinitions"), pascal: true, label: "the task definition"}}, nil
		}
		return nil, nil
	}
	var targets []*target
	for _, m := range resources.Members {
		if m.Value.Get("Type").Text() != "AWS::ECS::TaskDefinition" {
			continue
		}
		properties := at.Key("Resources", m.Key, "Properties")
		targets = append(targets, &target{doc: doc, at: properties, containers: properties.Key("ContainerDefinitions"), pascal: true, label: "resource " + m.Key})
	}
	return targets, nil
}

// container is one container of a task definition.
type container struct {
	*target
	at   document.Path
	name string
}

func (c *container) node() *document.Node { return c.doc.At(c.at) }

func (c *container) get(names ...string) *document.Node {
	return c.doc.At(c.at.Key(c.keys(names...)...)).Present()
}

func (c *container) path(names ...string) document.Path { return c.at.Key(c.keys(names...)...) }

// list returns the containers of a target, those in the branches of Fn::If too.
func (t *target) list() ([]*container, error) {
	var out []*container
	n := t.doc.At(t.containers)
	for i, item := range n.Items {
		found, err := t.branches(item, t.containers.Item(i, item.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	for i, c := range out {
		if c.name == "" {
			c.name = fmt.Sprintf("%d", i+1)
		}
	}
	return out, nil
}

func (t *target) branches(n *document.Node, at document.Path) ([]*container, error) {
	var choices *document.Node
	path := at
	switch {
	case n.Tag == "!If":
		choices = n
	case n.Get("Fn::If") != nil:
		choices, path = n.Get("Fn::If"), at.Key("Fn::If")
	case n.Kind == document.Map && n.Has("Ref"):
		return nil, nil // AWS::NoValue, or something that is written elsewhere
	case n.Kind == document.Map:
		return []*container{{target: t, at: at, name: n.Name()}}, nil
	case n.Kind == document.Opaque && strings.Contains(n.Value, "NoValue"):
		return nil, nil
	default:
		return nil, fmt.Errorf("line %d: a container of %s is not written out here, but %s", t.doc.Line(n), t.label, n.Value)
	}
	var out []*container
	for i, choice := range choices.Items {
		if i == 0 {
			continue
		}
		found, err := t.branches(choice, path.Item(i, ""))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}
