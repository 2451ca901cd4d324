// Package policies is the tracer's hub of policies: sources set their documents,
// the container's identity is told, and out come the rules in force. It also says
// in the log what became of each policy. The sources that need no other program
// are here too: files, a directory that is watched, a variable. It decides about
// no access.
package policies

import (
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Options are what a Hub works with. Log is needed.
type Options struct {
	Posture rules.Posture
	Target  spolicy.Target // who this container is, as known now
	Log     *slog.Logger
}

// Hub makes rules of the documents of all sources, links on the way to what they
// name followed. Its methods may be called from
// any goroutine.
type Hub struct {
	posture    rules.Posture
	log        *slog.Logger
	inForce    atomic.Pointer[rules.Rules]
	generation atomic.Uint64
	visible    atomic.Pointer[rules.Operation] // what sources say is shown; nil where they say nothing

	counts counts

	mu      sync.Mutex
	told    spolicy.Target  // as SetTarget had it
	target  spolicy.Target  // the same, with the labels that sources say
	sources []*source       // in the order in which they were first named
	held    rules.Operation // what the filter holds, as Hold said
	fixed   bool            // Hold was called
	links   *links
	docs    []spolicy.Document   // that count
	notes   []rules.Note         // of what is in force
	said    map[statement]string // what the log was told and is still so
	changed chan struct{}        // closed at the next change
}

// source is one place that documents come from.
type source struct {
	name      string
	docs      []spolicy.Document
	settings  *settings // nil where it has none
	delivered bool      // its documents are there, even if they are none
}

// New makes a hub without documents. The error names a posture that does not
// exist.
func New(o Options) (*Hub, error) {
	empty, err := rules.Compile(nil, o.Target, o.Posture)
	if err != nil {
		return nil, err
	}
	h := &Hub{posture: o.Posture, log: o.Log, told: o.Target, target: o.Target, said: map[statement]string{}, links: newLinks(o.Log), changed: make(chan struct{})}
	h.inForce.Store(empty)
	return h, nil
}

// Rules are the rules in force, never nil. It costs one load.
func (h *Hub) Rules() *rules.Rules { return h.inForce.Load() }

// Generation counts the changes of the rules in force: 0 before the first.
func (h *Hub) Generation() uint64 { return h.generation.Load() }

// Visible gives what is shown where no policy matches: what sources say of this
// container, else what was said at the start. Where nothing is shown to anybody then, that
// stays so.
func (h *Hub) Visible(start rules.Operation) rules.Operation {
	if said := h.visible.Load(); said != nil && start != 0 {
		return *said
	}
	return start
}

// Expect names a source whose documents are still to come, so that Await waits
// for them.
func (h *Hub) Expect(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.source(name)
}

// Set replaces all documents of one source, and puts the rules that follow in
// force before it returns. Of documents of the same kind, namespace, name and mode
// that of the source that was named last counts, within a source the last. The
// documents belong to the hub from then on.
func (h *Hub) Set(name string, docs []spolicy.Document) { h.set(name, docs, nil, true) }

// set is Set. Not complete, there are more documents to come, which Await waits
// for; settings are what the source says beside its documents.
func (h *Hub) set(name string, docs []spolicy.Document, settings *settings, complete bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.source(name)
	if len(docs) == 0 && !(s.delivered && len(s.docs) == 0) {
		h.log.Warn("there are no policies", "from", name)
	}
	s.docs, s.settings, s.delivered = docs, settings, s.delivered || complete
	h.apply()
}

// SetTarget tells who this container is, and selects anew if that has changed.
func (h *Hub) SetTarget(t spolicy.Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reflect.DeepEqual(t, h.told) {
		return
	}
	h.told = t
	h.apply()
}

// Hold gives what the filter must hold: what is visible, what the documents need
// that are there, whether or not they select this container, and beside that
// asked, or where nothing is asked for (0) and live sources may bring any
// document later, everything but accept. The filter cannot be widened: rules that
// need more are complained of.
func (h *Hub) Hold(visible, asked rules.Operation, live bool) rules.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	needs, err := rules.Needs(h.all(), h.posture)
	if err != nil || asked == 0 && live {
		needs = rules.All | rules.NetworkSend
	}
	h.held, h.fixed = visible|asked|needs, true
	h.links.running = true
	return h.held
}

// DenyEndpoints says whether a rule of the documents that are there could deny whom a
// connection or a message is for.
func (h *Hub) DenyEndpoints() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return rules.DenyEndpoints(h.all(), h.posture)
}

// all gives the documents of all sources. h.mu is held.
func (h *Hub) all() (docs []spolicy.Document) {
	for _, s := range h.sources {
		docs = append(docs, s.docs...)
	}
	return docs
}

// source finds a source, or adds it. h.mu is held.
func (h *Hub) source(name string) *source {
	i := slices.IndexFunc(h.sources, func(s *source) bool { return s.name == name })
	if i < 0 {
		h.sources = append(h.sources, &source{name: name})
		i = len(h.sources) - 1
	}
	return h.sources[i]
}

// apply puts the rules of the present documents in force. h.mu is held.
func (h *Hub) apply() {
	docs, replaced := h.merge()
	effective := h.effective()
	h.target = effective.labelled(h.told)
	resolved := make([]spolicy.Document, len(docs))
	for i := range docs {
		docs[i].Mode = effective.mode(docs[i].Mode)
		resolved[i] = h.links.resolve(docs[i])
	}
	compiled, err := rules.Compile(resolved, h.target, effective.posture(h.posture))
	if err != nil {
		h.log.Error("the policies stay as they were", "error", err)
		return
	}
	h.inForce.Store(compiled)
	h.visible.Store(effective.visible())
	h.docs, h.notes = docs, compiled.Notes()
	generation := h.generation.Add(1)
	h.report(docs, replaced, compiled, generation)
	close(h.changed)
	h.changed = make(chan struct{})
}

// key is what makes two documents the same policy.
type key struct {
	kind, namespace, name string
	watches               bool // one that watches may stand beside one that enforces
}

func keyOf(d *spolicy.Document) key {
	return key{d.Kind, d.Namespace, d.Name, d.Mode == spolicy.Watch}
}

// String names a policy for people.
func (k key) String() string {
	name := k.name
	if k.namespace != "" {
		name = k.namespace + "/" + name
	}
	if k.watches {
		name += " (watching)"
	}
	return name
}

// replacement is a document that does not count, and the one that does.
type replacement struct{ old, by *spolicy.Document }

// merge gives the documents that count, in the order of rules. h.mu is held.
func (h *Hub) merge() (docs []spolicy.Document, replaced []replacement) {
	last := map[key]*spolicy.Document{}
	for _, s := range h.sources {
		for i := range s.docs {
			last[keyOf(&s.docs[i])] = &s.docs[i]
		}
	}
	for _, s := range h.sources {
		for i := range s.docs {
			d := &s.docs[i]
			if by := last[keyOf(d)]; by != d {
				replaced = append(replaced, replacement{d, by})
				continue
			}
			docs = append(docs, *d)
		}
	}
	return docs, replaced
}
