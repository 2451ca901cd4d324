package rules

import (
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func in(mode spolicy.Mode, d spolicy.Document) spolicy.Document {
	d.Mode = mode
	return d
}

func TestWatch(t *testing.T) {
	const watch, off = spolicy.Watch, spolicy.Off
	type trial struct {
		access Access
		want   Verdict
	}
	for name, c := range map[string]struct {
		posture string
		docs    []spolicy.Document
		cases   []trial
		denies  bool // some access
	}{
		"alone": {"", []spolicy.Document{in(watch, files("a", fpath(block, "/s")))}, []trial{
			{read("/s"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
			{read("/t"), Verdict{}},
		}, false},
		"off": {"", []spolicy.Document{in(off, files("a", fpath(block, "/s")))}, []trial{{read("/s"), Verdict{}}}, false},
		"an Audit rule is as ever": {"", []spolicy.Document{in(watch, files("a", fpath(audit, "/s")))}, []trial{
			{read("/s"), Verdict{Alert: true, Action: "Audit", PolicyName: "a"}},
		}, false},
		"who enforces decides": {"", []spolicy.Document{files("a", fpath(block, "/s")), in(watch, files("b", fpath(allow, "/s")))}, []trial{
			{read("/s"), Verdict{Deny: true, Alert: true, Action: "Block", PolicyName: "a"}},
		}, true},
		"a new version beside the one in force": {"", []spolicy.Document{files("a", fpath(block, "/old")), in(watch, files("a", fpath(block, "/new")))}, []trial{
			{read("/old"), Verdict{Deny: true, Alert: true, Action: "Block", PolicyName: "a"}},
			{read("/new"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
		}, true},
		"an allow-list that is tried": {"block", []spolicy.Document{in(watch, files("a", fdir(allow, "/a/", true))), files("b", fpath(block, "/a/s"))}, []trial{
			{read("/a/f"), Verdict{}},
			{read("/b"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "DefaultPosture"}},
			{read("/a/s"), Verdict{Deny: true, Alert: true, Action: "Block", PolicyName: "b"}},
		}, true},
		"it adds to an allow-list": {"block", []spolicy.Document{files("a", fdir(allow, "/a/", true)), in(watch, files("b", fdir(allow, "/b/", true)))}, []trial{
			{read("/a/f"), Verdict{}},
			{read("/b/f"), Verdict{Deny: true, Alert: true, Action: "Block", PolicyName: "DefaultPosture"}},
		}, true},
		"programs": {"", []spolicy.Document{in(watch, processes("a", ppath(block, "/x")))}, []trial{
			{run("/x", "/sh", "/sh"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
		}, false},
		"capabilities": {"", []spolicy.Document{in(watch, spolicy.Document{Kind: spolicy.KindPolicy, Name: "a", Capabilities: []spolicy.CapabilityRule{{Capability: "net_raw", Effect: effect(block)}}})}, []trial{
			{Access{Operation: Capabilities, Name: "net_raw"}, Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
		}, false},
		"presets": {"", []spolicy.Document{in(watch, spolicy.Document{Kind: spolicy.KindPolicy, Name: "a", Presets: []spolicy.PresetRule{{Name: spolicy.PresetFilelessExec, Effect: effect(block)}}})}, []trial{
			{run("/dev/shm/x", "/sh", "/sh"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
		}, false},
		"sockets": {"", []spolicy.Document{in(watch, protocols("a", net(block, "tcp")))}, []trial{
			{connect("TCP", "SOCK_STREAM", "/c"), Verdict{Alert: true, Action: ActionWatched, PolicyName: "a"}},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := compile(t, c.posture, c.docs...)
			for _, one := range c.cases {
				got := r.Decide(&one.access)
				got.Severity, got.Tags, got.Message = "", nil, ""
				if got.Deny != one.want.Deny || got.Alert != one.want.Alert || got.Action != one.want.Action || got.PolicyName != one.want.PolicyName {
					t.Errorf("%+v:\n%+v, want\n%+v", one.access, got, one.want)
				}
				op, source := one.access.Operation, one.access.Source
				if got.Alert && (r.Wants()&op == 0 || !r.CouldAlert(op, source, one.access.ParentSource)) {
					t.Errorf("%+v: an alert that could not be", one.access)
				}
				if got.Deny && !r.CouldDeny(op, source, one.access.ParentSource) {
					t.Errorf("%+v: a denial that could not be", one.access)
				}
			}
			if got := r.CanDeny(All); got != c.denies {
				t.Errorf("whether anything can be denied: %v", got)
			}
		})
	}
}

func TestWatchedMove(t *testing.T) {
	r := compile(t, "", in(spolicy.Watch, files("a", fpath(block, "/d/s"))))
	a := write("/d")
	if v := r.DecideMove(&a); v.Deny || v.Action != ActionWatched {
		t.Errorf("%+v", v)
	}
}

// What is decided with policies that watch is what is decided without them.
func TestWatchingChangesNoDecision(t *testing.T) {
	enforcing := []spolicy.Document{files("a", fpath(block, "/s"), fdir(block, "/d/", true), fpath(allow, "/d/f")), processes("b", ppath(block, "/x"))}
	tried := []spolicy.Document{
		in(spolicy.Watch, files("a", fpath(allow, "/s"))), in(spolicy.Watch, files("c", fdir(block, "/", true))),
		in(spolicy.Watch, processes("d", pdir(allow, "/bin/", true))),
	}
	without, with := compile(t, "block", enforcing...), compile(t, "block", append(tried, enforcing...)...)
	for _, a := range []Access{read("/s"), write("/s"), read("/d/f"), read("/d/g"), read("/q"), run("/x", "/y", "/z"), run("/bin/x", "/y", "/z"), run("/q", "/y", "/z")} {
		want, got := without.Decide(&a), with.Decide(&a)
		if got.Deny != want.Deny || want.Alert && got.Action != want.Action && got.Action != ActionWatched {
			t.Errorf("%+v: %+v, without %+v", a, got, want)
		}
	}
}
