package rules

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Compile makes rules of the documents that select self, in the given order.
// What is valid but not evaluated is left out whole and listed by Notes: half of
// a rule could allow or deny more than was meant. An Allow rule that is left out
// makes an allow list all the same, which then lacks what the rule names. Documents
// that only watch deny nothing, and those that are off count for nothing. The error
// names a posture that does not exist.
func Compile(docs []spolicy.Document, self spolicy.Target, posture Posture) (*Rules, error) {
	return compileDocuments(docs, posture, func(d *spolicy.Document) bool { return d.Selects(self) })
}

// Needs gives the operations that rules of the documents would want to see,
// whichever of the documents select the container: what is to be held where that
// cannot be widened later. Programs are followed wherever there are rules, as
// rules name them as sources. The error is Compile's.
func Needs(docs []spolicy.Document, posture Posture) (Operation, error) {
	r, err := compileDocuments(docs, posture, func(*spolicy.Document) bool { return true })
	if err != nil || r.Wants() == 0 {
		return 0, err
	}
	return r.Wants() | Process, nil
}

// Unsupported lists what of the documents is valid and not evaluated, whichever of
// them select the container.
func Unsupported(docs []spolicy.Document) []Note {
	r, err := compileDocuments(docs, Posture{}, func(*spolicy.Document) bool { return true })
	if err != nil {
		return nil // never: the zero posture exists
	}
	return r.Notes()
}

func compileDocuments(docs []spolicy.Document, posture Posture, selected func(*spolicy.Document) bool) (*Rules, error) {
	for _, p := range []*string{&posture.File, &posture.Network, &posture.Capabilities} {
		*p = cmp.Or(*p, PostureAudit)
		if !slices.Contains([]string{PostureAudit, PostureBlock, PostureAllow}, *p) {
			return nil, fmt.Errorf("compile policies: unknown posture %q", *p)
		}
	}
	var those []*spolicy.Document
	for i := range docs {
		if selected(&docs[i]) {
			those = append(those, &docs[i])
		}
	}
	enforcing, all := withoutWatching(those)
	r := compileAll(enforcing, posture)
	if all != nil {
		r.watched = compileAll(all, posture)
	}
	return r, nil
}

// stricter gives the posture where documents name one: block, if any does.
func stricter(docs []*spolicy.Document, posture Posture) Posture {
	var named Posture
	for _, d := range docs {
		for own, field := range map[*string]string{&named.File: d.FilePosture, &named.Network: d.NetworkPosture, &named.Capabilities: d.CapabilitiesPosture} {
			if *own != PostureBlock {
				*own = cmp.Or(field, *own)
			}
		}
	}
	return Posture{
		File: cmp.Or(named.File, posture.File), Network: cmp.Or(named.Network, posture.Network),
		Capabilities: cmp.Or(named.Capabilities, posture.Capabilities),
	}
}

// compileAll makes rules of documents as if they all enforced.
func compileAll(docs []*spolicy.Document, posture Posture) *Rules {
	posture = stricter(docs, posture)
	c := compiler{rules: &Rules{
		process:   newPathRules(Process, posture.File, true),
		file:      newPathRules(File, posture.File, false),
		network:   networkRules{class: class{op: Network, posture: posture.Network}},
		endpoints: endpointRules{class: class{op: Network | NetworkSend, posture: posture.Network}},
		names:     nameRules{class: class{op: NetworkDNS, posture: posture.Network}, byName: map[string]*node{}},

		capabilities: capabilityRules{class: class{op: Capabilities, posture: posture.Capabilities}, byName: map[string]*node{}},
		syscalls:     syscallRules{byName: map[string][]*syscallRule{}},
	}}
	for _, d := range docs {
		c.document(d)
	}
	return c.finish()
}

type compiler struct {
	rules *Rules
	doc   *spolicy.Document
	shows Operation // what shows the use of capabilities that rules name
}

// finish works out what can be asked of all rules together.
func (c *compiler) finish() *Rules {
	r := c.rules
	if r.network.posture == PostureBlock {
		r.network.op = sockets
		if r.endpoints.allowList {
			r.can.addressed.add(r.endpoints.op, nil)
		}
	}
	for _, class := range []*class{&r.process.class, &r.file.class, &r.network.class, &r.endpoints.class, &r.names.class, &r.capabilities.class} {
		if class.allowList {
			r.can.allowList(class.posture, class.op)
		}
	}
	r.wants, r.denies = r.can.alerted.whole()|c.shows, r.can.denied.whole()
	if r.capabilities.allowList && r.wants&Capabilities != 0 {
		r.wants |= FileWrite | Network // which show the use of capabilities, too
	}
	return r
}

func (c *compiler) document(d *spolicy.Document) {
	c.doc = d
	for i := range d.Process {
		c.process(&d.Process[i])
	}
	for i := range d.File {
		c.file(&d.File[i])
	}
	for i := range d.Network {
		c.network(&d.Network[i])
	}
	for i := range d.Capabilities {
		c.capability(&d.Capabilities[i])
	}
	for i := range d.Syscalls {
		c.syscall(&d.Syscalls[i])
	}
	for i := range d.Presets {
		c.preset(&d.Presets[i])
	}
	if d.AppArmor != "" {
		c.note("apparmor", "", "raw AppArmor text means nothing without AppArmor")
	}
}

func (c *compiler) note(section, action, why string) {
	c.rules.notes = append(c.rules.notes, Note{Policy: c.doc.Name, At: c.doc.Origin, Section: section, Action: action, Why: why})
}

// leaveOut notes a rule of a class that is not evaluated. An allow list is not
// lost with it: nobody gets more access because of a rule that means nothing.
func (c *compiler) leaveOut(class *class, section, action, why string) {
	if action == spolicy.ActionAllow {
		class.used, class.allowList = true, true
		why += "; the allow list holds, and lacks it"
	}
	c.note(section, action, why)
}

// add makes the rule, and notes what it can do.
func (c *compiler) add(class *class, e spolicy.Effect, l limits, sources []string) *rule {
	return c.addAbout(class.op, class, e, l, sources)
}

// addAbout is add for a rule that is about some operations of its class.
func (c *compiler) addAbout(op Operation, class *class, e spolicy.Effect, l limits, sources []string) *rule {
	r := class.newRule(c.doc.Name, e, l)
	c.rules.can.add(r, op, sources)
	return r
}

func (c *compiler) process(r *spolicy.ProcessRule) {
	p := &c.rules.process
	if r.ExecName != "" && len(r.FromSource) > 0 && r.Action != spolicy.ActionAudit {
		c.leaveOut(&p.class, "process.matchPaths", r.Action, r.ExecName+": execname with fromSource never matches in KubeArmor either; name the path")
		return
	}
	var pattern *glob
	if r.Pattern != "" {
		var err error
		if pattern, err = compileGlob(r.Pattern); err != nil {
			c.leaveOut(&p.class, "process.matchPatterns", r.Action, err.Error())
			return
		}
	}
	l := limits{ownerOnly: r.OwnerOnly, noTTY: r.PTS != nil && !*r.PTS}
	if len(r.AllowedArgs) > 0 {
		l.args = r.AllowedArgs
	}
	sources := programs(r.FromSource)
	compiled := c.add(&p.class, r.Effect, l, sources)
	switch {
	case pattern != nil:
		p.addPattern(pattern, compiled)
	case r.Dir != "":
		p.addDir(directory(r.Dir), r.Recursive, compiled, sources)
	case r.ExecName != "": // wins over a path given with it, as in KubeArmor
		p.addName(r.ExecName, compiled, sources)
	default:
		p.addPath(path.Clean(r.Path), compiled, sources)
	}
}

func (c *compiler) file(r *spolicy.FileRule) {
	f := &c.rules.file
	var pattern *glob
	if r.Pattern != "" {
		var err error
		if pattern, err = compileGlob(r.Pattern); err != nil {
			c.leaveOut(&f.class, "file.matchPatterns", r.Action, err.Error())
			return
		}
	}
	sources := programs(r.FromSource)
	compiled := c.add(&f.class, r.Effect, limits{readOnly: r.ReadOnly, ownerOnly: r.OwnerOnly, noTTY: r.PTS != nil && !*r.PTS}, sources)
	switch {
	case pattern != nil:
		f.addPattern(pattern, compiled)
	case r.Dir != "":
		f.addDir(directory(r.Dir), r.Recursive, compiled, sources)
	default:
		f.addPath(path.Clean(r.Path), compiled, sources)
	}
}

func (c *compiler) network(r *spolicy.NetworkRule) {
	n := &c.rules.network
	if r.Endpoint != nil {
		c.endpoint(r)
		return
	}
	if r.Domain != "" {
		c.name(r)
		return
	}
	protocol := parseToken(r.Protocol, all, packet)
	if protocol == none {
		c.leaveOut(&n.class, "network.matchProtocols", r.Action, fmt.Sprintf("unknown protocol %q", r.Protocol))
		return
	}
	sources := programs(r.FromSource)
	op := protocol.concerns()
	if r.Action == spolicy.ActionAudit {
		op &^= NetworkSend
	}
	n.nodes[protocol].add(c.addAbout(op, &n.class, r.Effect, limits{noTTY: r.PTS != nil && !*r.PTS}, sources), sources)
}

func (c *compiler) capability(r *spolicy.CapabilityRule) {
	k := &c.rules.capabilities
	name := capabilityName(r.Capability)
	op := CapabilityOperation(name)
	if op == 0 {
		c.leaveOut(&k.class, "capabilities.matchCapabilities", r.Action, r.Capability+": no call shows its use")
		return
	}
	c.shows |= op
	sources := programs(r.FromSource)
	at(k.byName, name).add(c.add(&k.class, r.Effect, limits{}, sources), sources)
}

func programs(sources []string) []string {
	cleaned := make([]string, len(sources))
	for i, s := range sources {
		cleaned[i] = path.Clean(s)
	}
	return slices.Compact(slices.Sorted(slices.Values(cleaned)))
}

// directory gives the key of a directory: no final "/", and "" for the root.
func directory(dir string) string {
	if dir = path.Clean(dir); dir != "/" {
		return dir
	}
	return ""
}
