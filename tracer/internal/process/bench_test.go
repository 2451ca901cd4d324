package process

import (
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
)

func BenchmarkGet(b *testing.B) {
	for _, bb := range []struct {
		name   string
		thread int
		pidfds bool
	}{
		{"leader", 0, true},
		{"thread", 1, true},
		{"leader without pidfd", 0, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			table := newTable(b, Options{})
			table.pidfds = bb.pidfds
			tid := processtest.Start(b).Do(command{Op: "tid", Thread: bb.thread}).TID
			b.ReportAllocs()
			for b.Loop() {
				get(b, table, tid)
			}
		})
	}
}

func BenchmarkFacts(b *testing.B) {
	table := newTable(b, Options{})
	v := processtest.Start(b)
	p := get(b, table, v.PID)
	addr := place(v, "/usr/share/zoneinfo/Europe/Paris\x00")
	argv := placeStrings(v, []string{"ls", "-l", "/usr/share/zoneinfo"}, null)
	for name, read := range map[string]func() error{
		"Exe":         func() error { _, err := p.Exe(); return err },
		"PPID":        func() error { _, err := p.PPID(); return err },
		"UID":         func() error { _, err := p.UID(v.PID); return err },
		"ReadString":  func() error { _, err := p.ReadString(v.PID, addr, 4096); return err },
		"ReadStrings": func() error { _, _, err := p.ReadStrings(v.PID, argv, 100, 4096); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
