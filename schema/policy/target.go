package policy

import "strings"

// Target is a container that policies may apply to.
type Target struct {
	Namespace string // "" when unknown, as on ECS
	Pod       string
	Container string
	Labels    map[string]string // of the pod, of the container on ECS and Docker; nil when it has none

	Pending Facts   // what may still become known, so that what is above is not the last word
	From    Sources // where this is known from, for people
}

// Facts is a set of what selectors ask for.
type Facts uint8

// The facts about a container that a selector can ask for.
const (
	FactNamespace Facts = 1 << iota
	FactContainer
	FactLabels
)

// String names the facts as messages do: "container name and labels".
func (f Facts) String() string {
	var names []string
	for _, fact := range []struct {
		fact Facts
		name string
	}{{FactNamespace, "namespace"}, {FactContainer, "container name"}, {FactLabels, "labels"}} {
		if f&fact.fact != 0 {
			names = append(names, fact.name)
		}
	}
	return strings.Join(names, " and ")
}

// Sources says where each fact comes from, or is awaited from: the name of a
// variable, or words such as "the hostname". "" when nothing gives it.
type Sources struct{ Namespace, Container, Labels string }

// Of gives the source of one fact.
func (s Sources) Of(fact Facts) string {
	switch fact {
	case FactNamespace:
		return s.Namespace
	case FactContainer:
		return s.Container
	case FactLabels:
		return s.Labels
	}
	return ""
}
