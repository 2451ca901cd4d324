package policies

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/sidekick/internal/logtest"
)

// reported is a source that reports what a test tells it to.
type reported struct {
	name   string
	states chan State
	told   chan []Outcome
}

func newReported(name string) *reported {
	return &reported{name: name, states: make(chan State), told: make(chan []Outcome)}
}

func (s *reported) Name() string { return s.name }

func (s *reported) Run(ctx context.Context, report Report) {
	for {
		select {
		case state := <-s.states:
			s.told <- report(state)
		case <-ctx.Done():
			return
		}
	}
}

// set has the source report texts, given as place and body by turns.
func (s *reported) set(placesAndBodies ...string) []Outcome {
	var state State
	for i := 0; i < len(placesAndBodies); i += 2 {
		state.Texts = append(state.Texts, Text{Place: placesAndBodies[i], Body: placesAndBodies[i+1]})
	}
	return s.report(state)
}

func (s *reported) report(state State) []Outcome {
	s.states <- state
	return <-s.told
}

// policy is a policy that blocks a file.
func policy(name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\nspec:\n  file:\n    matchPaths:\n    - path: %s\n", name, path)
}

func start(t *testing.T, sources ...*reported) (*Hub, *logtest.Log) {
	t.Helper()
	j := &logtest.Log{}
	o := Options{Log: slog.New(slog.NewTextHandler(j, nil))}
	for _, s := range sources {
		o.Sources = append(o.Sources, s)
	}
	h := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return h, j
}

// running is a hub that runs.
type running struct{ *Hub }

// runHub runs a hub of one source until the test ends.
func runHub(t *testing.T, s Source) running {
	t.Helper()
	h := New(Options{Sources: []Source{s}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { cancel(); wait.Wait() })
	return running{h}
}

// await waits until the snapshot is as given, without the generation.
func (h running) await(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for generation, got := uint64(0), ""; ; {
		s, err := h.Next(ctx, generation)
		if err != nil {
			t.Fatalf("the snapshot is %q, want %q", got, want)
		}
		generation = s.Generation
		if _, got, _ = strings.Cut(shown(s), " "); got == want {
			return
		}
	}
}

// shown writes a snapshot as "generation source: name=path name=path; source pending".
func shown(s *Snapshot) string {
	var parts []string
	for _, m := range s.Sources {
		text := m.Name + ":"
		if m.Pending {
			text = m.Name + " pending"
		}
		for _, p := range m.Policies {
			text += " " + p.Name + "=" + p.File[0].Path
			if p.Mode == spolicy.Watch {
				text += "?"
			}
		}
		for _, w := range m.Wrong {
			text += " wrong " + w.Place
		}
		parts = append(parts, text)
	}
	return fmt.Sprint(s.Generation, " ", strings.Join(parts, "; "))
}

func (h *Hub) expect(t *testing.T, want string) {
	t.Helper()
	if got := shown(h.Snapshot()); got != want {
		t.Errorf("the snapshot is\n%s\nnot\n%s", got, want)
	}
}

func TestSourcesMerge(t *testing.T) {
	first, second := newReported("first"), newReported("second")
	h, log := start(t, first, second)
	h.expect(t, "1 first pending; second pending")

	first.set("a.yaml", policy("a", "/1")+"---\n"+policy("b", "/1"))
	h.expect(t, "2 first: a=/1 b=/1; second pending")
	second.set("x", policy("b", "/2"))
	h.expect(t, "3 first: a=/1; second: b=/2")
	if n := strings.Count(log.String(), "replaced by a later one"); n != 1 {
		t.Errorf("the log told %d times of the replaced policy", n)
	}
	first.set("a.yaml", policy("a", "/1")+"---\n"+policy("b", "/1"), "c.yaml", policy("a", "/3"))
	h.expect(t, "4 first: a=/3; second: b=/2")
	if n := strings.Count(log.String(), "replaced by a later one"); n != 2 {
		t.Errorf("the log told %d times of replaced policies", n)
	}
	second.set()
	h.expect(t, "5 first: b=/1 a=/3; second:")
	first.set()
	h.expect(t, "6 first:; second:")
}

func TestWhatIsTheSameIsNoChange(t *testing.T) {
	s := newReported("s")
	h, _ := start(t, s)
	s.set("a", policy("a", "/1"))
	s.set("a", policy("a", "/1"))
	h.expect(t, "2 s: a=/1")
	state := State{Texts: []Text{{Place: "a", Body: policy("a", "/1")}}, Namespaces: map[string]spolicy.Settings{"n": {FilePosture: "block"}}}
	s.report(state)
	h.expect(t, "3 s: a=/1")
	if got := h.Snapshot().Sources[0].Namespaces["n"].FilePosture; got != "block" {
		t.Errorf("the posture is %q", got)
	}
}

func TestWhatIsWrongTakesNothingAway(t *testing.T) {
	s := newReported("s")
	h, log := start(t, s)
	s.set("a", policy("a", "/1"), "b", policy("b", "/1"))

	wrong := policy("a", "/2") + "---\n" + policy("c", "relative")
	outcomes := s.set("a", wrong, "b", policy("b", "/2"))
	h.expect(t, "3 s: a=/1 b=/2 wrong a")
	if err := outcomes[0].Err; err == nil || !strings.Contains(err.Error(), "a:17: ") || len(outcomes[0].Policies) != 1 {
		t.Errorf("the outcome is %+v", outcomes[0])
	}
	if outcomes[1].Err != nil || outcomes[1].Policies[0].File[0].Path != "/2" {
		t.Errorf("the outcome is %+v", outcomes[1])
	}
	s.set("a", wrong, "b", policy("b", "/2"))
	if n := strings.Count(log.String(), "what they said before stays in force"); n != 1 {
		t.Errorf("the log told %d times", n)
	}
	// Wrong once more, and otherwise: what was right is not forgotten.
	s.set("a", "not a policy", "b", policy("b", "/2"))
	h.expect(t, "4 s: a=/1 b=/2 wrong a")
	s.set("b", policy("b", "/2"))
	h.expect(t, "5 s: b=/2")
	// Wrong from the beginning, there is nothing to keep.
	if o := s.set("b", policy("b", "/2"), "a", wrong); o[1].Err == nil || len(o[1].Policies) != 0 {
		t.Errorf("the outcome is %+v", o[1])
	}
	h.expect(t, "6 s: b=/2 wrong a")
}

func TestTooMuchIsNotTaken(t *testing.T) {
	s := newReported("s")
	h, _ := start(t, s)
	s.set("a", policy("a", "/1"))
	for name, texts := range map[string][]string{
		"two of one place": {"a", policy("a", "/2"), "a", policy("b", "/2")},
		"too many bytes":   {"a", "#" + strings.Repeat("x", MaxBytes)},
	} {
		outcomes := s.set(texts...)
		if outcomes[0].Err == nil || len(outcomes[0].Policies) != 1 {
			t.Errorf("%s: %v", name, outcomes[0].Err)
		}
		h.expect(t, "2 s: a=/1")
	}
}

func TestStrict(t *testing.T) {
	doubtful := strings.Replace(policy("a", "/1"), "spec:\n", "spec:\n  app: x\n", 1)
	if read, err := Read(Text{Place: "p", Body: doubtful}, false); err != nil || len(read) != 1 || len(read[0].Warnings) != 1 {
		t.Errorf("%+v, %v", read, err)
	}
	if _, err := Read(Text{Place: "p", Body: doubtful}, true); err == nil || !strings.Contains(err.Error(), "p:6: ") {
		t.Errorf("%v", err)
	}
	if _, err := Read(Text{Place: "p", Body: policy("a", "/1") + "---\n" + policy("a", "/2")}, true); err == nil || !strings.Contains(err.Error(), "p:10: ") {
		t.Errorf("%v", err)
	}
}

func TestOneThatWatchesStandsBesideOneThatEnforces(t *testing.T) {
	s := newReported("s")
	h, _ := start(t, s)
	s.report(State{Texts: []Text{{Place: "a", Body: policy("a", "/1")}, {Place: "b", Body: policy("a", "/2"), Mode: spolicy.Watch}}})
	h.expect(t, "2 s: a=/1 a=/2?")
}

func TestNextWaitsForAChange(t *testing.T) {
	s := newReported("s")
	h, _ := start(t, s)
	first, err := h.Next(t.Context(), 0)
	if err != nil || first.Generation != 1 {
		t.Fatal(first, err)
	}
	got := make(chan *Snapshot)
	go func() {
		next, _ := h.Next(t.Context(), first.Generation)
		got <- next
	}()
	s.set("a", policy("a", "/1"))
	if next := <-got; next.Generation != 2 {
		t.Errorf("the generation is %d", next.Generation)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Next(ended, 2); err == nil {
		t.Error("there is a snapshot without a change")
	}
}

// Each part that is sent to tracers must say the same alone.
func TestTheTextOfAPolicyIsItsOwn(t *testing.T) {
	read, err := Read(Text{Place: "p", Body: policy("a", "/1") + "---\n" + policy("b", "/2")}, false)
	if err != nil || len(read) != 2 {
		t.Fatal(read, err)
	}
	for _, p := range read {
		docs, err := p.Text.Parse(false)
		if err != nil || len(docs) != 1 || docs[0].Name != p.Name || docs[0].Origin != p.Origin {
			t.Errorf("%+v, %v", docs, err)
		}
	}
}
