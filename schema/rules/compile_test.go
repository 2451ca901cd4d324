package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func TestNotes(t *testing.T) {
	no := false
	doc := spolicy.Document{
		Name: "p",
		Process: []spolicy.ProcessRule{
			{Pattern: "/bin/*", Effect: effect(block)},
			{Path: "/bin/a", PTS: &no, Effect: effect(block)},
			{Path: "/bin/b", AllowedArgs: []string{"-m"}, Effect: effect(block)},
			{ExecName: "c", FromSource: []string{"/bin/sh"}, Effect: effect(block)},
		},
		File: []spolicy.FileRule{
			{Pattern: "/etc/*", Effect: effect(allow)},
			{Dir: "/tmp/", PTS: &no, Effect: effect(block)},
		},
		Network: []spolicy.NetworkRule{
			{Domain: "example.com", Effect: effect(block)},
			{Protocol: "tcp", PTS: &no, Effect: effect(block)},
			{Protocol: "quic", Effect: effect(block)},
		},
		Capabilities: []spolicy.CapabilityRule{{Capability: "net_raw", Effect: effect(block)}},
		Syscalls:     []spolicy.SyscallRule{{Syscalls: []string{"unlink"}, Effect: effect(audit)}},
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
		"p process.matchPatterns /bin/*",
		"p process.matchPaths /bin/a",
		"p process.matchPaths /bin/b",
		"p process.matchPaths c",
		"p file.matchPatterns /etc/*",
		"p file.matchDirectories /tmp/",
		"p network.matchDNSQueries example.com",
		"p network.matchProtocols tcp",
		"p network.matchProtocols unknown protocol \"quic\"",
		"p capabilities.matchCapabilities net_raw",
		"p syscalls [unlink]",
		"p presets exec",
		"p apparmor raw AppArmor text means nothing without AppArmor",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := r.Notes()[0].String(); s != "policy p: process.matchPatterns is not enforced: /bin/*: patterns are not evaluated" {
		t.Error(s)
	}
	// What is left out must neither deny nor make an allow-list.
	if r.Wants() != 0 {
		t.Error("rules were made of what is not evaluated")
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
		{"allow, posture block", PostureBlock, protocols("p", net(allow, "tcp")), Network, Network},
		{"allow readOnly", "", files("p", readOnly), File, File},
	} {
		r := compile(t, c.posture, c.doc)
		if got := r.Wants(); got != c.wants {
			t.Errorf("%s: wants %b, want %b", c.name, got, c.wants)
		}
		for _, op := range []Operation{Process, FileRead, FileWrite, Network} {
			if got := r.CanDeny(op); got != (c.denies&op != 0) {
				t.Errorf("%s: can deny %b: %v", c.name, op, got)
			}
		}
	}
}
