package supervise

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// capabilityName is a capability's name in rules. It is "" for those that no row of
// the table wants.
func capabilityName(number int) string {
	switch number {
	case unix.CAP_CHOWN:
		return "chown"
	case unix.CAP_FOWNER:
		return "fowner"
	case unix.CAP_SETFCAP:
		return "setfcap"
	case unix.CAP_SETGID:
		return "setgid"
	case unix.CAP_SETUID:
		return "setuid"
	case unix.CAP_NET_BIND_SERVICE:
		return "net_bind_service"
	case unix.CAP_NET_RAW:
		return "net_raw"
	case unix.CAP_SYS_MODULE:
		return "sys_module"
	case unix.CAP_SYS_RAWIO:
		return "sys_rawio"
	case unix.CAP_SYS_CHROOT:
		return "sys_chroot"
	case unix.CAP_SYS_PACCT:
		return "sys_pacct"
	case unix.CAP_SYS_ADMIN:
		return "sys_admin"
	case unix.CAP_SYS_BOOT:
		return "sys_boot"
	case unix.CAP_SYS_TIME:
		return "sys_time"
	case unix.CAP_MKNOD:
		return "mknod"
	}
	return ""
}

// needsCapability says whether the kernel asks for the call's capability.
func (w *worker) needsCapability(c *call) bool {
	switch c.Spec.ID {
	case syscalls.Unshare, syscalls.Clone:
		flags := c.Args[0]
		// A new user namespace gives all that the others need, in it.
		return flags&syscalls.NewNamespaces != 0 && flags&unix.CLONE_NEWUSER == 0
	case syscalls.Setns, syscalls.Setgroups:
		return true
	}
	cred, err := c.process.Credentials(c.TID)
	if err != nil {
		return true
	}
	ids := []int{cred.RUID, cred.UID, cred.SUID, cred.FSUID}
	if c.Spec.Capability == unix.CAP_SETGID {
		ids = []int{cred.RGID, cred.GID, cred.SGID, cred.FSGID}
	}
	for i := range c.changesIDs() {
		if id := int(int32(c.Args[i])); id != -1 && !slices.Contains(ids, id) {
			return true
		}
	}
	return c.changesIDs() == 0
}

// changesIDs is how many ids the call sets, from its first argument on.
func (c *call) changesIDs() int {
	switch c.Spec.ID {
	case syscalls.Setuid, syscalls.Setgid, syscalls.Setfsuid, syscalls.Setfsgid:
		return 1
	case syscalls.Setreuid, syscalls.Setregid:
		return 2
	case syscalls.Setresuid, syscalls.Setresgid:
		return 3
	}
	return 0
}

// useCapability asks the rules about the use of a capability, and says whether they
// deny it. One that the caller does not have the kernel refuses by itself: rules are
// asked after it, as KubeArmor's are.
func (w *worker) useCapability(c *call, number int) (denied bool) {
	if c.rules.Wants()&rules.Capabilities == 0 || c.lacks(number, false) {
		return false
	}
	name := capabilityName(number)
	a := rules.Access{Operation: rules.Capabilities, Name: name, HasTTY: hasTTY(c.process)}
	var err error
	if a.Source, err = c.process.Exe(); err != nil && c.rules.CanDeny(rules.Capabilities) {
		w.warn("", "the program that uses a capability is not known", "call", c.Spec.Name, "error", err)
		return !errors.Is(err, process.ErrGone)
	}
	v := c.rules.Decide(&a)
	if v.Alert {
		w.beginReport(c, v)
		r := &c.report
		r.op, r.resource, r.denied, r.result = rules.Capabilities, "CAP_"+strings.ToUpper(name), v.Deny, schema.ResultPassed
		r.data = "lsm=CAPABLE " + r.resource
	}
	return v.Deny
}

// lacks says whether the caller does not have a capability: in the user namespace of
// the tracer, or in its own one. unknown is the answer where the latter is not known.
func (c *call) lacks(number int, unknown bool) bool {
	cred, err := c.process.Credentials(c.TID)
	if err != nil || cred.CapEff&(1<<number) != 0 {
		return false
	}
	same, err := c.process.SameNamespace(c.TID, "user")
	if err != nil {
		return unknown
	}
	return same
}

// couldDenyCapability says whether a rule could deny the caller the capability that
// the call may want.
func (w *worker) couldDenyCapability(c *call) bool {
	return c.Spec.Capability != syscalls.None && w.couldDeny(c, rules.Capabilities) && !c.lacks(c.Spec.Capability, false)
}

// deniesCapability says whether a change wants a capability that a rule denies.
func (w *worker) deniesCapability(c *call, ch *change) bool {
	return c.Spec.Capability != syscalls.None && w.changeNeeds(c, ch) && w.useCapability(c, c.Spec.Capability)
}

// changeNeeds says whether the kernel asks for the capability of a change.
func (w *worker) changeNeeds(c *call, ch *change) bool {
	cred, err := c.process.Credentials(c.TID)
	if err != nil {
		return true
	}
	owns := ch.old.owner() == cred.FSUID
	switch c.Spec.Capability {
	case unix.CAP_MKNOD:
		kind := uint32(c.Args[c.Spec.Mode]) & unix.S_IFMT
		return kind == unix.S_IFBLK || kind == unix.S_IFCHR && uint32(c.Args[c.Spec.Mode+1]) != 0
	case unix.CAP_SETFCAP:
		return ch.attr.name == "security.capability"
	case unix.CAP_FOWNER: // to set the time to now takes the right to write
		return !owns && (c.Spec.Times == syscalls.None || ch.times != nil)
	}
	user, group := int(int32(c.Args[c.Spec.Owner])), int(int32(c.Args[c.Spec.Owner+1]))
	member := group == cred.FSGID || slices.Contains(cred.Groups, group)
	return user != -1 && (!owns || user != ch.old.owner()) || group != -1 && (!owns || !member)
}

// bindsPrivileged says whether the call gives a socket a port that takes
// CAP_NET_BIND_SERVICE: containers often have none.
func (c *call) bindsPrivileged(to *sockaddr) bool {
	if c.Spec.ID != syscalls.Bind || to.port == 0 || to.family != "AF_INET" && to.family != "AF_INET6" {
		return false
	}
	first := 1024
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			first = n
		}
	}
	return int(to.port) < first
}

// isRaw says whether a socket is one that takes CAP_NET_RAW.
func isRaw(c *call) bool {
	switch int(int32(c.Args[0])) {
	case unix.AF_PACKET:
		return true
	case unix.AF_INET, unix.AF_INET6:
		return c.Args[1]&typeMask == unix.SOCK_RAW || c.Args[1]&typeMask == unix.SOCK_PACKET
	}
	return false
}
