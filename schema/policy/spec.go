package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// spec reads the spec of a document whose Kind is known, and lets its rules
// inherit. The sections are read first: their order in the file is free.
func (r *reader) spec(n *yaml.Node, d *Document) {
	var own Effect
	f := fields{
		"selector":     func(n *yaml.Node) { r.selector(n, d) },
		"process":      func(n *yaml.Node) { r.process(n, d) },
		"file":         func(n *yaml.Node) { r.fileSection(n, d) },
		"network":      func(n *yaml.Node) { r.network(n, d) },
		"capabilities": func(n *yaml.Node) { r.capabilities(n, d) },
		"syscalls":     func(n *yaml.Node) { r.syscalls(n, d) },
		"presets":      func(n *yaml.Node) { r.presets(n, d) },
		"apparmor": func(n *yaml.Node) {
			d.AppArmor = r.text(n, "spec.apparmor")
			r.warnf(n, "spec.apparmor has no effect: there is no AppArmor here")
		},
	}
	r.effect(f, "spec", &own)
	f["action"] = func(n *yaml.Node) { own.Action = r.specAction(n) }
	r.mapping(n, "spec", f)
	if own.Action == "" {
		own.Action = ActionBlock // KubeArmor core/kubeUpdate.go
	}
	d.inherit(own)
	if d.rules() == 0 && len(r.errs) == 0 {
		r.warnf(n, "the policy has no rules")
	}
}

func (d *Document) rules() int {
	return len(d.Process) + len(d.File) + len(d.Network) + len(d.Capabilities) + len(d.Syscalls) + len(d.Presets)
}

// inherit fills what rules leave open from the spec. What a section gives is
// already in its rules.
func (d *Document) inherit(spec Effect) {
	for i := range d.Process {
		d.Process[i].inherit(spec)
	}
	for i := range d.File {
		d.File[i].inherit(spec)
	}
	for i := range d.Network {
		d.Network[i].inherit(spec)
	}
	for i := range d.Capabilities {
		d.Capabilities[i].inherit(spec)
	}
	for i := range d.Syscalls {
		d.Syscalls[i].inherit(spec)
		d.Syscalls[i].Action = ActionAudit
	}
	for i := range d.Presets {
		own := d.Presets[i].Effect
		d.Presets[i].Effect = Effect{Line: own.Line}
		d.Presets[i].inherit(spec)
		d.Presets[i].Action = own.Action
	}
}

// inherit takes from outer, field by field, what e leaves open. Tags are
// replaced, not merged (KubeArmor core/kubeUpdate.go).
func (e *Effect) inherit(outer Effect) {
	if e.Severity == 0 {
		e.Severity = outer.Severity
	}
	if len(e.Tags) == 0 {
		e.Tags = slices.Clone(outer.Tags)
	}
	if e.Message == "" {
		e.Message = outer.Message
	}
	if e.Action == "" {
		e.Action = outer.Action
	}
}

// effect adds to f the keys that spec, sections and rules share.
func (r *reader) effect(f fields, what string, e *Effect) {
	f["severity"] = func(n *yaml.Node) { e.Severity = r.integer(n, what+".severity", 1, 10) }
	f["tags"] = func(n *yaml.Node) { e.Tags = r.texts(n, what+".tags") }
	f["message"] = func(n *yaml.Node) { e.Message = r.text(n, what+".message") }
	f["action"] = func(n *yaml.Node) { e.Action = r.action(n, what+".action") }
}

func actions() []string { return []string{ActionAllow, ActionAudit, ActionBlock} }

func (r *reader) action(n *yaml.Node, what string) string {
	action := r.text(n, what)
	if action == "" || slices.Contains(actions(), action) {
		return action
	}
	if hint := closest(action, actions()); hint != "" {
		r.errorf(n, "%s %s is not known: did you mean %s?", what, quote(action), hint)
		return ""
	}
	r.errorf(n, "%s %s is not known: it must be one of %s", what, quote(action), strings.Join(actions(), ", "))
	return ""
}

// specAction takes the spec's own action in any case, as KubeArmor does there
// and nowhere else.
func (r *reader) specAction(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		for _, a := range actions() {
			if strings.EqualFold(a, n.Value) {
				return a
			}
		}
	}
	return r.action(n, "spec.action")
}

func (r *reader) selector(n *yaml.Node, d *Document) {
	f := fields{
		"matchExpressions": func(n *yaml.Node) {
			r.list(n, "matchExpressions", func(n *yaml.Node) {
				d.Selector.Expressions = append(d.Selector.Expressions, r.expression(n, d.Kind))
			})
		},
	}
	if d.Kind == KindPolicy { // a KubeArmorClusterPolicy has expressions only
		f["matchLabels"] = func(n *yaml.Node) { r.matchLabels(n, d) }
	}
	r.mapping(n, "spec.selector", f)
}

func (r *reader) matchLabels(n *yaml.Node, d *Document) {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "matchLabels must be a mapping, not %s", kindName(n))
		return
	}
	labels := map[string]string{}
	f := fields{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		f[key] = func(n *yaml.Node) { labels[key] = r.text(n, "label "+shorten(key)) }
	}
	f[ContainerNameLabel] = func(n *yaml.Node) {
		names, err := parseContainerNames(r.text(n, ContainerNameLabel))
		if err != nil {
			r.errorf(n, "%s is neither a name, a list of names in brackets nor a regular expression: %v", ContainerNameLabel, err)
		}
		d.Selector.Containers = names
	}
	r.mapping(n, "matchLabels", f)
	if len(labels) > 0 {
		d.Selector.Labels = labels
	}
}

func (r *reader) expression(n *yaml.Node, kind string) Expression {
	var e Expression
	r.mapping(n, "an item of matchExpressions", fields{
		"key":      func(n *yaml.Node) { e.Key = r.oneOf(n, "key", expressionKeys(kind)) },
		"operator": func(n *yaml.Node) { e.Operator = r.oneOf(n, "operator", []string{OperatorIn, OperatorNotIn}) },
		"values":   func(n *yaml.Node) { e.Values = r.texts(n, "values") },
	})
	if n.Kind != yaml.MappingNode || r.failed(n) {
		return e
	}
	if e.Key == "" || e.Operator == "" || len(e.Values) == 0 {
		r.errorf(n, "an item of matchExpressions needs key, operator and values")
	}
	for _, v := range e.Values {
		if name, _, ok := strings.Cut(v, "="); e.Key == KeyLabel && (!ok || name == "") {
			r.errorf(n, "a label expression lists name=value, not %s", quote(v))
		}
	}
	return e
}

func expressionKeys(kind string) []string {
	if kind == KindClusterPolicy {
		return []string{KeyLabel, KeyNamespace}
	}
	return []string{KeyLabel}
}

func (r *reader) oneOf(n *yaml.Node, what string, known []string) string {
	v := r.text(n, what)
	if v == "" || slices.Contains(known, v) {
		return v
	}
	if hint := closest(v, known); hint != "" {
		r.errorf(n, "%s %s is not known: did you mean %s?", what, quote(v), hint)
	} else {
		r.errorf(n, "%s %s is not known: it must be %s", what, quote(v), strings.Join(known, " or "))
	}
	return ""
}

// section reads one section of the spec: lists of rules under keys, and an
// effect that its rules inherit, which it returns.
func (r *reader) section(n *yaml.Node, what string, withAction bool, lists map[string]func(n *yaml.Node)) Effect {
	var own Effect
	f := fields{}
	r.effect(f, what, &own)
	if !withAction {
		delete(f, "action")
	}
	for key, rule := range lists {
		f[key] = func(n *yaml.Node) { r.list(n, what+"."+key, rule) }
	}
	r.mapping(n, what, f)
	return own
}
