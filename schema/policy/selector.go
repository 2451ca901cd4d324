package policy

import (
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

// Target is a container that policies may apply to.
type Target struct {
	Namespace string // "" when unknown, as on ECS
	Pod       string
	Container string
	Labels    map[string]string // of the pod, of the container on ECS and Docker; nil when it has none
}

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
	if d.Kind == KindPolicy && d.Namespace != "" && t.Namespace != "" && d.Namespace != t.Namespace {
		return false
	}
	for k, v := range d.Selector.Labels {
		if have, ok := t.Labels[k]; !ok || have != v {
			return false
		}
	}
	if !d.Selector.Containers.match(t.Container) {
		return false
	}
	for _, e := range d.Selector.Expressions {
		if !e.holds(t) {
			return false
		}
	}
	return true
}

func (c ContainerNames) match(name string) bool {
	if c.Pattern != nil {
		return c.Pattern.MatchString(name)
	}
	return len(c.Names) == 0 || slices.Contains(c.Names, name)
}

func (e Expression) holds(t Target) bool {
	if e.Key == KeyNamespace && t.Namespace == "" {
		return true
	}
	found := slices.ContainsFunc(e.Values, func(value string) bool {
		if e.Key == KeyNamespace {
			return value == t.Namespace
		}
		k, v, _ := strings.Cut(value, "=")
		have, ok := t.Labels[k]
		return ok && have == v
	})
	return found == (e.Operator == OperatorIn)
}

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
	re, err := regexp.Compile(`\A(?:` + value + `)\z`)
	return ContainerNames{Pattern: re}, err
}
