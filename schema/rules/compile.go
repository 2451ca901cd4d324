package rules

import (
	"fmt"
	"path"
	"slices"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Compile makes rules of the documents that select self, in the given order.
// What is valid but not evaluated is left out whole and listed by Notes: half
// of a rule could allow or deny more than was meant. The error names a posture
// that does not exist.
func Compile(docs []spolicy.Document, self spolicy.Target, posture Posture) (*Rules, error) {
	for _, p := range []*string{&posture.File, &posture.Network, &posture.Capabilities} {
		if *p == "" {
			*p = PostureAudit
		}
		if !slices.Contains([]string{PostureAudit, PostureBlock, PostureAllow}, *p) {
			return nil, fmt.Errorf("compile policies: unknown posture %q", *p)
		}
	}
	c := compiler{rules: &Rules{
		process: newPathRules(posture.File, true),
		file:    newPathRules(posture.File, false),
		network: networkRules{class: class{posture: posture.Network}},
	}}
	for i := range docs {
		if docs[i].Selects(self) {
			c.document(&docs[i])
		}
	}
	return c.rules, nil
}

type compiler struct {
	rules *Rules
	doc   *spolicy.Document
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
	for _, r := range d.Capabilities {
		c.note("capabilities.matchCapabilities", r.Capability+": capabilities are not observed")
	}
	for _, r := range d.Syscalls {
		c.note("syscalls", fmt.Sprintf("%v: rules about system calls are not evaluated", r.Syscalls))
	}
	for _, r := range d.Presets {
		c.note("presets", r.Name+": presets are not evaluated")
	}
	if d.AppArmor != "" {
		c.note("apparmor", "raw AppArmor text means nothing without AppArmor")
	}
}

func (c *compiler) note(section, why string) {
	c.rules.notes = append(c.rules.notes, Note{Policy: c.doc.Name, Section: section, Why: why})
}

func (c *compiler) process(r *spolicy.ProcessRule) {
	section, target := "process.matchPaths", r.Path+r.ExecName
	if r.Dir != "" {
		section, target = "process.matchDirectories", r.Dir
	}
	switch {
	case r.Pattern != "":
		c.note("process.matchPatterns", r.Pattern+": patterns are not evaluated")
		return
	case r.PTS != nil:
		c.note(section, target+": pts is not evaluated")
		return
	case len(r.AllowedArgs) > 0:
		c.note(section, target+": allowedArgs is not evaluated")
		return
	case r.ExecName != "" && len(r.FromSource) > 0 && r.Action != spolicy.ActionAudit:
		c.note(section, target+": execname with fromSource never matches in KubeArmor either; name the path")
		return
	}
	p := &c.rules.process
	compiled := p.newRule(c.doc.Name, r.Effect, false, r.OwnerOnly)
	sources := programs(r.FromSource)
	switch {
	case r.Dir != "":
		p.addDir(directory(r.Dir), r.Recursive, compiled, sources)
	case r.ExecName != "": // wins over a path given with it, as in KubeArmor
		p.addName(r.ExecName, compiled, sources)
	default:
		p.addPath(path.Clean(r.Path), compiled, sources)
	}
}

func (c *compiler) file(r *spolicy.FileRule) {
	section, target := "file.matchPaths", r.Path
	if r.Dir != "" {
		section, target = "file.matchDirectories", r.Dir
	}
	switch {
	case r.Pattern != "":
		c.note("file.matchPatterns", r.Pattern+": patterns are not evaluated")
		return
	case r.PTS != nil:
		c.note(section, target+": pts is not evaluated")
		return
	}
	f := &c.rules.file
	compiled := f.newRule(c.doc.Name, r.Effect, r.ReadOnly, r.OwnerOnly)
	sources := programs(r.FromSource)
	if r.Dir != "" {
		f.addDir(directory(r.Dir), r.Recursive, compiled, sources)
		return
	}
	f.addPath(path.Clean(r.Path), compiled, sources)
}

func (c *compiler) network(r *spolicy.NetworkRule) {
	protocol := parseToken(r.Protocol, all, packet)
	switch {
	case r.Domain != "":
		c.note("network.matchDNSQueries", r.Domain+": DNS queries are not observed")
		return
	case r.PTS != nil:
		c.note("network.matchProtocols", r.Protocol+": pts is not evaluated")
		return
	case protocol == none:
		c.note("network.matchProtocols", fmt.Sprintf("unknown protocol %q", r.Protocol))
		return
	}
	n := &c.rules.network
	n.nodes[protocol].add(n.newRule(c.doc.Name, r.Effect, false, false), programs(r.FromSource))
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
