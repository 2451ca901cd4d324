package rules

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func compile(t testing.TB, posture string, docs ...spolicy.Document) *Rules {
	t.Helper()
	r, err := Compile(docs, spolicy.Target{}, Posture{File: posture, Network: posture})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func effect(action string) spolicy.Effect { return spolicy.Effect{Action: action} }

func files(name string, rules ...spolicy.FileRule) spolicy.Document {
	return spolicy.Document{Kind: spolicy.KindPolicy, Name: name, File: rules}
}

func processes(name string, rules ...spolicy.ProcessRule) spolicy.Document {
	return spolicy.Document{Kind: spolicy.KindPolicy, Name: name, Process: rules}
}

func protocols(name string, rules ...spolicy.NetworkRule) spolicy.Document {
	return spolicy.Document{Kind: spolicy.KindPolicy, Name: name, Network: rules}
}

const (
	allow = spolicy.ActionAllow
	audit = spolicy.ActionAudit
	block = spolicy.ActionBlock
)

func fpath(action, path string, from ...string) spolicy.FileRule {
	return spolicy.FileRule{Path: path, FromSource: from, Effect: effect(action)}
}

func fdir(action, dir string, recursive bool, from ...string) spolicy.FileRule {
	return spolicy.FileRule{Dir: dir, Recursive: recursive, FromSource: from, Effect: effect(action)}
}

func ppath(action, path string, from ...string) spolicy.ProcessRule {
	return spolicy.ProcessRule{Path: path, FromSource: from, Effect: effect(action)}
}

func pdir(action, dir string, recursive bool, from ...string) spolicy.ProcessRule {
	return spolicy.ProcessRule{Dir: dir, Recursive: recursive, FromSource: from, Effect: effect(action)}
}

func net(action, protocol string, from ...string) spolicy.NetworkRule {
	return spolicy.NetworkRule{Protocol: protocol, FromSource: from, Effect: effect(action)}
}

// outcomes of one access, in the words of the tables in the reference.
const (
	pass         = "pass"          // nothing happens, nothing is said
	deny         = "deny"          // denied by a policy
	postureDeny  = "posture deny"  // denied in the name of DefaultPosture
	postureAudit = "posture audit" // allowed, alert of DefaultPosture
	audited      = "audited"       // allowed, alert of a policy
)

func outcome(t *testing.T, v Verdict) string {
	t.Helper()
	posture := v.PolicyName == defaultPosture
	switch {
	case v.Deny && v.Alert && v.Action == block && posture:
		return postureDeny
	case v.Deny && v.Alert && v.Action == block:
		return deny
	case v.Alert && v.Action == audit && posture:
		return postureAudit
	case v.Alert && v.Action == audit:
		return audited
	case cmp.Equal(v, Verdict{}):
		return pass
	}
	t.Fatalf("a verdict that makes no sense: %+v", v)
	return ""
}

func read(path string, source ...string) Access {
	a := Access{Operation: FileRead, Path: path}
	if len(source) > 0 {
		a.Source = source[0]
	}
	return a
}

func write(path string, source ...string) Access {
	a := read(path, source...)
	a.Operation = FileWrite
	return a
}

func owned(a Access) Access { a.Owner = true; return a }

func run(path, source, parent string) Access {
	return Access{Operation: Process, Path: path, Source: source, ParentSource: parent}
}

func connect(protocol, kind, source string) Access {
	return Access{Operation: Network, Protocol: protocol, SockType: kind, Source: source}
}

type step struct {
	access Access
	want   string
}

type decideCase struct {
	name    string
	posture string
	docs    []spolicy.Document
	steps   []step
}

func (c decideCase) check(t *testing.T) {
	t.Helper()
	r := compile(t, c.posture, c.docs...)
	for _, s := range c.steps {
		if got := outcome(t, r.Decide(&s.access)); got != s.want {
			t.Errorf("%+v: %s, want %s", s.access, got, s.want)
		}
	}
}

// The rows of the lookup-order table of KubeArmor's semantics. Where ours
// differ on purpose, the row says so.
func TestLookupOrder(t *testing.T) {
	for _, c := range []decideCase{
		{name: "recursive in recursive", docs: []spolicy.Document{files("p", fdir(block, "/a/", true), fdir(allow, "/a/b/", true))}, steps: []step{
			{read("/a/b/c"), pass}, {read("/a/z"), deny},
		}},
		{name: "recursive in recursive, other order", docs: []spolicy.Document{files("p", fdir(allow, "/a/b/", true), fdir(block, "/a/", true))}, steps: []step{
			{read("/a/b/c"), pass}, {read("/a/z"), deny},
		}},
		{name: "direct in recursive", docs: []spolicy.Document{files("p", fdir(block, "/a/", true), fdir(allow, "/a/b/", false))}, steps: []step{
			{read("/a/b/c"), deny},
		}},
		{name: "blocked path in allowed directory", docs: []spolicy.Document{files("p", fdir(allow, "/a/", true), fpath(block, "/a/s"))}, steps: []step{
			{read("/a/s"), deny}, {read("/a/t"), pass},
		}},
		{name: "allowed path in blocked directory", docs: []spolicy.Document{files("p", fdir(block, "/a/", true), fpath(allow, "/a/s"))}, steps: []step{
			{read("/a/s"), pass}, {read("/a/t"), deny},
		}},
		{name: "sourced allow beats block", posture: PostureBlock, docs: []spolicy.Document{files("p", fpath(block, "/s"), fpath(allow, "/s", "/bin/cat"))}, steps: []step{
			{read("/s", "/bin/cat"), pass}, {read("/s", "/bin/head"), deny}, {read("/other", "/bin/head"), postureDeny},
		}},
		{name: "same key, allow first", docs: []spolicy.Document{files("p", fpath(allow, "/s"), fpath(block, "/s"))}, steps: []step{{read("/s"), deny}}},
		{name: "same key, block first: the last would win upstream", docs: []spolicy.Document{files("p", fpath(block, "/s"), fpath(allow, "/s"))}, steps: []step{{read("/s"), deny}}},
		{name: "same key in two policies", docs: []spolicy.Document{files("p", fpath(block, "/s")), files("q", fpath(allow, "/s"))}, steps: []step{{read("/s"), deny}}},
		{name: "execname beats directory", docs: []spolicy.Document{processes("p", pdir(allow, "/usr/bin/", true), spolicy.ProcessRule{ExecName: "apt", Effect: effect(block)})}, steps: []step{
			{run("/usr/bin/apt", "/bin/sh", "/bin/sh"), deny}, {run("/usr/bin/ls", "/bin/sh", "/bin/sh"), pass},
		}},
		{name: "direct directory", docs: []spolicy.Document{files("p", fdir(block, "/a/", false))}, steps: []step{
			{read("/a"), deny}, {read("/a/f"), deny}, {read("/a/b/f"), pass}, {read("/ab/f"), pass},
		}},
		// Upstream such a rule covers /a only, which its own policies do not mean
		// (hsp-block-process-dir-bin).
		{name: "directory without slash", docs: []spolicy.Document{files("p", fdir(block, "/a", false))}, steps: []step{
			{read("/a"), deny}, {read("/a/f"), deny}, {read("/ab"), pass},
		}},
	} {
		t.Run(c.name, c.check)
	}
}

func TestSources(t *testing.T) {
	const ls, dash, bash = "/bin/ls", "/bin/dash", "/bin/bash"
	for _, c := range []decideCase{
		{name: "process: the caller or its parent", docs: []spolicy.Document{processes("p", ppath(block, ls, dash))}, steps: []step{
			{run(ls, dash, bash), deny}, {run(ls, bash, dash), deny}, {run(ls, bash, bash), pass}, {run("/bin/pwd", dash, dash), pass},
		}},
		{name: "process: block for one beats allow for the other", docs: []spolicy.Document{processes("p", ppath(allow, ls, bash), ppath(block, ls, dash))}, steps: []step{
			{run(ls, dash, bash), deny}, {run(ls, bash, dash), deny}, {run(ls, bash, bash), pass},
		}},
		{name: "file: only the program itself", docs: []spolicy.Document{files("p", fpath(block, "/s", dash))}, steps: []step{
			{Access{Operation: FileRead, Path: "/s", Source: "/bin/cat", ParentSource: dash}, pass}, {read("/s", dash), deny},
		}},
		{name: "sourced directory beats plain path", docs: []spolicy.Document{files("p", fpath(block, "/a/s"), fdir(allow, "/a/", true, dash))}, steps: []step{
			{read("/a/s", dash), pass}, {read("/a/s", bash), deny},
		}},
		{name: "sourced allow makes the list for all", posture: PostureBlock, docs: []spolicy.Document{processes("p", ppath(allow, ls, dash))}, steps: []step{
			{run(ls, dash, dash), pass}, {run("/bin/cat", bash, bash), postureDeny},
		}},
		{name: "deeper sourced directory", docs: []spolicy.Document{files("p", fdir(allow, "/a/b/", true, dash), fdir(block, "/a/", true, dash))}, steps: []step{
			{read("/a/b/c", dash), pass}, {read("/a/c", dash), deny}, {read("/a/b/c", bash), postureAudit},
		}},
	} {
		t.Run(c.name, c.check)
	}
}

func TestReadOnlyAndOwner(t *testing.T) {
	ro := func(action string, owner bool) spolicy.Document {
		return files("p", spolicy.FileRule{Path: "/f", ReadOnly: true, OwnerOnly: owner, Effect: effect(action)})
	}
	owner := func(action string) spolicy.Document {
		return files("p", spolicy.FileRule{Path: "/f", OwnerOnly: true, Effect: effect(action)})
	}
	for _, c := range []decideCase{
		{name: "block readOnly", docs: []spolicy.Document{ro(block, false)}, steps: []step{{read("/f"), pass}, {write("/f"), deny}}},
		{name: "allow readOnly", docs: []spolicy.Document{ro(allow, false)}, steps: []step{{read("/f"), pass}, {write("/f"), postureDeny}, {read("/g"), postureAudit}}},
		{name: "audit readOnly", docs: []spolicy.Document{ro(audit, false)}, steps: []step{{read("/f"), pass}, {write("/f"), audited}}},
		{name: "block ownerOnly", docs: []spolicy.Document{owner(block)}, steps: []step{{owned(write("/f")), pass}, {read("/f"), deny}}},
		{name: "allow ownerOnly", docs: []spolicy.Document{owner(allow)}, steps: []step{{owned(write("/f")), pass}, {read("/f"), postureDeny}}},
		{name: "audit ownerOnly", docs: []spolicy.Document{owner(audit)}, steps: []step{{owned(write("/f")), pass}, {read("/f"), audited}}},
		{name: "block both", docs: []spolicy.Document{ro(block, true)}, steps: []step{
			{owned(read("/f")), pass}, {owned(write("/f")), deny}, {read("/f"), deny}, {write("/f"), deny},
		}},
		{name: "audit both", docs: []spolicy.Document{ro(audit, true)}, steps: []step{
			{owned(read("/f")), pass}, {owned(write("/f")), audited}, {read("/f"), audited},
		}},
		{name: "two blocks of one key", docs: []spolicy.Document{ro(block, false), files("q", fpath(block, "/f"))}, steps: []step{{read("/f"), deny}}},
		{name: "two allows of one key", docs: []spolicy.Document{ro(allow, false), files("q", fpath(allow, "/f"))}, steps: []step{{write("/f"), pass}}},
		{name: "allow, and block for writing", docs: []spolicy.Document{ro(block, false), files("q", fpath(allow, "/f"))}, steps: []step{{read("/f"), pass}, {write("/f"), deny}}},
	} {
		t.Run(c.name, c.check)
	}
}

func TestPosture(t *testing.T) {
	docs := []spolicy.Document{files("p", fdir(allow, "/a/", true))}
	for posture, want := range map[string]string{"": postureAudit, PostureAudit: postureAudit, PostureBlock: postureDeny, PostureAllow: pass} {
		decideCase{posture: posture, docs: docs, steps: []step{
			{read("/b"), want}, {read("/a/x"), pass}, {run("/b", "", ""), pass}, {connect("TCP", "SOCK_STREAM", ""), pass},
		}}.check(t)
	}
	decideCase{posture: PostureBlock, docs: []spolicy.Document{files("p", fpath(audit, "/a"))}, steps: []step{
		{read("/a"), audited}, {read("/b"), pass},
	}}.check(t)
}

func TestNetwork(t *testing.T) {
	const curl = "/usr/bin/curl"
	for _, c := range []decideCase{
		{name: "type beats protocol", docs: []spolicy.Document{protocols("p", net(allow, "tcp"), net(block, "stream"))}, steps: []step{
			{connect("TCP", "SOCK_STREAM|SOCK_CLOEXEC", curl), deny}, {connect("UDP", "SOCK_DGRAM", curl), postureAudit},
		}},
		{name: "sourced protocol beats type", docs: []spolicy.Document{protocols("p", net(allow, "tcp", curl), net(block, "stream"))}, steps: []step{
			{connect("TCP", "SOCK_STREAM", curl), pass}, {connect("TCP", "SOCK_STREAM", "/usr/bin/wget"), deny},
		}},
		{name: "all is every type", docs: []spolicy.Document{protocols("p", net(block, "all"))}, steps: []step{
			{connect("TCP", "SOCK_STREAM", curl), deny}, {connect("ICMP", "SOCK_RAW", curl), deny}, {connect("UNIX-STREAM", "SOCK_STREAM", curl), deny}, {connect("", "", curl), deny},
		}},
		{name: "raw and icmp", docs: []spolicy.Document{protocols("p", net(audit, "raw"))}, steps: []step{
			{connect("ICMP", "SOCK_RAW", curl), audited}, {connect("ICMP", "SOCK_DGRAM", curl), pass}, {connect("RAW", "", curl), audited},
		}},
		{name: "icmp", docs: []spolicy.Document{protocols("p", net(block, "icmp"), net(audit, "icmpv6"))}, steps: []step{
			{connect("ICMP", "SOCK_DGRAM", curl), deny}, {connect("IPV6-ICMP", "SOCK_DGRAM", curl), audited},
		}},
		{name: "protocol 0 follows the type", docs: []spolicy.Document{protocols("p", net(block, "tcp"), net(audit, "udp"))}, steps: []step{
			{connect("HOPOPT", "SOCK_STREAM", curl), deny}, {connect("HOPOPT", "SOCK_DGRAM", curl), audited}, {connect("SCTP", "SOCK_STREAM", curl), pass}, {connect("ICMP", "SOCK_DGRAM", curl), pass},
		}},
		{name: "a Unix socket has protocol 0", docs: []spolicy.Document{protocols("p", net(block, "tcp"), net(audit, "udp"))}, steps: []step{
			{connect("", "SOCK_STREAM", curl), deny}, {connect("UNIX-STREAM", "", curl), deny}, {connect("", "SOCK_DGRAM", curl), pass}, {connect("", "SOCK_RAW", curl), pass}, {connect("", "", curl), pass},
		}},
		{name: "allow tcp and udp, Unix sockets", posture: PostureBlock, docs: []spolicy.Document{protocols("p", net(allow, "tcp"), net(allow, "udp"))}, steps: []step{
			{connect("", "SOCK_STREAM", curl), pass}, {connect("", "SOCK_DGRAM", curl), pass}, {connect("", "SOCK_RAW", curl), postureDeny},
		}},
		{name: "a Unix socket is no SCTP", docs: []spolicy.Document{protocols("p", net(block, "sctp"))}, steps: []step{
			{connect("", "SOCK_SEQPACKET", curl), pass}, {connect("SCTP", "SOCK_SEQPACKET", curl), deny},
		}},
		{name: "type of a Unix socket", docs: []spolicy.Document{protocols("p", net(block, "seqpacket"))}, steps: []step{
			{connect("UNIX-SEQPACKET", "", curl), deny}, {connect("UNIX-STREAM", "", curl), pass},
		}},
	} {
		t.Run(c.name, c.check)
	}
}

// Which policy an alert names.
func TestLabels(t *testing.T) {
	labelled := func(action string, severity int) spolicy.FileRule {
		r := fpath(action, "/f")
		r.Severity, r.Tags, r.Message = severity, []string{"a", "b"}, "message "+action
		return r
	}
	for _, c := range []struct {
		name string
		docs []spolicy.Document
		want Verdict
	}{
		{"block", []spolicy.Document{files("p", labelled(block, 10))}, Verdict{Deny: true, Alert: true, Action: block, PolicyName: "p", Severity: "10", Tags: []string{"a", "b"}, Message: "message Block"}},
		{"no severity", []spolicy.Document{files("p", labelled(audit, 0))}, Verdict{Alert: true, Action: audit, PolicyName: "p", Tags: []string{"a", "b"}, Message: "message Audit"}},
		{"first audit", []spolicy.Document{files("p", fdir(audit, "/", true)), files("q", fpath(audit, "/f"))}, Verdict{Alert: true, Action: audit, PolicyName: "p"}},
		{"first audit, other order", []spolicy.Document{files("q", fpath(audit, "/f")), files("p", fdir(audit, "/", true))}, Verdict{Alert: true, Action: audit, PolicyName: "q"}},
		{"block after audit", []spolicy.Document{files("p", fpath(audit, "/f")), files("q", fpath(block, "/f"))}, Verdict{Deny: true, Alert: true, Action: block, PolicyName: "q"}},
		{"audit of an allowed path", []spolicy.Document{files("p", fdir(block, "/", true), fpath(allow, "/f")), files("q", fpath(audit, "/f"))}, Verdict{Alert: true, Action: audit, PolicyName: "q"}},
		{"audit rather than posture", []spolicy.Document{files("p", fpath(allow, "/g")), files("q", fpath(audit, "/f"))}, Verdict{Alert: true, Action: audit, PolicyName: "q"}},
		{"first of two blocks", []spolicy.Document{files("p", fpath(block, "/f")), files("q", fpath(block, "/f"))}, Verdict{Deny: true, Alert: true, Action: block, PolicyName: "p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := read("/f")
			if diff := cmp.Diff(c.want, compile(t, "", c.docs...).Decide(&a)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCloudCredentials(t *testing.T) {
	preset := func(action string, from ...string) spolicy.Document {
		return spolicy.Document{Name: "p", Presets: []spolicy.PresetRule{{Name: spolicy.PresetCloudCredentials, FromSource: from, Effect: effect(action)}}}
	}
	to := func(address, source string) *Access {
		return &Access{Operation: Network, Protocol: "TCP", SockType: "SOCK_STREAM", IP: netip.MustParseAddr(address), Port: 80, Source: source}
	}
	token := func(source string) *Access {
		return &Access{Operation: FileRead, Path: "/run/secrets/eks.amazonaws.com/serviceaccount/token", Source: source}
	}
	r := compile(t, "", preset(block, "/bin/app"))
	for _, a := range []*Access{to("169.254.170.2", "/bin/sh"), to("169.254.169.254", "/bin/sh"), to("fd00:ec2::23", "/bin/sh"), to("fd00:ec2::254", "/bin/sh"), token("/bin/sh")} {
		if v := r.Decide(a); !v.Deny || v.Enforcer != "PRESET-CloudCredentialsPreset" {
			t.Errorf("%+v: %+v", a, v)
		}
	}
	for _, a := range []*Access{to("169.254.170.2", "/bin/app"), token("/bin/app"), to("169.254.170.3", "/bin/sh"), {Operation: FileRead, Path: "/run/secrets/other", Source: "/bin/sh"}} {
		if v := r.Decide(a); v.Alert {
			t.Errorf("%+v: %+v", a, v)
		}
	}
	if a := to("192.0.2.1", "/bin/sh"); !r.DecideAnywhere(a).Deny || !r.CouldDenyEndpoint(Network, "/bin/sh") {
		t.Error("a socket that reaches anybody may be made")
	}
	a := to("192.0.2.1", "/bin/app")
	if r.DecideAnywhere(a).Deny {
		t.Error("the named program may not make all sockets")
	}
	r = compile(t, "", preset(audit))
	if v := r.Decide(to("169.254.170.2", "/bin/app")); v.Deny || !v.Alert || r.CouldDenyEndpoint(Network, "/bin/app") {
		t.Errorf("audited: %+v", v)
	}
}
