package rules

import (
	"math/rand/v2"
	"slices"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func capability(action, name string, from ...string) spolicy.CapabilityRule {
	return spolicy.CapabilityRule{Capability: name, FromSource: from, Effect: effect(action)}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		name    string
		posture string
		rules   []spolicy.CapabilityRule
		use     string // of /bin/a
		want    string
	}{
		{"no rules", PostureBlock, nil, "net_raw", ""},
		{"block", "", []spolicy.CapabilityRule{capability(block, "net_raw")}, "net_raw", "Block p"},
		{"CAP_ is no part of it", "", []spolicy.CapabilityRule{capability(block, "CAP_NET_RAW")}, "net_raw", "Block p"},
		{"another one", "", []spolicy.CapabilityRule{capability(block, "net_raw")}, "setuid", ""},
		{"block of another program", "", []spolicy.CapabilityRule{capability(block, "net_raw", "/bin/b")}, "net_raw", ""},
		{"block of this program", "", []spolicy.CapabilityRule{capability(block, "net_raw", "/bin/a")}, "net_raw", "Block p"},
		{"audit", "", []spolicy.CapabilityRule{capability(audit, "net_raw")}, "net_raw", "Audit p"},
		{"audit of this program", "", []spolicy.CapabilityRule{capability(audit, "net_raw", "/bin/a")}, "net_raw", "Audit p"},
		{"a program's own rule counts", "", []spolicy.CapabilityRule{capability(block, "net_raw"), capability(allow, "net_raw", "/bin/a")}, "net_raw", ""},
		{"of the same, block wins", "", []spolicy.CapabilityRule{capability(allow, "net_raw"), capability(block, "net_raw")}, "net_raw", "Block p"},
		{"allow list, named", PostureBlock, []spolicy.CapabilityRule{capability(allow, "net_raw")}, "net_raw", ""},
		{"allow list, not named", PostureBlock, []spolicy.CapabilityRule{capability(allow, "net_raw")}, "setuid", "Block DefaultPosture"},
		{"allow list, posture audit", PostureAudit, []spolicy.CapabilityRule{capability(allow, "net_raw")}, "setuid", "Audit DefaultPosture"},
		{"allow list of what is not seen", PostureBlock, []spolicy.CapabilityRule{capability(allow, "sys_nice")}, "setuid", "Block DefaultPosture"},
	} {
		r, err := Compile([]spolicy.Document{{Name: "p", Capabilities: c.rules}}, spolicy.Target{}, Posture{Capabilities: c.posture})
		if err != nil {
			t.Fatal(err)
		}
		a := Access{Operation: Capabilities, Name: c.use, Source: "/bin/a"}
		v := r.Decide(&a)
		if got := told(v); got != c.want || v.Deny && !r.CouldDeny(Capabilities, "/bin/a", "") || v.Alert && r.Wants()&CapabilityOperation(c.use) == 0 {
			t.Errorf("%s: %q, want %q; wants %s", c.name, got, c.want, r.Wants().Words())
		}
	}
}

func told(v Verdict) string {
	if !v.Alert {
		return ""
	}
	return v.Action + " " + v.PolicyName
}

func TestSyscallRules(t *testing.T) {
	type source = spolicy.SyscallSource
	for _, c := range []struct {
		name string
		rule spolicy.SyscallRule
		call string
		path string
		by   string
		want bool
	}{
		{"the call", spolicy.SyscallRule{}, "unlink", "/x", "/bin/rm", true},
		{"another call", spolicy.SyscallRule{}, "unlinkat", "/x", "/bin/rm", false},
		{"the path", spolicy.SyscallRule{Path: "/x"}, "unlink", "/x", "/bin/rm", true},
		{"another path", spolicy.SyscallRule{Path: "/x"}, "unlink", "/xy", "/bin/rm", false},
		{"no path", spolicy.SyscallRule{Path: "/x"}, "unlink", "", "/bin/rm", false},
		{"in a directory", spolicy.SyscallRule{Path: "/d/"}, "unlink", "/d/x", "/bin/rm", false},
		{"the directory", spolicy.SyscallRule{Path: "/d/"}, "unlink", "/d", "/bin/rm", true},
		{"below a directory", spolicy.SyscallRule{Path: "/d/", Recursive: true}, "unlink", "/d/e/x", "/bin/rm", true},
		{"beside a directory", spolicy.SyscallRule{Path: "/d/", Recursive: true}, "unlink", "/de", "/bin/rm", false},
		{"the root", spolicy.SyscallRule{Path: "/", Recursive: true}, "unlink", "/d/x", "/bin/rm", true},
		{"the program", spolicy.SyscallRule{FromSource: []source{{Path: "/bin/rm"}}}, "unlink", "/x", "/bin/rm", true},
		{"another program", spolicy.SyscallRule{FromSource: []source{{Path: "/bin/rm"}}}, "unlink", "/x", "/bin/rmdir", false},
		{"a program of a directory", spolicy.SyscallRule{FromSource: []source{{Dir: "/bin/"}}}, "unlink", "/x", "/bin/rm", true},
		{"a program further below", spolicy.SyscallRule{FromSource: []source{{Dir: "/usr/"}}}, "unlink", "/x", "/usr/bin/rm", false},
		{"a program below", spolicy.SyscallRule{FromSource: []source{{Dir: "/usr/", Recursive: true}}}, "unlink", "/x", "/usr/bin/rm", true},
		{"one of two programs", spolicy.SyscallRule{FromSource: []source{{Path: "/a"}, {Dir: "/bin"}}}, "unlink", "/x", "/bin/rm", true},
	} {
		c.rule.Syscalls, c.rule.Effect = []string{"unlink"}, effect(audit)
		r := compile(t, "", spolicy.Document{Name: "p", Syscalls: []spolicy.SyscallRule{c.rule}})
		a := Access{Operation: Syscall, Name: c.call, Path: c.path, Source: c.by}
		if v := r.Decide(&a); v.Alert != c.want || v.Deny || v.Alert && told(v) != "Audit p" {
			t.Errorf("%s: %+v", c.name, v)
		}
		if r.AuditsCall(c.call) != (c.call == "unlink") || r.Wants() != FileWrite || r.CanDeny(All) {
			t.Errorf("%s: wants %s", c.name, r.Wants().Words())
		}
	}
}

func TestPresets(t *testing.T) {
	const self = 7
	for _, c := range []struct {
		preset string
		a      Access
		about  bool
	}{
		{spolicy.PresetFilelessExec, Access{Operation: Process, Path: "memfd:x"}, true},
		{spolicy.PresetFilelessExec, Access{Operation: Process, Path: "/memfd:x"}, true},
		{spolicy.PresetFilelessExec, Access{Operation: Process, Path: "/dev/shm/d/x"}, true},
		{spolicy.PresetFilelessExec, Access{Operation: Process, Path: "/run/shm/x"}, true},
		{spolicy.PresetFilelessExec, Access{Operation: Process, Path: "/dev/shmx"}, false},
		{spolicy.PresetFilelessExec, Access{Operation: FileRead, Path: "/dev/shm/x"}, false},
		{spolicy.PresetProtectEnv, Access{Operation: FileRead, Path: "/proc/8/environ"}, true},
		{spolicy.PresetProtectEnv, Access{Operation: FileRead, Path: "/proc/8/task/9/environ"}, true},
		{spolicy.PresetProtectEnv, Access{Operation: FileRead, Path: "/proc/7/environ"}, false},
		{spolicy.PresetProtectEnv, Access{Operation: FileRead, Path: "/proc/8/maps"}, false},
		{spolicy.PresetProtectEnv, Access{Operation: FileRead, Path: "/etc/environ"}, false},
		{spolicy.PresetProtectProc, Access{Operation: FileWrite, Path: "/proc/8/mem"}, true},
		{spolicy.PresetProtectProc, Access{Operation: FileRead, Path: "/proc/7/maps"}, false},
		{spolicy.PresetProtectProc, Access{Operation: FileRead, Path: "/proc/stat"}, false},
		{spolicy.PresetProtectProc, Access{Operation: FileRead, Path: "/proc/8"}, false},
		{spolicy.PresetAnonymousMapExec, Access{Operation: MapExec}, true},
		{spolicy.PresetAnonymousMapExec, Access{Operation: Process, Path: "/bin/a"}, false},
	} {
		for _, action := range []string{block, audit} {
			c.a.PID = self
			r := compile(t, "", spolicy.Document{Name: "p", Presets: []spolicy.PresetRule{{Name: c.preset, Effect: effect(action)}}})
			v := r.Decide(&c.a)
			if v.Alert != c.about || v.Deny != (c.about && action == block) || v.Alert && v.Enforcer == "" {
				t.Errorf("%s, %s of %s: %+v", c.preset, action, c.a.Path, v)
			}
			if c.about && (r.Wants()&c.a.Operation == 0 || r.CanDeny(c.a.Operation) != v.Deny) {
				t.Errorf("%s, %s: wants %s", c.preset, action, r.Wants().Words())
			}
		}
	}
	r := compile(t, "", spolicy.Document{Name: "p", Presets: []spolicy.PresetRule{{Name: spolicy.PresetExec, Effect: effect(audit)}, {Name: spolicy.PresetExec, Effect: effect(block)}}})
	if v := r.Entered(); !v.Deny || v.Enforcer != "PRESET-ExecPreset" || r.Wants() != 0 {
		t.Errorf("%+v", v)
	}
}

// No Allow rule is an exception to a preset, and a denial of either kind denies.
func TestPresetsStandBesideRules(t *testing.T) {
	doc := processes("p", ppath(allow, "/dev/shm/x"), ppath(block, "/dev/shm/y"))
	doc.Presets = []spolicy.PresetRule{{Name: spolicy.PresetFilelessExec, Effect: effect(block)}}
	r := compile(t, "", doc)
	for path, enforcer := range map[string]string{"/dev/shm/x": "PRESET-FilelessExecutionPreset", "/dev/shm/y": ""} {
		if v := r.Decide(&Access{Operation: Process, Path: path}); !v.Deny || v.Enforcer != enforcer {
			t.Errorf("%s: %+v", path, v)
		}
	}
}

// naiveCapability evaluates rules about capabilities one by one, as the documents say.
func naiveCapability(all []spolicy.CapabilityRule, posture string, a *Access) string {
	about := func(r *spolicy.CapabilityRule, sourced bool) bool {
		if r.Capability != a.Name || (len(r.FromSource) > 0) != sourced {
			return false
		}
		return !sourced || slices.Contains(r.FromSource, a.Source)
	}
	decided, denied, allowList, audited := false, false, false, false
	for _, sourced := range []bool{true, false} {
		if decided {
			break
		}
		for i := range all {
			if r := &all[i]; about(r, sourced) && r.Action != audit {
				decided, denied = true, denied || r.Action == block
			}
		}
	}
	for i := range all {
		r := &all[i]
		allowList = allowList || r.Action == allow
		audited = audited || r.Action == audit && (about(r, true) || about(r, false))
	}
	switch {
	case denied:
		return "Block p"
	case !decided && allowList && posture == PostureBlock:
		return "Block DefaultPosture"
	case audited:
		return "Audit p"
	case !decided && allowList && posture == PostureAudit:
		return "Audit DefaultPosture"
	}
	return ""
}

func TestCapabilitiesAgainstNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 5000 {
		var all []spolicy.CapabilityRule
		for range random.IntN(5) {
			var from []string
			for range random.IntN(3) {
				from = append(from, pick("/bin/a", "/bin/b"))
			}
			all = append(all, capability(pick(allow, block, audit), pick("net_raw", "setuid"), from...))
		}
		posture := pick(PostureAudit, PostureBlock, PostureAllow)
		r, err := Compile([]spolicy.Document{{Name: "p", Capabilities: all}}, spolicy.Target{}, Posture{Capabilities: posture})
		if err != nil {
			t.Fatal(err)
		}
		a := Access{Operation: Capabilities, Name: pick("net_raw", "setuid", "chown"), Source: pick("/bin/a", "/bin/b", "/bin/c")}
		v := r.Decide(&a)
		if got, want := told(v), naiveCapability(all, posture, &a); got != want {
			t.Fatalf("%+v\n%+v, posture %s: %q, want %q", all, a, posture, got, want)
		}
		if v.Deny && !r.CouldDeny(Capabilities, a.Source, "") || v.Alert && !r.CouldAlert(Capabilities, a.Source, "") {
			t.Fatalf("%+v\n%+v: what can become of it is contradictory", all, a)
		}
	}
}
