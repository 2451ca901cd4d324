package rules

import "strings"

// capabilityRules are the rules about capabilities, by name without "cap_".
type capabilityRules struct {
	class
	byName map[string]*node
}

func (c *capabilityRules) decide(a *Access) Verdict {
	if !c.used {
		return Verdict{}
	}
	var j judgement
	var audit *rule
	if n := c.byName[a.Name]; n != nil {
		h := hit{n.any.enforced}
		if from := n.from[a.Source]; from != nil {
			if len(from.enforced) > 0 {
				h[0] = from.enforced
			}
			audit = first(audit, from.audits, a)
		}
		if !h.empty() {
			j = h.judge(a)
		}
		audit = first(audit, n.any.audits, a)
	}
	return c.conclude(j, audit)
}

// CapabilityOperation is the operation whose calls show that a capability is used,
// by its name without "cap_"; 0 where no call does.
func CapabilityOperation(name string) Operation {
	switch name {
	case "net_raw", "net_bind_service":
		return Network
	case "chown", "fowner", "mknod", "setfcap":
		return FileWrite
	case "setuid", "setgid", "sys_chroot", "sys_admin", "sys_module", "sys_boot", "sys_time", "sys_pacct", "sys_rawio",
		"sys_ptrace": // which no workload has
		return Capabilities
	}
	return 0
}

// capabilityName brings the name of a capability into its short form.
func capabilityName(name string) string {
	return strings.TrimPrefix(strings.ToLower(name), "cap_")
}
