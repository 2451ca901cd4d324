package policy

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ContainerNameLabel is the label by which matchLabels selects containers.
const ContainerNameLabel = "kubearmor.io/container.name"

// Keys and operators of Expression.
const (
	KeyLabel      = "label"
	KeyNamespace  = "namespace" // in a KubeArmorClusterPolicy only
	OperatorIn    = "In"
	OperatorNotIn = "NotIn"
)

// Selector says which containers a document applies to.
type Selector struct {
	Labels      map[string]string // matchLabels, without ContainerNameLabel
	Containers  ContainerNames
	Expressions []Expression
}

// ContainerNames is the value of ContainerNameLabel: the list form, "[c1, c2]",
// fills Names; the plain form fills Pattern. The zero value selects any name.
type ContainerNames struct {
	Names   []string
	Pattern *regexp.Regexp // matches the whole name, so that a plain name is a pattern for itself
}

// Expression is one of matchExpressions.
type Expression struct {
	Key      string   // KeyLabel or KeyNamespace
	Operator string   // OperatorIn or OperatorNotIn
	Values   []string // "k=v" with KeyLabel, namespaces with KeyNamespace
}

// Selects reports whether d applies to t: all that its selector says must hold.
//
//   - An empty selector holds for every container.
//   - matchLabels are compared with t.Labels, and t without labels has none of
//     them: on ECS and Docker the labels are those of the container.
//   - ContainerNameLabel is compared with t.Container and never with t.Labels.
//   - A label expression In holds when t has at least one of the listed k=v,
//     NotIn when it has none of them.
//   - Namespaces, the document's own and those of expressions, are compared
//     only when t.Namespace is known: off Kubernetes there is nothing to compare
//     with, and a policy that was handed to a container is meant for it.
func (d *Document) Selects(t Target) bool {
	for _, why := range d.conditions(&t) {
		if why != "" {
			return false
		}
	}
	return true
}

// Misses says for each part of d's selector that does not hold for t what it
// asks for and what t has, facts that are pending aside. None means that d selects
// t, or may: see Awaits.
func (d *Document) Misses(t Target) (all []string) {
	for fact, why := range d.conditions(&t) {
		if why != "" && fact&t.Pending == 0 {
			all = append(all, why)
		}
	}
	return all
}

// Awaits gives the pending facts of t on which it depends whether d selects t:
// 0 when it is known either way.
func (d *Document) Awaits(t Target) (pending Facts) {
	for fact, why := range d.conditions(&t) {
		switch {
		case fact&t.Pending != 0:
			pending |= fact
		case why != "":
			return 0
		}
	}
	return pending
}

// conditions gives for each part of d's selector the fact that it asks for, and
// why it does not hold: "" when it does.
func (d *Document) conditions(t *Target) iter.Seq2[Facts, string] {
	return func(yield func(Facts, string) bool) {
		if d.Kind == KindPolicy && d.Namespace != "" && !yield(FactNamespace, d.missesNamespace(t)) {
			return
		}
		for _, k := range slices.Sorted(maps.Keys(d.Selector.Labels)) {
			if !yield(FactLabels, missesLabel(t, k, d.Selector.Labels[k])) {
				return
			}
		}
		if !d.Selector.Containers.any() && !yield(FactContainer, d.Selector.Containers.misses(t)) {
			return
		}
		for _, e := range d.Selector.Expressions {
			fact := FactLabels
			if e.Key == KeyNamespace {
				fact = FactNamespace
			}
			if !yield(fact, e.misses(t)) {
				return
			}
		}
	}
}

func (d *Document) missesNamespace(t *Target) string {
	if t.Namespace == "" || d.Namespace == t.Namespace {
		return ""
	}
	return fmt.Sprintf("its namespace is %q, this container's is %q%s", d.Namespace, t.Namespace, t.from(FactNamespace))
}

func missesLabel(t *Target, key, value string) string {
	have, ok := t.Labels[key]
	switch {
	case ok && have == value:
		return ""
	case ok:
		return fmt.Sprintf("it selects the label %s=%q, this container's is %q%s", key, value, have, t.from(FactLabels))
	case len(t.Labels) == 0:
		return fmt.Sprintf("it selects the label %s=%q, and this container has no labels%s", key, value, t.from(FactLabels))
	}
	return fmt.Sprintf("it selects the label %s=%q, which this container does not have%s", key, value, t.from(FactLabels))
}

// from says where a fact is from, in parentheses.
func (t *Target) from(fact Facts) string {
	if source := t.From.Of(fact); source != "" {
		return " (from " + source + ")"
	}
	return ""
}

// String is the value of the label, as policies write it.
func (c ContainerNames) String() string {
	if c.Pattern != nil {
		return strings.TrimSuffix(strings.TrimPrefix(c.Pattern.String(), wholeBegin), wholeEnd)
	}
	return "[" + strings.Join(c.Names, ", ") + "]"
}

func (c ContainerNames) any() bool { return c.Pattern == nil && len(c.Names) == 0 }

func (c ContainerNames) match(name string) bool {
	if c.Pattern != nil {
		return c.Pattern.MatchString(name)
	}
	return len(c.Names) == 0 || slices.Contains(c.Names, name)
}

func (c ContainerNames) misses(t *Target) string {
	if c.match(t.Container) {
		return ""
	}
	return fmt.Sprintf("it selects the container name %s, this container's is %q%s", c, t.Container, t.from(FactContainer))
}

func (e Expression) misses(t *Target) string {
	if e.Key == KeyNamespace && t.Namespace == "" {
		return ""
	}
	i := slices.IndexFunc(e.Values, func(value string) bool {
		if e.Key == KeyNamespace {
			return value == t.Namespace
		}
		k, v, _ := strings.Cut(value, "=")
		have, ok := t.Labels[k]
		return ok && have == v
	})
	fact, what := FactLabels, "label"
	if e.Key == KeyNamespace {
		fact, what = FactNamespace, "namespace"
	}
	switch {
	case e.Operator == OperatorIn && i < 0:
		return fmt.Sprintf("its matchExpressions select the %ss %s, none of which is this container's%s", what, strings.Join(e.Values, ", "), t.from(fact))
	case e.Operator != OperatorIn && i >= 0:
		return fmt.Sprintf("its matchExpressions exclude the %s %s, which is this container's%s", what, e.Values[i], t.from(fact))
	}
	return ""
}

// wholeBegin and wholeEnd make a pattern match a whole name.
const (
	wholeBegin = `\A(?:`
	wholeEnd   = `)\z`
)

// parseContainerNames reads the value of ContainerNameLabel. Both "" and "[]"
// select any name, as in KubeArmor.
func parseContainerNames(value string) (ContainerNames, error) {
	value = strings.TrimSpace(value)
	inner, isList := strings.CutPrefix(value, "[")
	if isList {
		inner, isList = strings.CutSuffix(inner, "]")
	}
	if isList {
		var names []string
		for name := range strings.SplitSeq(inner, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
		return ContainerNames{Names: names}, nil
	}
	if value == "" {
		return ContainerNames{}, nil
	}
	// Without Kubernetes KubeArmor takes the plain form for a regular expression
	// that may match anywhere. Anchored, "web" does not also select "webhook".
	if _, err := regexp.Compile(value); err != nil {
		return ContainerNames{}, err
	}
	re, err := regexp.Compile(wholeBegin + value + wholeEnd)
	return ContainerNames{Pattern: re}, err
}
