// Package rules decides about accesses: it compiles policy documents into
// immutable rules and answers, for one access at a time, whether it is denied
// and which alert is due. It does no I/O, reads no clock and resolves no path.
//
// Rules mean what they mean under KubeArmor's BPF-LSM enforcer, with these
// choices where its engines differ from each other:
//
//   - Rules of the same key (same target, same source): Block wins over Allow.
//     BPF-LSM lets the one written last win, which depends on the order in which
//     policies arrive; AppArmor denies, and so do we.
//   - A write that an Allow rule with readOnly covers is denied, when the file is
//     opened, as under AppArmor; BPF-LSM denies the write(2) that follows.
//   - A process rule's fromSource is compared with both the program that calls
//     exec and its parent, as KubeArmor's alert matcher does; BPF-LSM compares
//     the parent only, which misses "sh -c CMD" where the shell execs directly.
//   - An Audit rule alerts even if a Block rule that did not deny this access
//     stands before it; KubeArmor's matcher stops at that Block rule.
//   - Patterns, which BPF-LSM does not evaluate, are AppArmor's. They stand
//     between the execname and the directories: what is more exact decides.
//   - pts: false sets accesses without a terminal apart, as ownerOnly sets those
//     of the owner apart. Several such limits of one rule hold together.
//   - A directory written without its final slash is still a directory.
package rules

import (
	"net/netip"
	"slices"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Access is one thing that the workload is about to do.
type Access struct {
	Operation    Operation
	Path         string     // resolved; for Process the new program; for Syscall "" where the call has none
	Name         string     // Capabilities: of the capability, such as net_raw; Syscall: of the call; NetworkDNS: what is asked for
	PID          int        // of the acting process; File needs it
	Source       string     // program of the acting process; for Process the one that calls exec
	ParentSource string     // program of its parent
	Args         []string   // Process: argv without argv[0]
	ArgsCut      bool       // Process: there are more arguments than Args tells, or longer ones
	Create       bool       // File: made by this access
	Owner        bool       // the acting process owns the file; of a new file, its directory
	Protocol     string     // Network: TCP, UDP, ICMP, RAW …; "" for families without any, which count as protocol 0
	SockType     string     // Network: SOCK_STREAM …; flags after "|" are ignored
	IP           netip.Addr // Network: whom it is for, IPv4 never as IPv6; not valid: nobody that is known
	Port         uint16
	Unix         string // Network: the Unix socket that it is for, by its resolved path, or "@name"
	HasTTY       bool   // the acting process has a controlling terminal
}

// Verdict is the answer to an Access. The zero Verdict lets it pass unseen.
type Verdict struct {
	Deny       bool
	Alert      bool   // an alert is due, with the fields below
	Action     string // "Block", "Audit" or ActionWatched
	PolicyName string // "DefaultPosture" when an allow-list did not name the access
	Severity   string // "1" to "10", or ""
	Tags       []string
	Message    string
	Enforcer   string // of a preset; "" for other rules
}

// Posture says what happens to an access that no rule names while Allow rules
// for its class exist: "audit" (or ""), "block" or "allow". Process uses File.
type Posture struct{ File, Network, Capabilities string }

// Values of Posture.
const (
	PostureAudit = spolicy.PostureAudit
	PostureBlock = spolicy.PostureBlock
	PostureAllow = "allow"
)

// Note says that a part of a policy is valid and not enforced.
type Note struct {
	Policy  string
	At      string // where the policy was read: "file:line"
	Section string // network.matchDNSQueries
	Action  string // spolicy.ActionBlock and its like; "" where the part has none
	Why     string
}

func (n Note) String() string {
	return "policy " + n.Policy + " (" + n.At + "): " + n.Section + " is not enforced: " + n.Why
}

// Rules are compiled policies. They never change and may be shared.
type Rules struct {
	process      pathRules
	file         pathRules
	network      networkRules
	endpoints    endpointRules
	names        nameRules
	capabilities capabilityRules
	syscalls     syscallRules
	presets      presets
	notes        []Note

	// watched are the rules of all policies, as if those that only watch enforced too;
	// nil where none only watches.
	watched *Rules

	can           reaches
	wants, denies Operation // of all programs together

	observe    func(Access, Verdict) // nil for nobody
	permissive bool                  // all passes
}

// Decide answers one access. It is safe for concurrent use, costs a lookup per
// component of the path whatever the number of rules, and a comparison for each
// pattern, and allocates nothing.
// The Tags of the verdict belong to the rules.
//
// What policies that only watch would have denied is an alert with the Action
// ActionWatched.
func (r *Rules) Decide(a *Access) Verdict {
	v := r.decide(a)
	if r.watched != nil && !v.Deny {
		v = v.beside(r.watched.decide(a))
	}
	return r.tell(a, v)
}

// Observed gives the same rules, which tell f of each decision.
func (r *Rules) Observed(f func(Access, Verdict)) *Rules {
	observed := *r
	observed.observe = f
	return &observed
}

// Permissive gives rules that ask for what r asks for, and let everything pass: f is
// told of each access, with what r says. What could be for whomever the program likes
// is told as one for the address 0.0.0.0.
func (r *Rules) Permissive(f func(Access, Verdict)) *Rules {
	permissive := r.Observed(f)
	permissive.permissive = true
	return permissive
}

// tell tells of a decision, and gives the one that holds.
func (r *Rules) tell(a *Access, v Verdict) Verdict {
	if r.observe != nil {
		r.observe(*a, v)
	}
	if r.permissive {
		return Verdict{}
	}
	return v
}

// decide is Decide by the policies that enforce.
func (r *Rules) decide(a *Access) Verdict {
	switch a.Operation {
	case Process:
		return r.presets.over(r.process.decide(a), a)
	case FileRead, FileWrite:
		return r.presets.over(r.file.decide(a), a)
	case Network, NetworkAccept, NetworkSend:
		return r.presets.over(r.endpoints.over(r.network.decide(a), a), a)
	case NetworkDNS:
		return r.names.decide(a)
	case Capabilities:
		return r.capabilities.decide(a)
	case Syscall:
		return r.syscalls.decide(a)
	case MapExec:
		return r.presets.over(Verdict{}, a)
	}
	return Verdict{}
}

// Notes lists what the policies ask for and these rules do not do.
func (r *Rules) Notes() []Note {
	if r.watched != nil {
		// The two have most in common. A version that is replaced when one beside it
		// enforces has its notes in r alone.
		return union(r.notes, r.watched.notes)
	}
	return r.notes
}

func union(a, b []Note) []Note {
	all := slices.Clone(a)
	for _, n := range b {
		if !slices.Contains(a, n) {
			all = append(all, n)
		}
	}
	return all
}
