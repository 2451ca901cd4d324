package rules

import (
	"net/netip"
	"slices"
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
	cloudCredentials
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
	cloudCredentials: {spolicy.PresetCloudCredentials, "PRESET-CloudCredentialsPreset", File | Network},
}

// presets are those that policies turn on. The zero Verdict is one that none does.
// They stand beside the other rules, as hooks of their own do in KubeArmor: no Allow
// rule is an exception to them.
type presets struct {
	on    [presetCount]Verdict
	named []string // programs that cloudCredentials is not about
}

func (c *compiler) preset(r *spolicy.PresetRule) {
	for i := range presetNames {
		p, at := &presetNames[i], &c.rules.presets.on[i]
		if p.name != r.Name || at.Deny {
			continue // of several, one that blocks counts
		}
		var ranks class
		rule := ranks.newRule(c.doc.Name, r.Effect, limits{})
		rule.verdict.Enforcer = p.enforcer
		*at = rule.verdict
		c.rules.can.add(rule, p.op, nil)
		if preset(i) == cloudCredentials {
			c.rules.presets.named = programs(r.FromSource)
			if rule.verdict.Deny {
				c.rules.can.addressed.add(Network, nil)
			}
		}
	}
}

// over gives what the presets say of an access, or v where they say less.
func (p *presets) over(v Verdict, a *Access) Verdict {
	for i := range p.on {
		if one := &p.on[i]; one.Alert && !v.Deny && (one.Deny || !v.Alert) && p.about(preset(i), a) {
			v = *one
		}
	}
	return v
}

// about says whether an access is what a preset is about.
func (p *presets) about(which preset, a *Access) bool {
	if a.Operation&presetNames[which].op == 0 {
		return false
	}
	switch which {
	case cloudCredentials:
		return !slices.Contains(p.named, a.Source) && (slices.Contains(credentialAddresses(), a.IP) || hasPrefix(a.Path, credentialFiles()...))
	case filelessExec:
		return hasPrefix(a.Path, "memfd:", "/memfd:", "/dev/shm/", "/run/shm/")
	case protectEnv:
		return strings.HasSuffix(a.Path, "/environ") && ofAnother(a)
	case protectProc:
		return ofAnother(a)
	}
	return true
}

// credentialAddresses are those at which AWS gives credentials: the agents of ECS and
// of EKS Pod Identity, and the metadata of EC2.
func credentialAddresses() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{169, 254, 170, 2}), netip.AddrFrom4([4]byte{169, 254, 170, 23}), netip.AddrFrom4([4]byte{169, 254, 169, 254}),
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 15: 0x23}), netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54}),
	}
}

// credentialFiles are the directories of the tokens of EKS, which lead to credentials.
func credentialFiles() []string {
	return []string{
		"/run/secrets/eks.amazonaws.com/", "/var/run/secrets/eks.amazonaws.com/",
		"/run/secrets/pods.eks.amazonaws.com/", "/var/run/secrets/pods.eks.amazonaws.com/",
	}
}

// endpoints are the addresses that a preset is about, where it denies.
func (p *presets) endpoints() []netip.Addr {
	if !p.on[cloudCredentials].Deny {
		return nil
	}
	return credentialAddresses()
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
func (r *Rules) Entered() Verdict {
	v := r.presets.on[execPreset]
	if r.watched == nil || v.Deny {
		return v
	}
	return v.beside(r.watched.presets.on[execPreset])
}
