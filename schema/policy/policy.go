// Package policy holds KubeArmorPolicy and KubeArmorClusterPolicy documents:
// parsing, normalising, inheritance and selection. It decides nothing
// about an access: that is the tracer's.
package policy

// Values of Document.Kind.
const (
	KindPolicy        = "KubeArmorPolicy"        // of one namespace
	KindClusterPolicy = "KubeArmorClusterPolicy" // of every namespace that its selector names
)

// Values of Effect.Action.
const (
	ActionAllow = "Allow"
	ActionAudit = "Audit"
	ActionBlock = "Block"
)

// Names of the presets (KubeArmor types/types.go).
const (
	PresetAnonymousMapExec = "anonymousMapExec"
	PresetFilelessExec     = "filelessExec"
	PresetProtectEnv       = "protectEnv"
	PresetExec             = "exec"
	PresetProtectProc      = "protectProc"

	// PresetCloudCredentials is not KubeArmor's: only the programs that it names reach
	// the addresses and files that AWS gives credentials at.
	PresetCloudCredentials = "cloudCredentials"
)

// Document is one policy, valid and normalised: every rule carries what it
// inherited from its section and from the spec, comma lists are expanded, and
// directories end in "/". Rules stand in KubeArmor's order, which decides
// between rules of the same key: paths, then directories, then patterns, each
// as written.
type Document struct {
	Kind      string // KindPolicy or KindClusterPolicy
	Name      string
	Namespace string // "" when the document names none
	Mode      Mode   `json:",omitempty"`
	Selector  Selector

	// What allow lists do to what they do not name in the containers that the policy
	// selects: PostureAudit or PostureBlock; "" says nothing. Processes use that of files.
	FilePosture         string `json:",omitempty"`
	NetworkPosture      string `json:",omitempty"`
	CapabilitiesPosture string `json:",omitempty"`

	Process      []ProcessRule
	File         []FileRule
	Network      []NetworkRule
	Capabilities []CapabilityRule
	Syscalls     []SyscallRule
	Presets      []PresetRule
	AppArmor     string // spec.apparmor: raw profile text

	Origin   string   // where it was read from: "file:line"
	Warnings []string // what was accepted but is likely not meant: "file:line: what"
}

// Effect is what a rule does and says when it matches.
type Effect struct {
	Severity int      // 1 to 10; 0 when neither rule, section nor spec gives one
	Tags     []string // the innermost list that is not empty; lists do not merge
	Message  string
	Action   string // ActionAllow, ActionAudit or ActionBlock; never empty

	Line int `json:"-"` // of the file, where the rule begins; 0 for one that no file has
}

// ProcessRule is about executing a program. Exactly one of Path, ExecName, Dir
// and Pattern is set.
type ProcessRule struct {
	Path        string // absolute path of the program
	ExecName    string // last element of the program's path
	Dir         string // absolute, ends in "/"
	Pattern     string // glob over the absolute path
	Recursive   bool   // with Dir: everything below, not its direct children only
	OwnerOnly   bool
	PTS         *bool    // whether a terminal is allowed; nil does not care
	FromSource  []string // absolute paths of the programs it is about; empty is all
	AllowedArgs []string // at most 20
	Effect
}

// FileRule is about opening and changing files. Exactly one of Path, Dir and
// Pattern is set.
type FileRule struct {
	Path       string
	Dir        string // absolute, ends in "/"
	Pattern    string
	Recursive  bool
	ReadOnly   bool
	OwnerOnly  bool
	PTS        *bool
	FromSource []string
	Effect
}

// NetworkRule is about sockets (Protocol), DNS queries (Domain), or whom something is
// for (Endpoint); exactly one of them is set.
type NetworkRule struct {
	Protocol   string // lower case: tcp, udp, icmp, icmpv6, sctp, raw, stream, dgram, rdm, seqpacket, dccp, packet or all
	Domain     string // lower case, no final dot
	Endpoint   *Endpoint
	PTS        *bool // with Protocol
	FromSource []string
	Effect
}

// CapabilityRule is about using a capability.
type CapabilityRule struct {
	Capability string // lower case, without "cap_": net_raw
	FromSource []string
	Effect
}

// SyscallRule is about calling one of Syscalls, on Path when that is set. Its
// Action is always ActionAudit: KubeArmor has no other for system calls.
type SyscallRule struct {
	Syscalls   []string
	Path       string // ends in "/" when it is a directory; "" is any
	Recursive  bool   // with a directory: everything below it
	FromSource []SyscallSource
	Effect
}

// SyscallSource is a program or a directory of programs; one of both is set.
type SyscallSource struct {
	Path      string
	Dir       string // ends in "/"
	Recursive bool
}

// PresetRule switches on a preset. Its severity, tags and message come from the
// spec; its action is its own, ActionBlock unless it says Audit.
type PresetRule struct {
	Name       string
	FromSource []string // cloudCredentials: the programs that may; empty is none
	Effect
}
