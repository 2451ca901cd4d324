package policies

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/peer"
)

// speaker is what speaks to tracers at a sidekick's address.
type speaker struct {
	*httptest.Server
	states chan policystream.State // to be sent on the stream that is open
	broken chan struct{}           // receives what ends the stream that is open

	mu       sync.Mutex
	statuses []policystream.Status
	opened   int
}

func newSpeaker(t *testing.T) *speaker {
	t.Helper()
	s := &speaker{states: make(chan policystream.State), broken: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Server.Close)
	return s
}

func (s *speaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case policystream.StatusPath:
		var status policystream.Status
		if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.statuses = append(s.statuses, status)
	case policystream.Path:
		s.stream(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *speaker) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
	var encoder policystream.Encoder
	for {
		select {
		case state := <-s.states:
			text, err := encoder.Encode(state)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(w, ": alive\n\nevent: policies\ndata: %s\n\n", text)
			_ = http.NewResponseController(w).Flush()
		case <-s.broken:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// streamed is a hub that follows a speaker.
type streamed struct {
	*Hub
	*speaker
	log *lockedBuffer
}

func follow(t *testing.T, target spolicy.Target) *streamed {
	t.Helper()
	s := &streamed{speaker: newSpeaker(t), log: &lockedBuffer{}}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	var err error
	if s.Hub, err = New(Options{Target: target, Log: log}); err != nil {
		t.Fatal(err)
	}
	p, err := peer.New(peer.Options{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	stream := NewStream(StreamOptions{Hub: s.Hub, Peer: p, Log: log, Tracer: func() policystream.Tracer { return policystream.Tracer{ID: "t", Container: target.Container} }})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { stream.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		p.Close()
	})
	return s
}

// until waits until something is so.
func (s *streamed) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 6000 {
		if so() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not so in half a minute: %s; log:\n%s", what, s.log)
}

func (s *streamed) denies(path string) bool {
	return s.Rules().Decide(&rules.Access{Operation: rules.FileRead, Path: path}).Deny
}

// says sends a state with policies that block files, as source=path,path or
// source=? for one that is pending.
func says(instance string, generation uint64, sources ...string) policystream.State {
	state := policystream.State{Instance: instance, Generation: generation}
	for _, s := range sources {
		name, paths, _ := strings.Cut(s, "=")
		source := policystream.Source{Name: name, Pending: paths == "?"}
		for path := range strings.SplitSeq(paths, ",") {
			if path != "" && path != "?" {
				source.Policies = append(source.Policies, blockingText(name+path, path))
			}
		}
		state.Sources = append(state.Sources, source)
	}
	return state
}

func blockingText(name, path string) policystream.Policy {
	return policystream.Policy{Text: spolicy.Text{File: name, Line: 1, Body: fmt.Sprintf(
		"apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: %s}\nspec: {file: {matchPaths: [{path: %s}]}, action: Block}\n",
		strings.ReplaceAll(name, "/", "-"), path)}}
}

func TestStreamPutsInForce(t *testing.T) {
	s := follow(t, spolicy.Target{Container: "web"})
	s.states <- says("one", 1, "http=/a,/b")
	s.until(t, "the policies are in force", func() bool { return s.denies("/a") && s.denies("/b") })
	s.states <- says("one", 2, "http=/b,/c")
	s.until(t, "the change is in force", func() bool { return !s.denies("/a") && s.denies("/b") && s.denies("/c") })
	s.until(t, "the status is told", func() bool {
		s.speaker.mu.Lock()
		defer s.speaker.mu.Unlock()
		last := policystream.Status{}
		if len(s.statuses) > 0 {
			last = s.statuses[len(s.statuses)-1]
		}
		return last.Generation == 2 && last.Instance == "one" && len(last.Policies) == 2 && last.Policies[0].Selects && last.Tracer.Container == "web"
	})
	if !strings.Contains(s.log.String(), "without a proof") {
		t.Error("the log does not say that there was no proof")
	}
}

// What is known stays in force while there is no stream, and while a sidekick that was
// started anew does not know it yet.
func TestStreamThatIsLost(t *testing.T) {
	s := follow(t, spolicy.Target{})
	s.states <- says("one", 7, "kubernetes=/k", "http=/h")
	s.until(t, "the policies are in force", func() bool { return s.denies("/k") && s.denies("/h") })
	s.broken <- struct{}{}
	s.until(t, "the loss is told", func() bool { return strings.Contains(s.log.String(), "what it said last stays in force") })
	if !s.denies("/k") || !s.denies("/h") {
		t.Error("what was known is gone with the stream")
	}
	s.states <- says("two", 1, "kubernetes=?", "http=?")
	s.states <- says("two", 2, "kubernetes=?", "http=/h,/i")
	s.until(t, "what is new is in force", func() bool { return s.denies("/i") })
	if !s.denies("/k") || !s.denies("/h") {
		t.Error("what the new sidekick does not know yet is gone")
	}
	s.states <- says("two", 3, "kubernetes=", "http=/h")
	s.until(t, "what is gone is out of force", func() bool { return !s.denies("/k") && !s.denies("/i") })
	if !s.denies("/h") {
		t.Error("/h is let pass")
	}
}

// The start waits for all sources, and what is there meanwhile is in force.
func TestStartWaitsForTheStream(t *testing.T) {
	s := follow(t, spolicy.Target{})
	started := make(chan error, 1)
	go func() { started <- s.Await(t.Context(), time.Minute, false) }()
	s.states <- says("one", 1, "kubernetes=?", "http=/h")
	s.until(t, "what is there is in force", func() bool { return s.denies("/h") })
	select {
	case err := <-started:
		t.Errorf("the start did not wait: %v", err)
	default:
	}
	s.states <- says("one", 2, "kubernetes=", "http=/h")
	if err := <-started; err != nil {
		t.Error(err)
	}
}

func TestStreamKeepsWhatItCannotReadAnew(t *testing.T) {
	s := follow(t, spolicy.Target{})
	s.states <- says("one", 1, "http=/a,/b")
	s.until(t, "the policies are in force", func() bool { return s.denies("/a") })
	wrong := says("one", 2, "http=/a,/c")
	wrong.Sources[0].Policies[0].Body = "kind: SomethingNew\n"
	s.states <- wrong
	s.until(t, "the rest is in force", func() bool { return s.denies("/c") })
	if !s.denies("/a") || s.denies("/b") {
		t.Error("a policy that cannot be read took what was there before it")
	}
	s.until(t, "it is told", func() bool {
		s.speaker.mu.Lock()
		defer s.speaker.mu.Unlock()
		return len(s.statuses) > 0 && len(s.statuses[len(s.statuses)-1].Errors) > 0
	})
}

func TestSettings(t *testing.T) {
	s := follow(t, spolicy.Target{Namespace: "n", Pod: "p"})
	allowing := policystream.Policy{Text: spolicy.Text{File: "f", Line: 1, Body: "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: a}\nspec: {file: {matchPaths: [{path: /a}]}, action: Allow}\n"}}
	state := func(generation uint64, namespace, pod spolicy.Settings) policystream.State {
		return policystream.State{Instance: "i", Generation: generation, Sources: []policystream.Source{{
			Name: "kubernetes", Policies: []policystream.Policy{allowing, blockingText("b", "/b")},
			Namespaces: map[string]spolicy.Settings{"n": namespace, "other": {FilePosture: "block"}},
			Pods:       map[string]spolicy.Settings{"n/p": pod},
		}}}
	}
	decide := func(path string) rules.Verdict {
		return s.Rules().Decide(&rules.Access{Operation: rules.FileRead, Path: path})
	}
	s.states <- state(1, spolicy.Settings{}, spolicy.Settings{})
	s.until(t, "the posture is that of the start", func() bool { v := decide("/q"); return v.Alert && !v.Deny && decide("/b").Deny })
	s.states <- state(2, spolicy.Settings{FilePosture: "block"}, spolicy.Settings{})
	s.until(t, "the posture is the namespace's", func() bool { return decide("/q").Deny })
	s.states <- state(3, spolicy.Settings{FilePosture: "block"}, spolicy.Settings{Mode: "audited"})
	s.until(t, "the pod is audited", func() bool {
		q, b := decide("/q"), decide("/b")
		return !q.Deny && q.Action == rules.ActionWatched && !b.Deny && b.Action == rules.ActionWatched
	})
	s.states <- state(4, spolicy.Settings{FilePosture: "nonsense"}, spolicy.Settings{Mode: "disabled"})
	s.until(t, "the pod has no policies", func() bool { return !decide("/q").Alert && !decide("/b").Alert })

	for generation, c := range []struct {
		namespace, pod string
		want           rules.Operation
	}{
		{"", "", rules.Network},
		{"process, file", "", rules.Process | rules.File},
		{"process", "none", 0},
		{"network,capabilities,ima", "", rules.Network | rules.Syscall},
		{"", "", rules.Network},
	} {
		s.states <- state(uint64(generation+5), spolicy.Settings{Visibility: c.namespace}, spolicy.Settings{Visibility: c.pod})
		s.until(t, "shown is "+c.want.Words(), func() bool { return s.Visible(rules.Network) == c.want && s.Visible(0) == 0 })
	}
}

// Labels that the pod has now select, and those that it has no more do not.
func TestLabelsOfThePod(t *testing.T) {
	s := follow(t, spolicy.Target{Namespace: "n", Pod: "p", Labels: map[string]string{"app": "web"}, Pending: spolicy.FactLabels})
	selecting := policystream.Policy{Text: spolicy.Text{File: "f", Line: 1, Body: "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: a}\nspec: {selector: {matchLabels: {app: web}}, file: {matchPaths: [{path: /a}]}}\n"}}
	for generation, c := range []struct {
		labels map[string]string
		denies bool
	}{{nil, true}, {map[string]string{"app": "db"}, false}, {map[string]string{"app": "web", "x": "y"}, true}, {map[string]string{}, false}} {
		s.states <- policystream.State{Instance: "i", Generation: uint64(generation + 1), Sources: []policystream.Source{{
			Name: "kubernetes", Policies: []policystream.Policy{selecting}, Pods: map[string]spolicy.Settings{"n/p": {Labels: c.labels}, "n/other": {Labels: map[string]string{"app": "web"}}},
		}}}
		s.until(t, "the labels are looked at", func() bool { return s.denies("/a") == c.denies })
	}
}

func TestCounts(t *testing.T) {
	h := newHub(t, spolicy.Target{})
	h.Set("s", blocking(t, "f", "a", "/a", "{}"))
	for _, action := range []string{spolicy.ActionBlock, spolicy.ActionBlock, rules.ActionWatched, spolicy.ActionAudit} {
		h.Count("a", action)
	}
	if p := h.Status().Policies[0]; p.Denied != 2 || p.WouldDenied != 1 || p.Audited != 1 {
		t.Errorf("%+v", p)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: policies\ndata: {\ndata: }\n\n: alive\n\nid: 1\r\ndata:x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e := events{in: bufio.NewReader(bytes.NewReader(text)), alive: func() {}}
		for range len(text) + 1 {
			data, err := e.next()
			if err != nil {
				return
			}
			if len(data) == 0 || bytes.ContainsRune(data, '\r') && !bytes.ContainsRune(text, '\r') {
				t.Errorf("%q gives %q", text, data)
			}
		}
		t.Error("there is no end")
	})
}

func TestEvents(t *testing.T) {
	e := events{in: bufio.NewReader(strings.NewReader(": hello\n\nevent: policies\nid: 4\ndata: a\ndata:b\n\ndata: c\r\n\r\ndata: cut")), alive: func() {}}
	for _, want := range []string{"a\nb", "c"} {
		if got, err := e.next(); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if got, err := e.next(); err == nil {
		t.Errorf("what is cut off is taken: %q", got)
	}
	long := events{in: bufio.NewReader(io.LimitReader(endless{}, 2*policystream.MaxState)), alive: func() {}}
	if _, err := long.next(); err == nil {
		t.Error("a message without end is read to it")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
