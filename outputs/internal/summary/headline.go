package summary

import (
	"net"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// verb is an action in the two forms that a headline needs.
type verb struct{ infinitive, past string }

// verbs maps the call in an event's Data (syscall=, lsm=, kprobe=, kfunc=; in
// lower case and without a SYS_ prefix) to what it does. open is missing: its
// flags decide.
var verbs = map[string]verb{
	"creat":               {"write", "wrote"},
	"unlink":              {"delete", "deleted"},
	"unlinkat":            {"delete", "deleted"},
	"rmdir":               {"delete", "deleted"},
	"file_unlink":         {"delete", "deleted"},
	"file_rmdir":          {"delete", "deleted"},
	"mknod":               {"create", "created"},
	"mknodat":             {"create", "created"},
	"mkdir":               {"create", "created"},
	"mkdirat":             {"create", "created"},
	"file_mknod":          {"create", "created"},
	"file_mkdir":          {"create", "created"},
	"rename":              {"rename", "renamed"},
	"renameat":            {"rename", "renamed"},
	"renameat2":           {"rename", "renamed"},
	"file_rename":         {"rename", "renamed"},
	"link":                {"link", "linked"},
	"linkat":              {"link", "linked"},
	"symlink":             {"link", "linked"},
	"symlinkat":           {"link", "linked"},
	"file_link":           {"link", "linked"},
	"file_symlink":        {"link", "linked"},
	"chmod":               {"change the mode of", "changed the mode of"},
	"fchmodat":            {"change the mode of", "changed the mode of"},
	"file_chmod":          {"change the mode of", "changed the mode of"},
	"chown":               {"change the owner of", "changed the owner of"},
	"fchownat":            {"change the owner of", "changed the owner of"},
	"truncate":            {"truncate", "truncated"},
	"file_truncate":       {"truncate", "truncated"},
	"connect":             {"connect to", "connected to"},
	"tcp_connect":         {"connect to", "connected to"},
	"socket_connect":      {"connect to", "connected to"},
	"accept":              {"accept a connection from", "accepted a connection from"},
	"tcp_accept":          {"accept a connection from", "accepted a connection from"},
	"socket_accept":       {"accept a connection from", "accepted a connection from"},
	"bind":                {"bind to", "bound to"},
	"socket":              {"open a socket:", "opened a socket:"},
	"socket_create":       {"open a socket:", "opened a socket:"},
	"socket_sendmsg":      {"look up", "looked up"},
	"udp_sendskb":         {"look up", "looked up"},
	"ptrace":              {"trace", "traced"},
	"security_bprm_check": {"run", "ran"},
	"execve":              {"run", "ran"},
	"execveat":            {"run", "ran"},
	"capable":             {"use", "used"},
}

// headline is what was done, by whom, to what: "cat tried to read /etc/shadow".
func headline(r *schema.Record, denied bool) string {
	v := action(r)
	object := target(r).Value
	if r.Operation == schema.OperationProcess && r.ProcessName != "" && v.infinitive == "run" {
		object = r.ProcessName // the arguments are in the facts
	}
	subject := base(actor(r))
	if denied || (r.Result != "" && r.Result != schema.ResultPassed) {
		return strings.TrimSpace(subject + " tried to " + v.infinitive + " " + object)
	}
	return strings.TrimSpace(subject + " " + v.past + " " + object)
}

func action(r *schema.Record) verb {
	data := tokens(r.Data)
	name := strings.ToLower(firstOf(data["syscall"], data["lsm"], data["kprobe"], data["kfunc"]))
	name = strings.TrimPrefix(name, "sys_")
	if strings.HasPrefix(name, "open") || name == "file_open" || name == "file_permission" {
		return opening(data["flags"])
	}
	if v, ok := verbs[name]; ok {
		return v
	}
	switch r.Operation {
	case schema.OperationProcess:
		return verb{"run", "ran"}
	case schema.OperationCapabilities:
		return verb{"use", "used"}
	case schema.OperationSyscall:
		return verb{"call", "called"}
	case schema.OperationNetwork:
		return verb{"use the network:", "used the network:"}
	}
	return verb{"access", "accessed"}
}

// opening tells reading from writing by open's flags. Without flags, as in the
// events of a Linux security module, it cannot be told.
func opening(flags string) verb {
	if flags == "" {
		return verb{"open", "opened"}
	}
	for flag := range strings.SplitSeq(flags, "|") {
		switch flag {
		case "O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND":
			return verb{"write", "wrote"}
		}
	}
	return verb{"read", "read"}
}

// target is what the operation was done to.
func target(r *schema.Record) Fact {
	switch r.Operation {
	case schema.OperationProcess:
		return Fact{Name: "Command", Value: firstOf(r.Resource, r.ProcessName), Code: true}
	case schema.OperationFile:
		return Fact{Name: "File", Value: r.Resource, Code: true}
	case schema.OperationNetwork:
		where, protocol := Endpoint(r)
		return Fact{Name: "Network", Value: where, Detail: protocol, Code: true}
	case schema.OperationCapabilities:
		return Fact{Name: "Capability", Value: r.Resource, Code: true}
	case schema.OperationSyscall:
		return Fact{Name: "Syscall", Value: firstOf(r.Resource, r.Data), Code: true}
	}
	return Fact{Name: "Resource", Value: firstOf(r.Resource, r.Data), Code: true}
}

// Endpoint reads the several ways in which KubeArmor writes an address.
func Endpoint(r *schema.Record) (where, protocol string) {
	if _, name, ok := strings.Cut(r.Resource, "sun_path="); ok && name != "" {
		return name, "unix socket"
	}
	t := tokens(r.Resource)
	protocol = t["protocol"]
	address := firstOf(t["remoteip"], t["sin_addr"], t["sin6_addr"])
	port := firstOf(t["port"], t["sin_port"], t["sin6_port"])
	switch {
	case address != "" && port != "":
		return net.JoinHostPort(address, port), protocol
	case address != "":
		return address, protocol
	}
	return r.Resource, ""
}

// maxTokens bounds how much of a string is searched: KubeArmor's own are far
// shorter, the workload's may be huge.
const maxTokens = 4096

// tokens are the k=v words of s; of a key that is there twice, the first.
func tokens(s string) map[string]string {
	found := map[string]string{}
	for word := range strings.FieldsSeq(s[:min(len(s), maxTokens)]) {
		if k, v, ok := strings.Cut(word, "="); ok {
			if _, twice := found[k]; !twice {
				found[k] = v
			}
		}
	}
	return found
}
