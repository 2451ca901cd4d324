package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

type lists = map[string]func(n *yaml.Node)

func (r *reader) process(n *yaml.Node, d *Document) {
	var paths, dirs, patterns []ProcessRule
	own := r.section(n, "process", true, lists{
		"matchPaths": func(n *yaml.Node) {
			var p ProcessRule
			f := r.processFields(&p)
			f["path"] = func(n *yaml.Node) { p.Path = r.path(n, "path") }
			f["execname"] = func(n *yaml.Node) { p.ExecName = r.execName(n) }
			f["fromSource"] = func(n *yaml.Node) { p.FromSource = r.fromSource(n) }
			f["pts"] = func(n *yaml.Node) { p.PTS = new(r.boolean(n, "pts")) }
			f["allowedArgs"] = func(n *yaml.Node) { p.AllowedArgs = r.allowedArgs(n) }
			r.rule(n, "an item of process.matchPaths", &p.Effect, f, func() bool { return p.Path != "" || p.ExecName != "" }, "path or execname")
			if p.Path != "" && p.ExecName != "" {
				r.warnf(n, "a rule with path and execname: execname %s decides alone", p.ExecName)
				p.Path = "" // KubeArmor feeder/policyMatcher.go
			}
			paths = append(paths, p)
		},
		"matchDirectories": func(n *yaml.Node) {
			var p ProcessRule
			f := r.processFields(&p)
			f["dir"] = func(n *yaml.Node) { p.Dir = r.dir(n, "dir") }
			f["recursive"] = func(n *yaml.Node) { p.Recursive = r.boolean(n, "recursive") }
			f["fromSource"] = func(n *yaml.Node) { p.FromSource = r.fromSource(n) }
			f["pts"] = func(n *yaml.Node) { p.PTS = new(r.boolean(n, "pts")) }
			r.rule(n, "an item of process.matchDirectories", &p.Effect, f, func() bool { return p.Dir != "" }, "dir")
			dirs = append(dirs, p)
		},
		"matchPatterns": func(n *yaml.Node) {
			var p ProcessRule
			f := r.processFields(&p)
			f["pattern"] = func(n *yaml.Node) { p.Pattern = r.pattern(n) }
			r.rule(n, "an item of process.matchPatterns", &p.Effect, f, func() bool { return p.Pattern != "" }, "pattern")
			patterns = append(patterns, p)
		},
	})
	d.Process = slices.Concat(paths, dirs, patterns)
	for i := range d.Process {
		d.Process[i].inherit(own)
	}
}

// rule reads one rule with f and asks for what it cannot do without.
func (r *reader) rule(n *yaml.Node, what string, e *Effect, f fields, complete func() bool, needs string) {
	before := len(r.errs)
	e.Line = r.before + n.Line
	r.mapping(n, what, f)
	if len(r.errs) == before && !complete() {
		r.errorf(n, "%s needs %s", what, needs)
	}
}

func (r *reader) processFields(p *ProcessRule) fields {
	f := fields{"ownerOnly": func(n *yaml.Node) { p.OwnerOnly = r.boolean(n, "ownerOnly") }}
	r.effect(f, "rule", &p.Effect)
	return f
}

func (r *reader) fileSection(n *yaml.Node, d *Document) {
	var paths, dirs, patterns []FileRule
	own := r.section(n, "file", true, lists{
		"matchPaths": func(n *yaml.Node) {
			var p FileRule
			f := r.fileFields(&p)
			f["path"] = func(n *yaml.Node) { p.Path = r.path(n, "path") }
			f["fromSource"] = func(n *yaml.Node) { p.FromSource = r.fromSource(n) }
			f["pts"] = func(n *yaml.Node) { p.PTS = new(r.boolean(n, "pts")) }
			r.rule(n, "an item of file.matchPaths", &p.Effect, f, func() bool { return p.Path != "" }, "path")
			paths = append(paths, p)
		},
		"matchDirectories": func(n *yaml.Node) {
			var p FileRule
			f := r.fileFields(&p)
			f["dir"] = func(n *yaml.Node) { p.Dir = r.dir(n, "dir") }
			f["recursive"] = func(n *yaml.Node) { p.Recursive = r.boolean(n, "recursive") }
			f["fromSource"] = func(n *yaml.Node) { p.FromSource = r.fromSource(n) }
			f["pts"] = func(n *yaml.Node) { p.PTS = new(r.boolean(n, "pts")) }
			r.rule(n, "an item of file.matchDirectories", &p.Effect, f, func() bool { return p.Dir != "" }, "dir")
			dirs = append(dirs, p)
		},
		"matchPatterns": func(n *yaml.Node) {
			var p FileRule
			f := r.fileFields(&p)
			f["pattern"] = func(n *yaml.Node) { p.Pattern = r.pattern(n) }
			r.rule(n, "an item of file.matchPatterns", &p.Effect, f, func() bool { return p.Pattern != "" }, "pattern")
			patterns = append(patterns, p)
		},
	})
	d.File = slices.Concat(paths, dirs, patterns)
	for i := range d.File {
		d.File[i].inherit(own)
	}
}

func (r *reader) fileFields(p *FileRule) fields {
	f := fields{
		"readOnly":  func(n *yaml.Node) { p.ReadOnly = r.boolean(n, "readOnly") },
		"ownerOnly": func(n *yaml.Node) { p.OwnerOnly = r.boolean(n, "ownerOnly") },
	}
	r.effect(f, "rule", &p.Effect)
	return f
}

func (r *reader) network(n *yaml.Node, d *Document) {
	var protocols, domains, endpoints []NetworkRule
	own := r.section(n, "network", true, lists{
		"matchProtocols": func(n *yaml.Node) {
			var p NetworkRule
			var names []string
			f := fields{
				"protocol":   func(n *yaml.Node) { names = r.protocols(n) },
				"fromSource": func(n *yaml.Node) { p.FromSource = r.fromSource(n) },
				"pts":        func(n *yaml.Node) { p.PTS = new(r.boolean(n, "pts")) },
			}
			r.effect(f, "rule", &p.Effect)
			r.rule(n, "an item of network.matchProtocols", &p.Effect, f, func() bool { return len(names) > 0 }, "protocol")
			for _, p.Protocol = range names {
				protocols = append(protocols, p)
			}
		},
		"matchEndpoints": func(n *yaml.Node) { endpoints = append(endpoints, r.endpoints(n)...) },
		"matchDNSQueries": func(n *yaml.Node) {
			var p NetworkRule
			var names []string
			f := fields{
				"domain":     func(n *yaml.Node) { names = r.domains(n) },
				"fromSource": func(n *yaml.Node) { p.FromSource = r.fromSource(n) },
			}
			r.effect(f, "rule", &p.Effect)
			r.rule(n, "an item of network.matchDNSQueries", &p.Effect, f, func() bool { return len(names) > 0 }, "domain")
			for _, p.Domain = range names {
				domains = append(domains, p)
			}
		},
	})
	d.Network = slices.Concat(protocols, domains, endpoints)
	for i := range d.Network {
		d.Network[i].inherit(own)
	}
}

func (r *reader) capabilities(n *yaml.Node, d *Document) {
	own := r.section(n, "capabilities", true, lists{
		"matchCapabilities": func(n *yaml.Node) {
			var p CapabilityRule
			var names []string
			f := fields{
				"capability": func(n *yaml.Node) { names = r.capabilityNames(n) },
				"fromSource": func(n *yaml.Node) { p.FromSource = r.fromSource(n) },
			}
			r.effect(f, "rule", &p.Effect)
			r.rule(n, "an item of capabilities.matchCapabilities", &p.Effect, f, func() bool { return len(names) > 0 }, "capability")
			for _, p.Capability = range names {
				d.Capabilities = append(d.Capabilities, p)
			}
		},
	})
	for i := range d.Capabilities {
		d.Capabilities[i].inherit(own)
	}
}

// syscalls reads the one section without actions.
func (r *reader) syscalls(n *yaml.Node, d *Document) {
	var calls, paths []SyscallRule
	own := r.section(n, "syscalls", false, lists{
		"matchSyscalls": func(n *yaml.Node) {
			var p SyscallRule
			f := r.syscallFields(&p)
			r.rule(n, "an item of syscalls.matchSyscalls", &p.Effect, f, func() bool { return len(p.Syscalls) > 0 }, "syscall")
			calls = append(calls, p)
		},
		"matchPaths": func(n *yaml.Node) {
			var p SyscallRule
			f := r.syscallFields(&p)
			f["path"] = func(n *yaml.Node) { p.Path = r.pathOrDir(n) }
			f["recursive"] = func(n *yaml.Node) { p.Recursive = r.boolean(n, "recursive") }
			r.rule(n, "an item of syscalls.matchPaths", &p.Effect, f, func() bool { return p.Path != "" && len(p.Syscalls) > 0 }, "path and syscall")
			paths = append(paths, p)
		},
	})
	d.Syscalls = slices.Concat(calls, paths)
	for i := range d.Syscalls {
		d.Syscalls[i].inherit(own)
	}
}

func (r *reader) syscallFields(p *SyscallRule) fields {
	f := fields{
		"syscall":    func(n *yaml.Node) { p.Syscalls = r.syscallNames(n) },
		"fromSource": func(n *yaml.Node) { p.FromSource = r.syscallSources(n) },
	}
	r.effect(f, "rule", &p.Effect)
	delete(f, "action")
	return f
}

// syscallSources reads the only fromSource that may name directories.
func (r *reader) syscallSources(n *yaml.Node) []SyscallSource {
	var all []SyscallSource
	r.list(n, "fromSource", func(n *yaml.Node) {
		var s SyscallSource
		f := fields{
			"path":      func(n *yaml.Node) { s.Path = r.path(n, "path") },
			"dir":       func(n *yaml.Node) { s.Dir = r.dir(n, "dir") },
			"recursive": func(n *yaml.Node) { s.Recursive = r.boolean(n, "recursive") },
		}
		one := func() bool { return (s.Path == "") != (s.Dir == "") }
		r.rule(n, "an item of fromSource", &Effect{}, f, one, "either path or dir")
		all = append(all, s)
	})
	return all
}

func (r *reader) presets(n *yaml.Node, d *Document) {
	known := []string{PresetAnonymousMapExec, PresetFilelessExec, PresetProtectEnv, PresetExec, PresetProtectProc, PresetCloudCredentials}
	r.list(n, "spec.presets", func(n *yaml.Node) {
		var p PresetRule
		r.rule(n, "an item of presets", &p.Effect, fields{
			"name": func(n *yaml.Node) { p.Name = r.oneOf(n, "preset", known) },
			"action": func(n *yaml.Node) {
				p.Action = r.action(n, "preset action")
				if p.Action == ActionAllow {
					r.warnf(n, "a preset with action Allow blocks: leave the preset out to allow")
				}
			},
			"fromSource": func(n *yaml.Node) { p.FromSource = r.fromSource(n) },
		}, func() bool { return p.Name != "" }, "name")
		if len(p.FromSource) > 0 && p.Name != PresetCloudCredentials {
			r.errorf(n, "the preset %s takes no fromSource: only %s does", p.Name, PresetCloudCredentials)
		}
		if p.Action != ActionAudit {
			p.Action = ActionBlock // KubeArmor presets/filelessexec/preset.go
		}
		d.Presets = append(d.Presets, p)
	})
}

// fromSource reads the programs that a rule is about.
func (r *reader) fromSource(n *yaml.Node) []string {
	var all []string
	r.list(n, "fromSource", func(n *yaml.Node) {
		var source string
		f := fields{"path": func(n *yaml.Node) { source = r.path(n, "path") }}
		r.rule(n, "an item of fromSource", &Effect{}, f, func() bool { return source != "" }, "path")
		all = append(all, source)
	})
	return all
}

func (r *reader) allowedArgs(n *yaml.Node) []string {
	const limit = 20 // KubeArmor's CRD
	args := r.texts(n, "allowedArgs")
	if len(args) > limit {
		r.errorf(n, "allowedArgs has %d items: at most %d are allowed", len(args), limit)
	}
	return args
}

// names splits the comma list that KubeArmor takes wherever a rule's first
// field is a name.
func names(list string) []string {
	var all []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}
