package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func TestNotes(t *testing.T) {
	doc := spolicy.Document{
		Name: "p", Origin: "p.yaml:1",
		Process: []spolicy.ProcessRule{
			{Pattern: "/bin/[", Effect: effect(block)},
			{ExecName: "c", FromSource: []string{"/bin/sh"}, Effect: effect(block)},
		},
		File: []spolicy.FileRule{{Pattern: "/etc/{a", Effect: effect(block)}},
		Network: []spolicy.NetworkRule{
			{Protocol: "quic", Effect: effect(block)},
		},
		Capabilities: []spolicy.CapabilityRule{{Capability: "sys_nice", Effect: effect(block)}},
		Syscalls:     []spolicy.SyscallRule{{Syscalls: []string{"getpid", "futex"}, Effect: effect(audit)}},
		Presets:      []spolicy.PresetRule{{Name: spolicy.PresetExec, Effect: effect(block)}},
		AppArmor:     "deny /x r,",
	}
	r := compile(t, PostureBlock, doc)
	var got []string
	for _, n := range r.Notes() {
		why, _, _ := strings.Cut(n.Why, ":")
		got = append(got, n.Policy+" "+n.Section+" "+why)
	}
	want := []string{
		"p process.matchPatterns pattern \"/bin/[\"",
		"p process.matchPaths c",
		"p file.matchPatterns pattern \"/etc/{a\"",
		"p network.matchProtocols unknown protocol \"quic\"",
		"p capabilities.matchCapabilities sys_nice",
		"p syscalls getpid, futex",
		"p apparmor raw AppArmor text means nothing without AppArmor",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := r.Notes()[0].String(); s != `policy p (p.yaml:1): process.matchPatterns is not enforced: pattern "/bin/[": a [ without its ]` {
		t.Error(s)
	}
	// What is left out must neither deny nor make an allow-list.
	if r.Wants() != 0 {
		t.Error("rules were made of what is not evaluated")
	}
}

// An Allow rule that means nothing here leaves its allow list in place.
func TestAllowThatIsLeftOut(t *testing.T) {
	for _, c := range []decideCase{
		{name: "execname with fromSource", docs: []spolicy.Document{processes("p", spolicy.ProcessRule{ExecName: "c", FromSource: []string{"/bin/sh"}, Effect: effect(allow)})}, steps: []step{
			{run("/bin/c", "/bin/sh", ""), postureDeny}, {read("/f"), pass},
		}},
		{name: "a pattern that cannot be read", docs: []spolicy.Document{files("p", spolicy.FileRule{Pattern: "/a/[", Effect: effect(allow)})}, steps: []step{{read("/a/b"), postureDeny}}},
		{name: "a protocol that is none", docs: []spolicy.Document{protocols("p", net(allow, "quic"))}, steps: []step{{connect("TCP", "SOCK_STREAM", ""), postureDeny}}},
	} {
		c.posture = PostureBlock
		t.Run(c.name, c.check)
		r := compile(t, PostureBlock, c.docs...)
		if len(r.Notes()) != 1 || r.Notes()[0].Action != allow {
			t.Errorf("%s: notes %v", c.name, r.Notes())
		}
	}
}

func TestCompileSelects(t *testing.T) {
	doc := files("p", fpath(block, "/f"))
	doc.Namespace = "prod"
	for namespace, want := range map[string]bool{"prod": true, "": true, "test": false} {
		r, err := Compile([]spolicy.Document{doc}, spolicy.Target{Namespace: namespace}, Posture{})
		if err != nil {
			t.Fatal(err)
		}
		a := read("/f")
		if got := r.Decide(&a).Deny; got != want {
			t.Errorf("namespace %q: denied is %v, want %v", namespace, got, want)
		}
	}
}

func TestCompilePosture(t *testing.T) {
	_, err := Compile(nil, spolicy.Target{}, Posture{Network: "deny"})
	if err == nil || !strings.Contains(err.Error(), `"deny"`) {
		t.Errorf("error %v does not name the posture", err)
	}
}

func TestWantsAndCanDeny(t *testing.T) {
	readOnly := spolicy.FileRule{Path: "/f", ReadOnly: true, Effect: effect(allow)}
	for _, c := range []struct {
		name    string
		posture string
		doc     spolicy.Document
		wants   Operation
		denies  Operation
	}{
		{"nothing", "", spolicy.Document{}, 0, 0},
		{"audit", PostureBlock, files("p", fpath(audit, "/f")), File, 0},
		{"block", "", processes("p", ppath(block, "/f")), Process, Process},
		{"allow, posture audit", "", protocols("p", net(allow, "tcp")), Network, 0},
		{"allow, posture block", PostureBlock, protocols("p", net(allow, "tcp")), sockets, sockets},
		{"block of connections", "", protocols("p", net(block, "tcp")), Network | NetworkAccept, Network | NetworkAccept},
		{"block of datagrams", "", protocols("p", net(block, "udp")), Network | NetworkSend, Network | NetworkSend},
		{"audit of datagrams", "", protocols("p", net(audit, "udp")), Network, 0},
		{"block of all", "", protocols("p", net(block, "all")), sockets, sockets},
		{"allow of a name, posture block", PostureBlock, protocols("p", spolicy.NetworkRule{Domain: "a.b", Effect: effect(allow)}), NetworkDNS, NetworkDNS},
		{"block of a name", "", protocols("p", spolicy.NetworkRule{Domain: "a.b", Effect: effect(block)}), NetworkDNS, NetworkDNS},
		{"allow, posture allow", PostureAllow, protocols("p", net(allow, "tcp")), 0, 0},
		{"allow readOnly", "", files("p", readOnly), File, FileWrite},
		{"allow readOnly, posture block", PostureBlock, files("p", readOnly), File, File},
		{"audit readOnly", "", files("p", spolicy.FileRule{Path: "/f", ReadOnly: true, Effect: effect(audit)}), FileWrite, 0},
		{"block readOnly", "", files("p", spolicy.FileRule{Path: "/f", ReadOnly: true, Effect: effect(block)}), FileWrite, FileWrite},
		{"block readOnly and ownerOnly", "", files("p", spolicy.FileRule{Path: "/f", ReadOnly: true, OwnerOnly: true, Effect: effect(block)}), File, File},
		{"block of one source", "", files("p", fpath(block, "/f", "/bin/a")), File, File},
	} {
		r := compile(t, c.posture, c.doc)
		if got := r.Wants(); got != c.wants {
			t.Errorf("%s: wants %b, want %b", c.name, got, c.wants)
		}
		for _, op := range []Operation{Process, FileRead, FileWrite, Network, NetworkAccept, NetworkSend} {
			if got := r.CanDeny(op); got != (c.denies&op != 0) {
				t.Errorf("%s: can deny %b: %v", c.name, op, got)
			}
		}
		needs, err := Needs([]spolicy.Document{c.doc}, Posture{File: c.posture, Network: c.posture})
		if want := c.wants; err != nil || want != 0 && needs != want|Process || want == 0 && needs != 0 {
			t.Errorf("%s: needs %s, %v", c.name, needs.Words(), err)
		}
	}
}
