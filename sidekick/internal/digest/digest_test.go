package digest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

func newGroups(window time.Duration) *Groups {
	var last uint64
	return New(Options{Window: window, Merged: func() {}, ID: func() uint64 { last++; return last }, Joined: func(string, uint64) {}})
}

func read(id, policy, path string) schema.Event {
	return schema.Event{ID: id, Kind: schema.KindAlert, Alert: &schema.Alert{
		Record: schema.Record{
			Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile, ProcessName: "/bin/cat", Resource: path, Source: "/bin/cat " + path,
		},
		PolicyName: policy, Severity: "5", Action: schema.ActionBlock,
	}}
}

func TestGroupsAreBounded(t *testing.T) {
	now := time.Now()
	s := newGroups(time.Minute)
	var seq uint64
	fill := func(groups, n, size int) {
		for i := range n {
			e := read(fmt.Sprint(i), fmt.Sprint(i%groups), fmt.Sprint("/", i))
			seq += 2 // never one after another
			s.Add([]Item{{Event: e, Seq: seq, Size: size}})
			s.Absorb(now)
		}
	}
	fill(2*MaxGroups, 2*MaxGroups, 1) // beyond some they are merged by policy, and then by action
	if len(s.groups) != 2*MaxWaiting+1 || len(s.rest) != 0 {
		t.Errorf("%d groups", len(s.groups))
	}
	s = newGroups(time.Minute)
	fill(10, 30, MaxExampleBytes/4)
	if s.bytes > MaxExampleBytes*5/4 {
		t.Errorf("%d bytes of examples", s.bytes)
	}
	s = newGroups(time.Minute)
	fill(1, maxSpans+10, 1)
	if s.spans != maxSpans {
		t.Errorf("%d spans", s.spans)
	}
}

func TestKey(t *testing.T) {
	base := func() schema.Event { return read("a", "p", "/etc/shadow") }
	falco := func(rule, container string) schema.Event {
		return schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{Rule: rule, OutputFields: map[string]any{"container.id": container}}}
	}
	for name, change := range map[string]func(e *schema.Event) (same bool){
		"resource":  func(e *schema.Event) bool { e.Alert.Resource = "/x"; return true },
		"pid":       func(e *schema.Event) bool { e.Alert.PID = 9; return true },
		"id":        func(e *schema.Event) bool { e.ID = "b"; return true },
		"policy":    func(e *schema.Event) bool { e.Alert.PolicyName = "q"; return false },
		"operation": func(e *schema.Event) bool { e.Alert.Operation = "Network"; return false },
		"process":   func(e *schema.Event) bool { e.Alert.ProcessName = "/bin/dog"; return false },
		"container": func(e *schema.Event) bool { e.Alert.ContainerName = "c"; return false },
		"pod":       func(e *schema.Event) bool { e.Alert.PodName = "c"; return false },
		"action":    func(e *schema.Event) bool { e.Alert.Action = "Audit"; return false },
		"moved":     func(e *schema.Event) bool { e.Alert.PolicyName, e.Alert.Action = "pB", "lock"; return false },
		"falco":     func(e *schema.Event) bool { *e = falco("p", ""); return false },
	} {
		a, b := base(), base()
		if same := change(&b); (keyOf(&a) == keyOf(&b)) != same {
			t.Errorf("%s: want one group: %v", name, same)
		}
	}
	a, b, c := falco("r", "1"), falco("r", "2"), falco("r", "1")
	if keyOf(&a) == keyOf(&b) || keyOf(&a) != keyOf(&c) {
		t.Error("Falco events are grouped by rule and container")
	}
}

func TestPattern(t *testing.T) {
	long := "/" + strings.Repeat("x", 5000)
	for _, c := range []struct {
		all  string // by commas
		want string
	}{
		{"/etc/shadow", "/etc/shadow"},
		{"/etc/shadow,/etc/shadow", "/etc/shadow"},
		{"/etc/shadow,/etc/shells", "/etc/*"},
		{"/etc/shadow,/etc/ssh/sshd_config,/etc/shadow", "/etc/*"},
		{"/tmp/a.log,/tmp/b.log", "/tmp/*.log"},
		{"/proc/1/environ,/proc/22/environ,/proc/333/environ", "/proc/*/environ"},
		{"/proc/1/environ,/proc/2/maps", "/proc/*"},
		{"/a/a,/a/a/a", "/a/*"},
		{"/a,/b,/c", "/*"},
		{",/b", "*"},
		{",", ""},
		{"remoteip=10.0.0.1 port=443 protocol=TCP,remoteip=10.0.7.2 port=443 protocol=TCP", "remoteip=10.0.* port=443 protocol=TCP"},
		{long, long[:maxPattern] + "*"},
		{long + "," + long + "y", long[:maxPattern] + "*"},
		{"ä/b,ä/c", "ä/*"},
	} {
		var p pattern
		for s := range strings.SplitSeq(c.all, ",") {
			p = p.merge(patternOf(s))
		}
		if p.String() != c.want {
			t.Errorf("%.60s: %q, want %q", c.all, p, c.want)
		}
	}
}

// A pattern matches all that it was made of, and is bounded.
func FuzzPattern(f *testing.F) {
	f.Add("/etc/shadow", "/etc/passwd", "/etc/a/b")
	f.Add("/a/a", "/a/a/a", "/a")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		p := patternOf(a).merge(patternOf(b)).merge(patternOf(c))
		if len(p.String()) > 2*maxPattern+1 {
			t.Errorf("%d bytes", len(p.String()))
		}
		for _, s := range []string{a, b, c} {
			if len(s) > maxPattern {
				continue
			}
			if fits := strings.HasPrefix(s, p.head) && strings.HasSuffix(s, p.tail) && len(s) >= len(p.head)+len(p.tail); !fits || !p.open && s != p.head {
				t.Errorf("%q does not match %q", s, p)
			}
		}
	})
}

// What is taken comes back with what joined its group meanwhile, in its place.
func TestBack(t *testing.T) {
	now := time.Now()
	s := newGroups(time.Minute)
	add := func(seq uint64, policy string) {
		s.Add([]Item{{Event: read(fmt.Sprint(seq), policy, "/"), Seq: seq, Size: 1}})
		if !s.Absorb(now) || !s.Ready() {
			t.Fatal("no memory for one event")
		}
	}
	add(1, "p")
	add(2, "q")
	first := s.Take(now)
	if first == nil || first.Count != 1 || first.Seqs.First() != 1 {
		t.Fatalf("%+v", first)
	}
	add(3, "p")
	ahead := s.TakeBehind(now, 1)
	if ahead != nil {
		t.Fatalf("%+v is behind the only one", ahead)
	}
	s.Back(first, now, First)
	if ahead = s.TakeBehind(now, 1); ahead == nil || ahead.Seqs.First() != 2 {
		t.Fatalf("%+v", ahead)
	}
	s.Back(ahead, now, Second)
	if first = s.Take(now); first.Count != 2 || first.Seqs.Highest() != 3 || len(first.IDs) != 2 {
		t.Fatalf("%+v", first)
	}
	s.Done(first, now)
	if second := s.Take(now); second.Seqs.First() != 2 || s.Take(now) != nil {
		t.Fatalf("%+v", second)
	}
	if at, known := s.Due(now); known {
		t.Errorf("something is due at %v", at)
	}
}

func TestTakeOver(t *testing.T) {
	now := time.Now()
	s := newGroups(time.Minute)
	for seq, expires := range map[uint64]time.Time{1: {}, 2: now.Add(time.Hour), 3: {}} {
		s.Add([]Item{{Event: read("e", fmt.Sprint(seq), "/"), Seq: seq, Expires: expires}})
		s.Absorb(now)
	}
	if a, why := s.TakeOver(now, 0); a != nil {
		t.Fatalf("%+v, %d", a, why)
	}
	a, why := s.TakeOver(now, 1)
	if why != Lagging || a.Seqs.First() != 1 {
		t.Fatalf("%+v, %d", a, why)
	}
	s.Done(a, now)
	if a, why = s.TakeOver(now.Add(2*time.Hour), 1); why != Expired || a.Seqs.First() != 2 {
		t.Fatalf("%+v, %d", a, why)
	}
	s.Done(a, now)
	if a = s.Take(now); a.Seqs.First() != 3 {
		t.Fatalf("%+v", a)
	}
	if other, _ := s.TakeOver(now, 3); other != nil {
		t.Fatalf("%+v is not here", other)
	}
	s.Back(a, now, First) // it left the backlog while it was away
	if a, why = s.TakeOver(now, 3); why != Lagging || a.Seqs.First() != 3 {
		t.Fatalf("%+v, %d", a, why)
	}
	s.Done(a, now)
	s.Add([]Item{{Event: read("e", "2", "/"), Seq: 2}}) // read before
	s.Absorb(now)
	if a, why = s.TakeOver(now, 3); why != Lagging || a.Seqs.First() != 2 {
		t.Fatalf("%+v, %d", a, why)
	}
	s.Back(a, now, First)
	a = s.Take(now)
	later := &Aggregate{Seqs: Sequences{{5, 9}}, group: a.group}
	s.Back(later, now, First)
	s.Back(a, now, First)
	if a = s.Take(now); a.Seqs.First() != 2 || a.Seqs.Highest() != 9 {
		t.Fatalf("%+v", a.Seqs)
	}
	s.Back(a, now, First)
	later = &Aggregate{Seqs: Sequences{{11, 12}}, group: a.group}
	s.Back(later, now, First) // what came after is given back last
	if a = s.Take(now); a.Seqs.First() != 2 || a.Seqs.Highest() != 12 {
		t.Fatalf("%+v", a.Seqs)
	}
	a.GivenUp = true
	s.Back(a, now, First)
	if a, why = s.TakeOver(now, 1); why != GivenUp || a.Seqs.First() != 2 {
		t.Fatalf("%+v, %d", a, why)
	}
}

func TestSequences(t *testing.T) {
	var s Sequences
	for _, seq := range []uint64{5, 6, 7, 1, 2, 9} {
		s.add(seq)
	}
	if got := fmt.Sprint(s.without(6)); len(s) != 3 || s.First() != 5 || s.Highest() != 9 || got != "[{5 5} {7 7} {1 2} {9 9}]" {
		t.Errorf("%v, without 6 %s", s, got)
	}
	var all []uint64
	for len(s) > 0 {
		all = append(all, s.First())
		s.dropFirst()
	}
	if fmt.Sprint(all) != "[5 6 7 1 2 9]" {
		t.Errorf("%v", all)
	}
}
