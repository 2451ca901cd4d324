package supervise

import (
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

func TestAggregate(t *testing.T) {
	table := syscalls.Table()
	open := func(program, path string, change func(*report)) *report {
		r := &report{op: rules.FileWrite, spec: &table[syscalls.Openat], resource: path, result: schema.ResultPassed, who: &process.Snapshot{Exe: program}}
		if change != nil {
			change(r)
		}
		return r
	}
	start := time.Unix(1000, 0)
	var a aggregate
	for _, r := range []*report{
		open("/bin/cc", "/src/a.o", nil),
		open("/bin/cc", "/src/b.o", nil),
		open("/bin/ld", "/src/c.o", nil),
		open("/bin/cc", "/other/a.o", nil),
		open("/bin/cc", "/src/d.o", func(r *report) { r.result = schema.ResultPermissionDenied }),
		open("/bin/cc", "/src/e.o", func(r *report) { r.flags = 1 }),
		open("/bin/cc", "/src/f.o", func(r *report) { r.uid = 7 }),
		open("/bin/cc", "/src/g.o", nil),
	} {
		if !a.add(r, start) {
			t.Fatal("a log is not taken")
		}
	}
	if a.add(open("/bin/cc", "/src/h.o", func(r *report) { r.verdict.Alert = true }), start) {
		t.Error("an alert is joined")
	}
	if a.due(start.Add(aggregateFor-1)) || !a.due(start.Add(aggregateFor)) {
		t.Error("logs are not sent after a second")
	}
	var counts []int
	a.flush(func(r *report) { counts = append(counts, r.count) })
	if want := []int{3, 1, 1, 1, 1, 1}; len(counts) != len(want) || counts[0] != 3 {
		t.Errorf("%v, want %v", counts, want)
	}
	if a.due(start.Add(time.Hour)) {
		t.Error("nothing is due of nothing")
	}
	for i := range maxAggregates {
		if !a.add(open("/bin/cc", "/d"+string(rune(0x4e00+i))+"/f", nil), start) {
			t.Fatalf("%d is not taken", i)
		}
	}
	if a.add(open("/bin/cc", "/one/more", nil), start) || !a.due(start) {
		t.Error("there is no bound")
	}
}
