package eks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
)

// target is one pod, or the template of pods, in a text.
type target struct {
	doc    *document.Document
	object document.Path // the Kubernetes object
	pod    document.Path // what has the pod's metadata and spec
	kind   string
	name   string
}

func (t *target) label() string {
	if t.name == "" {
		return t.kind
	}
	return t.kind + " " + t.name
}

// spec is the path of something in the pod's spec.
func (t *target) spec(keys ...string) document.Path { return t.pod.Key("spec").Key(keys...) }

// get reads a member of the pod's spec.
func (t *target) get(keys ...string) *document.Node { return t.doc.At(t.spec(keys...)).Present() }

// read finds the pods in a text: one document or many, lists of objects, JSON.
func read(text string) (*document.Document, []*target, error) {
	doc, err := parse(text)
	if err != nil {
		return nil, nil, err
	}
	var targets []*target
	if !doc.Root.IsStream() {
		targets, err = objects(doc, nil)
		return doc, targets, err
	}
	for i := range doc.Root.Items {
		more, err := objects(doc, document.Path{}.Item(i, ""))
		if err != nil {
			return nil, nil, err
		}
		targets = append(targets, more...)
	}
	return doc, targets, nil
}

func parse(text string) (*document.Document, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil, errors.New("it is empty")
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		if doc, err := document.New(text, document.JSON); err == nil {
			return doc, nil
		} else if strings.HasPrefix(strings.TrimSpace(trimmed[1:]), `"`) {
			return nil, err
		}
	}
	doc, err := document.New(text, document.YAML)
	if err != nil && strings.Contains(text, "{{") {
		return nil, fmt.Errorf("%w; it is a template: give the manifest that helm template makes of it", err)
	}
	return doc, err
}

// objects finds the pods of the object at a path, or of the objects of a list.
func objects(doc *document.Document, at document.Path) ([]*target, error) {
	n := doc.At(at)
	if n == nil || n.Kind != document.Map {
		return nil, nil
	}
	if items := n.Get("items"); items != nil && strings.HasSuffix(n.Get("kind").Text(), "List") {
		if items.Kind != document.List {
			return nil, fmt.Errorf("line %d: items is no list", doc.Line(items))
		}
		var targets []*target
		for i := range items.Items {
			more, err := objects(doc, at.Key("items").Item(i, ""))
			if err != nil {
				return nil, err
			}
			targets = append(targets, more...)
		}
		return targets, nil
	}
	t := &target{doc: doc, object: at, kind: n.Get("kind").Text(), name: n.Get("metadata").Get("name").Text()}
	switch {
	case t.kind == "Pod":
		t.pod = at
	case t.kind == "CronJob":
		t.pod = at.Key("spec", "jobTemplate", "spec", "template")
	default:
		t.pod = at.Key("spec", "template")
	}
	containers := t.get("containers")
	if containers == nil {
		return nil, nil
	}
	for _, merged := range []*document.Node{doc.At(t.spec()), doc.At(t.pod)} {
		if merged.Has("<<") {
			return nil, fmt.Errorf("line %d: %s takes settings from an anchor (<<): write them out", doc.Line(merged), t.label())
		}
	}
	if containers.Kind != document.List || len(containers.Items) == 0 {
		return nil, fmt.Errorf("line %d: the containers of %s are not a list that is written out", doc.Line(containers), t.label())
	}
	return []*target{t}, nil
}

// container is one container of a pod.
type container struct {
	*target
	at   document.Path
	name string
	init bool
}

func (c *container) get(keys ...string) *document.Node { return c.doc.At(c.at.Key(keys...)).Present() }

// list returns the containers of a pod, init containers first.
func (t *target) list() ([]*container, error) {
	var out []*container
	for _, key := range []string{"initContainers", "containers"} {
		n := t.get(key)
		if n == nil {
			continue
		}
		for i, item := range n.Items {
			if item.Kind != document.Map || item.Has("<<") {
				return nil, fmt.Errorf("line %d: %s: a container is not written out here", t.doc.Line(item), t.label())
			}
			c := &container{target: t, at: t.spec(key).Item(i, item.Name()), name: item.Name(), init: key == "initContainers"}
			if c.name == "" {
				return nil, fmt.Errorf("line %d: %s: a container has no name", t.doc.Line(item), t.label())
			}
			out = append(out, c)
		}
	}
	return out, nil
}
