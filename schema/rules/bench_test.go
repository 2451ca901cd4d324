package rules

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// many makes n file rules of all shapes.
func many(n int) []spolicy.Document {
	d := spolicy.Document{Name: "many"}
	for i := range n {
		switch i % 4 {
		case 0:
			d.File = append(d.File, fpath(block, fmt.Sprintf("/opt/app-%d/secret", i)))
		case 1:
			d.File = append(d.File, fdir(block, fmt.Sprintf("/usr/share/app-%d/", i), true))
		case 2:
			d.File = append(d.File, fdir(audit, "/usr/lib/", true, fmt.Sprintf("/usr/bin/app-%d", i)))
		default:
			d.File = append(d.File, fpath(audit, "/etc/passwd", fmt.Sprintf("/usr/bin/app-%d", i)))
		}
	}
	return []spolicy.Document{d}
}

var benchAccesses = map[string]Access{
	"miss":      {Operation: FileRead, Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", Source: "/usr/bin/python3"},
	"missDeep":  {Operation: FileRead, Path: "/usr/lib/python3/dist-packages/requests/packages/urllib3/util/__pycache__/retry.cpython-312.pyc", Source: "/usr/bin/python3"},
	"blockPath": {Operation: FileRead, Path: "/opt/app-0/secret", Source: "/usr/bin/python3"},
	"auditFrom": {Operation: FileRead, Path: "/etc/passwd", Source: "/usr/bin/app-3"},
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		r := compile(b, "", many(n)...)
		for _, name := range []string{"miss", "missDeep", "blockPath", "auditFrom"} {
			a := benchAccesses[name]
			b.Run(fmt.Sprintf("rules=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Decide(&a)
				}
			})
		}
	}
}

func BenchmarkCouldDeny(b *testing.B) {
	r := compile(b, "", many(1000)...)
	b.ReportAllocs()
	for b.Loop() {
		r.CouldDeny(FileRead, "/usr/bin/python3", "/usr/bin/bash")
	}
}

func BenchmarkGlob(b *testing.B) {
	for _, pattern := range []string{"/etc/ssl/private/*.key", "/**/*.key", "/usr/**/retry*", "/usr/lib/**"} {
		r := compile(b, "", files("p", spolicy.FileRule{Pattern: pattern, Effect: effect(block)}))
		a := benchAccesses["missDeep"]
		b.Run(pattern, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Decide(&a)
			}
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	r := compile(t, "", append(many(1000), protocols("net", net(block, "udp", "/bin/x")),
		processes("proc", ppath(block, "/bin/x", "/bin/y"), spolicy.ProcessRule{Path: "/usr/bin/id", AllowedArgs: []string{"-u"}, Effect: effect(block)}),
		files("glob", spolicy.FileRule{Pattern: "/usr/**/*.p[ly]*", Effect: effect(block)}))...)
	accesses := []Access{run("/usr/bin/id", "/bin/sh", "/bin/bash"), connect("TCP", "SOCK_STREAM", "/usr/bin/curl")}
	for _, a := range benchAccesses {
		accesses = append(accesses, a)
	}
	// A class in a pattern is matched by regexp, which keeps its state in a
	// sync.Pool, and the race detector makes a pool lose one value in four.
	allowed := 0.0
	if underRaceDetector() {
		allowed = 3
	}
	for _, a := range accesses {
		if n := testing.AllocsPerRun(100, func() { r.Decide(&a) }); n > allowed {
			t.Errorf("%+v: %v allocations", a, n)
		}
		if n := testing.AllocsPerRun(100, func() {
			r.CouldDeny(a.Operation, a.Source, a.ParentSource)
			r.CouldAlert(a.Operation, a.Source, a.ParentSource)
		}); n != 0 {
			t.Errorf("%+v: %v allocations to know what could become of it", a, n)
		}
	}
}

func underRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
