// Package explain tells people what policies mean: in words, with what can never
// match here and what is not supported. It enforces nothing.
package explain

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// File is what is said of one file.
type File struct {
	File     string   `json:"file"`
	Errors   []string `json:"errors,omitempty"` // why it is not taken: "file:line: what"
	Policies []Policy `json:"policies,omitempty"`
}

// Policy is what is said of one policy.
type Policy struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	At        string   `json:"at"` // file:line
	AppliesTo string   `json:"appliesTo"`
	Rules     []string `json:"rules"`               // what each does, in words
	AllowList []string `json:"allowList,omitempty"` // what the postures decide about because of it

	Warnings    []string `json:"warnings,omitempty"`    // what is passed over or was put right: "file:line: what"
	Never       []string `json:"never,omitempty"`       // what can match nothing here
	Unsupported []string `json:"unsupported,omitempty"` // what is valid and not enforced
}

// Doubts says whether anything in the file does less than it says.
func (f *File) Doubts() bool {
	return slices.ContainsFunc(f.Policies, func(p Policy) bool {
		return len(p.Warnings)+len(p.Never)+len(p.Unsupported) > 0
	})
}

// Explain tells what the text of a file means, where files are as follow says: it
// gives the path of the file that a path leads to, and an error if there is none.
func Explain(name string, text []byte, strict bool, follow func(path string) (string, error)) File {
	parse := spolicy.Parse
	if strict {
		parse = spolicy.ParseStrict
	}
	f := File{File: name}
	docs, err := parse(name, bytes.NewReader(text))
	if err != nil {
		f.Errors = strings.Split(err.Error(), "\n")
	}
	for i := range docs {
		f.Policies = append(f.Policies, policy(&docs[i], follow))
	}
	return f
}

func policy(d *spolicy.Document, follow func(string) (string, error)) Policy {
	p := Policy{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name, At: d.Origin, AppliesTo: selected(d), Rules: words(d), AllowList: allowLists(d), Warnings: d.Warnings}
	for _, n := range rules.Unsupported([]spolicy.Document{*d}) {
		p.Unsupported = append(p.Unsupported, n.Section+": "+n.Why)
	}
	l := links{follow: follow}
	l.document(d)
	p.Never = l.never
	return p
}

// Text writes what is said of a file for people.
func (f *File) Text() string {
	var b strings.Builder
	for _, e := range f.Errors {
		fmt.Fprintf(&b, "error: %s\n", e)
	}
	if len(f.Errors) == 0 && len(f.Policies) == 0 {
		fmt.Fprintf(&b, "%s: no policies\n", f.File)
	}
	for _, p := range f.Policies {
		name := p.Name
		if p.Namespace != "" {
			name = p.Namespace + "/" + p.Name
		}
		fmt.Fprintf(&b, "%s: %s %s\n  applies to %s\n", p.At, p.Kind, name, p.AppliesTo)
		for _, list := range []struct {
			before string
			all    []string
		}{{"", p.Rules}, {"", p.AllowList}, {"warning: ", p.Warnings}, {"never matches here: ", p.Never}, {"not supported: ", p.Unsupported}} {
			for _, what := range list.all {
				fmt.Fprintf(&b, "  %s%s\n", list.before, what)
			}
		}
	}
	return b.String()
}

// selected says whom a policy applies to.
func selected(d *spolicy.Document) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(d.Selector.Labels)) {
		parts = append(parts, fmt.Sprintf("the label %s=%s", k, d.Selector.Labels[k]))
	}
	switch c := d.Selector.Containers; {
	case c.Pattern != nil:
		parts = append(parts, "a name that is "+c.String())
	case len(c.Names) > 0:
		parts = append(parts, "one of the names "+c.String())
	}
	for _, e := range d.Selector.Expressions {
		verb := map[string]string{spolicy.OperatorIn: "one", spolicy.OperatorNotIn: "none"}[e.Operator]
		parts = append(parts, fmt.Sprintf("%s of the %ss %s", verb, e.Key, strings.Join(e.Values, ", ")))
	}
	where := ""
	if d.Kind == spolicy.KindPolicy && d.Namespace != "" {
		where = " in the namespace " + d.Namespace
	}
	if len(parts) == 0 {
		return "every container" + where
	}
	return "containers" + where + " with " + strings.Join(parts, " and ")
}

// allowLists says which classes the policy makes an allow list of.
func allowLists(d *spolicy.Document) (all []string) {
	allows := func(e spolicy.Effect) bool { return e.Action == spolicy.ActionAllow }
	network := func(is func(*spolicy.NetworkRule) bool) bool {
		return slices.ContainsFunc(d.Network, func(r spolicy.NetworkRule) bool { return allows(r.Effect) && is(&r) })
	}
	for _, list := range []struct {
		is                    bool
		what, posture, option string
	}{
		{slices.ContainsFunc(d.Process, func(r spolicy.ProcessRule) bool { return allows(r.Effect) }), "programs", d.FilePosture, "--default-file-posture"},
		{slices.ContainsFunc(d.File, func(r spolicy.FileRule) bool { return allows(r.Effect) }), "files", d.FilePosture, "--default-file-posture"},
		{network(func(r *spolicy.NetworkRule) bool { return r.Protocol != "" }), "sockets", d.NetworkPosture, "--default-network-posture"},
		{network(func(r *spolicy.NetworkRule) bool { return r.Domain != "" }), "names", d.NetworkPosture, "--default-network-posture"},
		{network(func(r *spolicy.NetworkRule) bool { return r.Endpoint != nil }), "addresses and Unix sockets", d.NetworkPosture, "--default-network-posture"},
		{slices.ContainsFunc(d.Capabilities, func(r spolicy.CapabilityRule) bool { return allows(r.Effect) }), "capabilities", d.CapabilitiesPosture, "--default-capabilities-posture"},
	} {
		fate := "up to " + list.option
		switch list.posture {
		case spolicy.PostureBlock:
			fate = "denied"
		case spolicy.PostureAudit:
			fate = "told of"
		}
		if list.is {
			all = append(all, "allow list: all other "+list.what+" are "+fate)
		}
	}
	return all
}
