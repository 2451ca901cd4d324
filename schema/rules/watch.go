package rules

import (
	"slices"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// ActionWatched is the action of an alert of what would have been denied. KubeArmor
// writes it so where a pod is audited.
const ActionWatched = "Audit (Block)"

// beside gives the verdict where the policies that enforce say v, and all of them,
// with those that only watch, would say w.
func (v Verdict) beside(w Verdict) Verdict {
	switch {
	case w.Deny:
		w.Deny, w.Action = false, ActionWatched
		return w
	case v.Alert:
		return v
	}
	return w
}

// withoutWatching gives the documents that enforce, and all, as if those that only
// watch enforced: in the place of those that they are versions of. It is nil where
// none only watches. What is off counts nowhere.
func withoutWatching(docs []*spolicy.Document) (enforcing, all []*spolicy.Document) {
	type key struct{ kind, namespace, name string }
	keyOf := func(d *spolicy.Document) key { return key{d.Kind, d.Namespace, d.Name} }
	versions := map[key]*spolicy.Document{}
	for _, d := range docs {
		switch d.Mode {
		case spolicy.Enforce:
			enforcing = append(enforcing, d)
		case spolicy.Watch:
			versions[keyOf(d)] = d
		case spolicy.Off:
		}
	}
	if len(versions) == 0 {
		return enforcing, nil
	}
	all = slices.Clone(enforcing)
	for i, d := range all {
		if version := versions[keyOf(d)]; version != nil {
			all[i] = version
			delete(versions, keyOf(d))
		}
	}
	for _, d := range docs {
		if d.Mode == spolicy.Watch && versions[keyOf(d)] == d {
			all = append(all, d)
		}
	}
	return enforcing, all
}
