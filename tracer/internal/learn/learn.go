// Package learn makes the policy of what it is told of: it allows what was done,
// generalised so that the next run gets along with it, and denies all else. It runs
// nothing and enforces nothing.
package learn

import (
	"errors"
	"fmt"
	"slices"
	"sort" // the generic sorts are a program of their own for each type
	"strings"
	"sync"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Names of what a policy can be about.
const (
	Processes    = "process"
	Files        = "file"
	Network      = "network"
	Endpoints    = "endpoints"
	DNS          = "dns"
	Capabilities = "capabilities"
)

// Default is what a policy is about unless something else is asked for. Rules about
// names have the tracer look at all short writes, so they are for who wants them.
const Default = Processes + "," + Files + "," + Network + "," + Endpoints + "," + Capabilities

// OfEvents is what a policy of events is about unless something else is asked for: they
// do not tell of all capabilities, nor of whom datagrams are for.
const OfEvents = Processes + "," + Files + "," + Network

// Name makes the name of a policy of that of a program.
func Name(program string) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, program), "-.")
	return name[:min(len(name), 63)]
}

// ParseAbout reads a list of names, separated by commas. The error names the word that
// is none of them.
func ParseAbout(list string) (about []string, err error) {
	known := []string{Processes, Files, Network, Endpoints, DNS, Capabilities}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if !slices.Contains(known, word) {
			return nil, fmt.Errorf("%q: use %s, separated by commas", word, strings.Join(known, ", "))
		}
		about = append(about, word)
	}
	return about, nil
}

// Options say what policy is made.
type Options struct {
	Name     string            // of the policy
	Selector map[string]string // labels of the containers that it is for; empty is all
	About    []string          // names of what it is about
}

// maxUses bounds what is kept of a run.
const maxUses = 100_000

// Learner gathers what was done. Its methods may be called from any goroutine.
type Learner struct {
	o Options

	mu     sync.Mutex
	uses   map[use]bool
	left   int                // uses that were too many to keep
	nobody int                // programs and sockets that no rule can name
	past   []spolicy.Document // policies that are merged
	blind  bool               // events were read that do not tell of opens that only read
}

// New makes a learner that knows nothing.
func New(o Options) *Learner { return &Learner{o: o, uses: map[use]bool{}} }

func (l *Learner) about(what string) bool { return slices.Contains(l.o.About, what) }

// Merge adds what policies allow: those that were learned from runs before. What they
// block is not looked at.
func (l *Learner) Merge(docs []spolicy.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past = append(l.past, docs...)
}

// Add takes one access.
func (l *Learner) Add(a rules.Access) {
	u, ok := useOf(&a)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !ok:
		l.nobody++
	case u.op == 0 || l.uses[u]:
	case len(l.uses) == maxUses:
		l.left++
	default:
		l.uses[u] = true
	}
}

// Documents are policies that deny everything, so that all is asked about that a
// policy which was learned will ask about.
func (l *Learner) Documents() []spolicy.Document {
	d := spolicy.Document{
		Kind: spolicy.KindPolicy, Name: "learn", Origin: "learn:1",
		FilePosture: spolicy.PostureBlock, NetworkPosture: spolicy.PostureBlock, CapabilitiesPosture: spolicy.PostureBlock,
	}
	const nothing = "/.none"
	if l.about(Processes) {
		d.Process = []spolicy.ProcessRule{{Path: nothing, Effect: allow}}
	}
	if l.about(Files) {
		d.File = []spolicy.FileRule{{Path: nothing, Effect: allow}}
	}
	if l.about(Network) {
		d.Network = append(d.Network, spolicy.NetworkRule{Protocol: "dccp", Effect: allow})
	}
	if l.about(Endpoints) {
		d.Network = append(d.Network, spolicy.NetworkRule{Endpoint: &spolicy.Endpoint{Path: nothing}, Effect: allow})
	}
	if l.about(DNS) {
		d.Network = append(d.Network, spolicy.NetworkRule{Domain: "invalid", Effect: allow})
	}
	if l.about(Capabilities) {
		d.Capabilities = []spolicy.CapabilityRule{{Capability: "sys_boot", Effect: allow}}
	}
	return []spolicy.Document{d}
}

// Policy makes the policy of all that was learned. Remarks are what its author should
// know. The error says that there is nothing to make one of.
func (l *Learner) Policy() (d spolicy.Document, remarks []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uses) == 0 && len(l.past) == 0 {
		return d, nil, errors.New("nothing was done that a policy could be about")
	}
	m := maker{Learner: l}
	for u := range l.uses {
		m.sorted = append(m.sorted, u)
	}
	sort.Slice(m.sorted, func(i, j int) bool { return before(&m.sorted[i], &m.sorted[j]) })
	m.doc = spolicy.Document{
		Kind: spolicy.KindPolicy, Name: l.o.Name, Selector: spolicy.Selector{Labels: l.o.Selector}, Origin: "learned",
		FilePosture: spolicy.PostureBlock, NetworkPosture: spolicy.PostureBlock, CapabilitiesPosture: spolicy.PostureBlock,
	}
	m.make()
	if err := m.prove(); err != nil {
		return d, nil, err
	}
	return m.doc, m.remarks, nil
}

// maker makes one policy.
type maker struct {
	*Learner
	sorted  []use
	doc     spolicy.Document
	remarks []string
}

func (m *maker) make() {
	if m.left > 0 {
		m.remarks = append(m.remarks, fmt.Sprintf("%d accesses were too many to be looked at: the policy lacks them", m.left))
	}
	if m.nobody > 0 {
		m.remarks = append(m.remarks, fmt.Sprintf("%d accesses were to what no rule can name, such as programs in memory: the policy denies them", m.nobody))
	}
	for _, d := range m.past {
		m.keep(&d)
	}
	for _, of := range []struct {
		name string
		make func()
	}{
		{Processes, m.processes},
		{Files, m.files},
		{Network, m.protocols},
		{Endpoints, m.endpoints},
		{DNS, m.names},
		{Capabilities, m.capabilities},
	} {
		if m.about(of.name) {
			of.make()
		}
	}
}

// keep takes over the Allow rules of a policy before.
func (m *maker) keep(d *spolicy.Document) {
	for _, r := range d.Process {
		if r.Action == spolicy.ActionAllow {
			m.doc.Process = append(m.doc.Process, r)
		}
	}
	for _, r := range d.File {
		if r.Action == spolicy.ActionAllow {
			m.doc.File = append(m.doc.File, r)
		}
	}
	for _, r := range d.Network {
		if r.Action == spolicy.ActionAllow {
			m.doc.Network = append(m.doc.Network, r)
		}
	}
	for _, r := range d.Capabilities {
		if r.Action == spolicy.ActionAllow {
			m.doc.Capabilities = append(m.doc.Capabilities, r)
		}
	}
}

// prove tries the policy on all that it was learned from, and adds what it lacks,
// exactly: no rule decides before one that names the very file.
func (m *maker) prove() error {
	for range 2 {
		compiled, err := rules.Compile([]spolicy.Document{m.doc}, spolicy.Target{Labels: m.o.Selector}, rules.Posture{})
		if err != nil {
			return err
		}
		missing := false
		for _, u := range m.sorted {
			a := u.access()
			if compiled.Decide(&a).Deny {
				m.allow(&u)
				missing = true
			}
		}
		if !missing {
			return nil
		}
	}
	m.remarks = append(m.remarks, "the policy denies some of what was done: what it was merged with has rules that are stricter")
	return nil
}

// allow adds the rule that names what a use is about, whoever does it.
func (m *maker) allow(u *use) {
	var names []element
	if u.path != "/" {
		for name := range strings.SplitSeq(strings.TrimPrefix(u.path, "/"), "/") {
			names = append(names, plain(name))
		}
	}
	name, glob := join(names)
	switch {
	case u.op == rules.Process && m.about(Processes):
		r := spolicy.ProcessRule{Path: name, Effect: allow}
		if glob {
			r.Path, r.Pattern = "", name
		}
		m.addProcess(r)
	case u.op&rules.File != 0 && m.about(Files):
		m.doc.File = slices.DeleteFunc(m.doc.File, func(r spolicy.FileRule) bool { return target(&r) == name && r.ReadOnly })
		r := spolicy.FileRule{Path: name, Effect: allow}
		if glob {
			r.Path, r.Pattern = "", name
		}
		m.doc.File = append(m.doc.File, r)
	case u.op == rules.Capabilities && m.about(Capabilities):
		m.doc.Capabilities = append(m.doc.Capabilities, spolicy.CapabilityRule{Capability: u.name, Effect: allow})
	case u.op&rules.AnyNetwork != 0 && m.about(Network):
		m.doc.Network = append(m.doc.Network, spolicy.NetworkRule{Protocol: protocolOf(u), Effect: allow})
	}
}
