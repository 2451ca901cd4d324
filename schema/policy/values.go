package policy

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxPath is the kernel's PATH_MAX less its final zero. KubeArmor stops at 200
// because of the size of its BPF map keys, which do not exist here.
const maxPath = 4095

func protocolNames() []string {
	return []string{
		"tcp", "udp", "icmp", "icmpv6", "sctp", // protocols
		"raw", "stream", "dgram", "rdm", "seqpacket", "dccp", "packet", // socket types
		"all",
	}
}

// knownCapabilities are those of Linux, capabilities(7). KubeArmor's CRD leaves
// out the newer ones.
func knownCapabilities() []string {
	return []string{
		"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
		"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
		"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
		"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
		"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
		"checkpoint_restore",
	}
}

// path reads the absolute path of something that is not a directory.
func (r *reader) path(n *yaml.Node, what string) string {
	p := r.text(n, what)
	if p == "" || !r.absolute(n, what, p) {
		return ""
	}
	if strings.HasSuffix(p, "/") {
		r.errorf(n, "%s %s ends in /: a directory goes into matchDirectories", what, quote(p))
		return ""
	}
	return r.clean(n, p)
}

// dir reads an absolute directory; the final "/" that KubeArmor's CRD asks for
// is added where its own daemon takes a file without it.
func (r *reader) dir(n *yaml.Node, what string) string {
	p := r.text(n, what)
	if p == "" || !r.absolute(n, what, p) {
		return ""
	}
	if !strings.HasSuffix(p, "/") {
		r.warnf(n, "%s %s should end in /", what, quote(p))
		p += "/"
	}
	return r.clean(n, p)
}

// pathOrDir reads the path of a syscall rule, where a final "/" tells directories
// from files.
func (r *reader) pathOrDir(n *yaml.Node) string {
	p := r.text(n, "path")
	if p == "" || !r.absolute(n, "path", p) {
		return ""
	}
	return r.clean(n, p)
}

func (r *reader) absolute(n *yaml.Node, what, p string) bool {
	switch {
	case !strings.HasPrefix(p, "/"):
		r.errorf(n, "%s %s is not absolute: it must start with /", what, quote(p))
	case !r.printable(n, what, p):
	default:
		return true
	}
	return false
}

func (r *reader) printable(n *yaml.Node, what, p string) bool {
	if len(p) > maxPath {
		r.errorf(n, "%s has %d bytes: at most %d are allowed", what, len(p), maxPath)
		return false
	}
	if strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		r.errorf(n, "%s %s has a control character", what, quote(p))
		return false
	}
	return true
}

// clean writes p as the kernel would: rules are compared with resolved paths,
// which never have "//", "/./" or "/../".
func (r *reader) clean(n *yaml.Node, p string) string {
	cleaned := path.Clean(p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	if cleaned != p {
		r.warnf(n, "%s is read as %s", quote(p), quote(cleaned))
	}
	return cleaned
}

func (r *reader) execName(n *yaml.Node) string {
	name := r.text(n, "execname")
	if strings.Contains(name, "/") {
		r.errorf(n, "execname %s has a /: it is a program's name, without directories", quote(name))
		return ""
	}
	if !r.printable(n, "execname", name) {
		return ""
	}
	return name
}

// pattern reads a glob over absolute paths: *, ?, [set], and AppArmor's ** and
// {a,b}.
func (r *reader) pattern(n *yaml.Node) string {
	p := r.text(n, "pattern")
	if p == "" || !r.printable(n, "pattern", p) {
		return ""
	}
	if !strings.ContainsRune("/*?[{", rune(p[0])) {
		r.doubtf(n, "pattern %s matches nothing: it must start with / or **", quote(p))
		return p
	}
	if _, err := path.Match(p, ""); err != nil {
		r.doubtf(n, "pattern %s matches nothing: a bracket is not closed, or a \\ is at its end", quote(p))
		return p
	}
	if !bracesMatch(p) {
		r.doubtf(n, "pattern %s matches nothing: a { or } is without its partner", quote(p))
		return p
	}
	r.warnOfPattern(n, p)
	return p
}

// warnOfPattern tells of what matches no path as the kernel writes it.
func (r *reader) warnOfPattern(n *yaml.Node, p string) {
	switch {
	case p[0] == '*' && !strings.HasPrefix(p, "**"), p[0] == '?', p[0] == '[':
		r.warnf(n, "pattern %s matches nothing: only ** stands for the / that a path begins with", quote(p))
	case len(p) > 1 && strings.HasSuffix(p, "/"):
		r.warnf(n, "pattern %s matches nothing: no path ends in /", quote(p))
	case strings.Contains(p, "//"), strings.Contains(p, "/./"), strings.Contains(p, "/../"):
		r.warnf(n, "pattern %s matches nothing: paths have no //, /./ or /../", quote(p))
	}
}

func bracesMatch(p string) bool {
	open, inSet := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\':
			i++
		case inSet:
			inSet = c != ']'
		case c == '[':
			inSet = true
		case c == '{':
			open++
		case c == '}':
			if open--; open < 0 {
				return false
			}
		}
	}
	return open == 0
}

func (r *reader) protocols(n *yaml.Node) []string {
	all := names(strings.ToLower(r.text(n, "protocol")))
	return r.known(n, "protocol", all, protocolNames())
}

func (r *reader) capabilityNames(n *yaml.Node) []string {
	all := names(strings.ToLower(r.text(n, "capability")))
	for i := range all {
		all[i] = strings.TrimPrefix(all[i], "cap_")
	}
	return r.known(n, "capability", all, knownCapabilities())
}

func (r *reader) known(n *yaml.Node, what string, all, known []string) []string {
	for _, name := range all {
		if slices.Contains(known, name) {
			continue
		}
		if hint := closest(name, known); hint != "" {
			r.errorf(n, "%s %s is not known: did you mean %s?", what, quote(name), hint)
		} else {
			r.errorf(n, "%s %s is not known: it must be one of %s", what, quote(name), strings.Join(known, ", "))
		}
	}
	return all
}

// domains reads a comma list of names for DNS rules.
func (r *reader) domains(n *yaml.Node) []string {
	const limit = 253 // RFC 1035, 2.3.4, as text without the final dot
	all := names(strings.ToLower(r.text(n, "domain")))
	for i, name := range all {
		all[i] = strings.TrimSuffix(name, ".")
		if all[i] == "" || len(all[i]) > limit || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == '/' || c == 0x7f }) {
			r.errorf(n, "domain %s is not a domain name", quote(name))
		}
	}
	return all
}

// syscallNames takes any well-formed name: which calls exist depends on the
// architecture, and the tracer knows its own.
func (r *reader) syscallNames(n *yaml.Node) []string {
	all := r.texts(n, "syscall")
	for _, name := range all {
		bad := strings.ContainsFunc(name, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_'
		})
		if bad {
			r.errorf(n, "syscall %s is not the name of a system call", quote(name))
		}
	}
	return all
}
