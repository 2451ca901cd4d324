// Package trial says of the decisions of a run which rule made each, and which would
// have made it otherwise. It decides with the rules that are compiled for it, and
// enforces nothing.
package trial

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/explain"
)

// maxDecisions bounds what is kept of a run.
const maxDecisions = 10_000

// Compile makes the rules of documents, as they are in force in a run.
type Compile func([]spolicy.Document) (*rules.Rules, error)

// Trial watches a run. Its methods may be called from any goroutine.
type Trial struct {
	compile Compile
	docs    []spolicy.Document // one for each rule, whose name is its number
	rules   []Rule             // by number
	alone   []*rules.Rules     // each as if it were the only one
	all     *rules.Rules

	mu    sync.Mutex
	seen  map[string]*decision
	order []*decision
	more  int
}

// Rule is one rule of a policy.
type Rule struct {
	Policy string `json:"policy"`
	At     string `json:"at"` // file:line
	Words  string `json:"does"`
}

// decision is a decision that was made some times.
type decision struct {
	access  rules.Access
	verdict rules.Verdict
	times   int
}

// New takes the documents apart. They are for the container of the run, whatever they
// select.
func New(docs []spolicy.Document, compile Compile) (*Trial, error) {
	t := &Trial{compile: compile, seen: map[string]*decision{}}
	for i := range docs {
		t.split(&docs[i])
	}
	all, err := compile(t.docs)
	if err != nil {
		return nil, err
	}
	for i := range t.docs {
		alone, err := compile(t.docs[i : i+1])
		if err != nil {
			return nil, err
		}
		t.alone = append(t.alone, alone)
	}
	t.all = all.Observed(t.observe)
	return t, nil
}

// split makes a document of each rule.
func (t *Trial) split(d *spolicy.Document) {
	base := spolicy.Document{
		Kind: d.Kind, Mode: d.Mode, Origin: d.Origin,
		FilePosture: d.FilePosture, NetworkPosture: d.NetworkPosture, CapabilitiesPosture: d.CapabilitiesPosture,
	}
	one := func(e spolicy.Effect, put func(*spolicy.Document)) {
		single := base
		single.Name = strconv.Itoa(len(t.docs))
		put(&single)
		file, _, _ := cutLast(d.Origin, ':')
		r := Rule{Policy: d.Name, At: fmt.Sprintf("%s:%d", file, e.Line)}
		if words := explain.Rules(&single); len(words) > 0 {
			r.Words = words[0]
		}
		t.docs, t.rules = append(t.docs, single), append(t.rules, r)
	}
	for _, r := range d.Process {
		one(r.Effect, func(s *spolicy.Document) { s.Process = []spolicy.ProcessRule{r} })
	}
	for _, r := range d.File {
		one(r.Effect, func(s *spolicy.Document) { s.File = []spolicy.FileRule{r} })
	}
	for _, r := range d.Network {
		one(r.Effect, func(s *spolicy.Document) { s.Network = []spolicy.NetworkRule{r} })
	}
	for _, r := range d.Capabilities {
		one(r.Effect, func(s *spolicy.Document) { s.Capabilities = []spolicy.CapabilityRule{r} })
	}
	for _, r := range d.Syscalls {
		one(r.Effect, func(s *spolicy.Document) { s.Syscalls = []spolicy.SyscallRule{r} })
	}
	for _, r := range d.Presets {
		one(r.Effect, func(s *spolicy.Document) { s.Presets = []spolicy.PresetRule{r} })
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// Documents are what the rules of the run are made of.
func (t *Trial) Documents() []spolicy.Document { return t.docs }

// Rules are those of the run.
func (t *Trial) Rules() *rules.Rules { return t.all }

// observe keeps a decision of the run.
func (t *Trial) observe(a rules.Access, v rules.Verdict) {
	if a.Operation&(rules.Process|rules.Syscall) == 0 {
		a.ParentSource = "" // no rule asks for it
	}
	a.PID, a.Args = 0, slices.Clone(a.Args)
	key := fmt.Sprintf("%v %+v", v.PolicyName, a)
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.seen[key]
	switch {
	case d != nil:
	case len(t.order) == maxDecisions:
		t.more++
		return
	default:
		d = &decision{access: a, verdict: v}
		t.seen[key] = d
		t.order = append(t.order, d)
	}
	d.times++
}
