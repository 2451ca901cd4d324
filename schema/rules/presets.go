package rules

import (
	"strconv"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// preset is one of KubeArmor's ready-made rules.
type preset int

const (
	anonymousMapExec preset = iota
	filelessExec
	protectEnv
	protectProc
	execPreset
	presetCount
)

// presetNames gives the names in policies and what KubeArmor calls the enforcer of
// their alerts, and the operation that each is about.
var presetNames = [presetCount]struct {
	name, enforcer string
	op             Operation
}{
	anonymousMapExec: {spolicy.PresetAnonymousMapExec, "PRESET-AnonMapExecutionPreset", MapExec},
	filelessExec:     {spolicy.PresetFilelessExec, "PRESET-FilelessExecutionPreset", Process},
	protectEnv:       {spolicy.PresetProtectEnv, "PRESET-ProtectEnvPreset", File},
	protectProc:      {spolicy.PresetProtectProc, "PRESET-ProtectProcPreset", File},
	execPreset:       {spolicy.PresetExec, "PRESET-ExecPreset", 0},
}

// presets are those that policies turn on. The zero Verdict is one that none does.
// They stand beside the other rules, as hooks of their own do in KubeArmor: no Allow
// rule is an exception to them.
type presets [presetCount]Verdict

func (c *compiler) preset(r *spolicy.PresetRule) {
	for i := range presetNames {
		p, at := &presetNames[i], &c.rules.presets[i]
		if p.name != r.Name || at.Deny {
			continue // of several, one that blocks counts
		}
		var ranks class
		rule := ranks.newRule(c.doc.Name, r.Effect, limits{})
		rule.verdict.Enforcer = p.enforcer
		*at = rule.verdict
		c.rules.can.add(rule, p.op, nil)
	}
}

// over gives what the presets say of an access, or v where they say less.
func (p *presets) over(v Verdict, a *Access) Verdict {
	for i := range p {
		if one := &p[i]; one.Alert && !v.Deny && (one.Deny || !v.Alert) && preset(i).about(a) {
			v = *one
		}
	}
	return v
}

// about says whether an access is what the preset is about.
func (p preset) about(a *Access) bool {
	if a.Operation&presetNames[p].op == 0 {
		return false
	}
	switch p {
	case filelessExec:
		return hasPrefix(a.Path, "memfd:", "/memfd:", "/dev/shm/", "/run/shm/")
	case protectEnv:
		return strings.HasSuffix(a.Path, "/environ") && ofAnother(a)
	case protectProc:
		return ofAnother(a)
	}
	return true
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// ofAnother says whether a file is in the directory that procfs has for another
// process than the acting one.
func ofAnother(a *Access) bool {
	rest, ok := strings.CutPrefix(a.Path, "/proc/")
	if !ok {
		return false
	}
	number, _, inside := strings.Cut(rest, "/")
	pid, err := strconv.Atoi(number)
	return err == nil && inside && pid != a.PID
}

// Entered is the verdict about a process that has entered the container from
// outside, which the preset exec is about.
func (r *Rules) Entered() Verdict { return r.presets[execPreset] }
