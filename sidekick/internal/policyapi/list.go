package policyapi

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// listing is the answer to GET /policies.
type listing struct {
	Instance   string        `json:"instance"`
	Generation uint64        `json:"generation"`
	Sources    []shownSource `json:"sources"`
	Tracers    []shownTracer `json:"tracers"`
}

type shownSource struct {
	Name       string                      `json:"name"`
	Pending    bool                        `json:"pending,omitempty"` // it has not said anything yet
	Policies   []shown                     `json:"policies"`
	Replaced   []replaced                  `json:"replaced,omitempty"`
	Wrong      []wrong                     `json:"wrong,omitempty"`
	Namespaces map[string]spolicy.Settings `json:"namespaces,omitempty"`
	Pods       map[string]spolicy.Settings `json:"pods,omitempty"`
}

// name is how a policy is told apart.
type name struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Mode      string `json:"mode"` // enforce, watch or off
}

// shown is one policy.
type shown struct {
	name
	At          string              `json:"at"` // "file:line"
	ETag        string              `json:"etag"`
	Warnings    []string            `json:"warnings,omitempty"`
	NotEnforced []policystream.Note `json:"not_enforced,omitempty"` // by no tracer
}

type replaced struct {
	name
	At       string `json:"at"`
	BySource string `json:"by_source"`
	ByAt     string `json:"by_at"`
}

type wrong struct {
	Place  string  `json:"place"`
	Errors []fault `json:"errors"`
}

// modeNames are the modes as they are given and shown.
func modeName(m spolicy.Mode) string {
	return [...]string{spolicy.Enforce: "enforce", spolicy.Watch: "watch", spolicy.Off: "off"}[m]
}

func (h *Handlers) list(w http.ResponseWriter, _ *http.Request) {
	snapshot := h.Hub.Snapshot()
	l := listing{Instance: h.instance, Generation: snapshot.Generation, Sources: []shownSource{}, Tracers: h.tracers.list(h.instance, snapshot.Generation)}
	for _, m := range snapshot.Sources {
		s := shownSource{Name: m.Name, Pending: m.Pending, Policies: []shown{}, Namespaces: m.Namespaces, Pods: m.Pods}
		for i := range m.Policies {
			s.Policies = append(s.Policies, show(&m.Policies[i]))
		}
		for _, r := range m.Replaced {
			n := name{r.Key.Kind, r.Key.Namespace, r.Key.Name, "enforce"}
			if r.Key.Watches {
				n.Mode = "watch"
			}
			s.Replaced = append(s.Replaced, replaced{n, r.At, r.BySource, r.ByPolicyAt})
		}
		for _, at := range m.Wrong {
			s.Wrong = append(s.Wrong, wrong{at.Place, faults(at.Err)})
		}
		l.Sources = append(l.Sources, s)
	}
	api.Answer(w, http.StatusOK, l)
}

func show(p *policies.Policy) shown {
	s := shown{name: name{p.Kind, p.Namespace, p.Name, modeName(p.Mode)}, At: p.Origin, ETag: etag(p), Warnings: p.Warnings}
	for _, n := range p.Notes {
		s.NotEnforced = append(s.NotEnforced, policystream.Note{Policy: n.Policy, At: n.At, Section: n.Section, Action: n.Action, Why: n.Why})
	}
	return s
}

// etag changes with what a policy says and with its mode.
func etag(p *policies.Policy) string {
	sum := sha256.Sum256([]byte(modeName(p.Mode) + "\n" + p.Text.Body))
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// get gives the text of a policy that counts, from whichever source.
func (h *Handlers) get(w http.ResponseWriter, r *http.Request) {
	wanted, ok := h.wanted(w, r)
	if !ok {
		return
	}
	var found []*policies.Policy
	snapshot := h.Hub.Snapshot()
	for s := range snapshot.Sources {
		for p := range snapshot.Sources[s].Policies {
			if one := &snapshot.Sources[s].Policies[p]; wanted.is(policies.KeyOf(&one.Document)) {
				found = append(found, one)
			}
		}
	}
	one := one(w, wanted, found)
	if one == nil {
		return
	}
	tag := etag(one)
	w.Header().Set("ETag", tag)
	if match := r.Header.Get("If-None-Match"); match != "" && matches(match, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	kind := "application/yaml"
	if strings.HasPrefix(strings.TrimSpace(one.Text.Body), "{") {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write([]byte(one.Text.Body)) // a client that has gone misses the rest
}

// one gives the policy that was found, of several the one that enforces; or answers.
func one(w http.ResponseWriter, q query, found []*policies.Policy) *policies.Policy {
	if len(found) > 1 && !slices.ContainsFunc(found, func(p *policies.Policy) bool { return p.Namespace != found[0].Namespace }) {
		for _, p := range found {
			if p.Mode != spolicy.Watch {
				return p
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0]
	case 0:
		api.Answer(w, http.StatusNotFound, api.Problem{Error: "there is no " + q.String()})
	default:
		api.Answer(w, http.StatusConflict, api.Problem{Error: "there are several of " + q.String() + ": say which with ?namespace="})
	}
	return nil
}

// query is which policy a request is about.
type query struct {
	kind, name string
	namespace  *string // nil is any
	watches    *bool   // nil is any
}

func (q query) is(k policies.Key) bool {
	return k.Kind == q.kind && k.Name == q.name && (q.namespace == nil || *q.namespace == k.Namespace) && (q.watches == nil || *q.watches == k.Watches)
}

func (q query) String() string {
	text := q.kind + " " + q.name
	if q.namespace != nil {
		text += " in namespace " + *q.namespace
	}
	if q.watches != nil {
		text += map[bool]string{true: " that only watches", false: " that enforces"}[*q.watches]
	}
	return text
}

// wanted reads which policy a request is about, or answers.
func (h *Handlers) wanted(w http.ResponseWriter, r *http.Request) (q query, ok bool) {
	v := mux.Vars(r)
	if q.kind, ok = kindOf(v["kind"]); !ok {
		api.Answer(w, http.StatusNotFound, api.Problem{Error: "there is no kind " + v["kind"] + ": use " + spolicy.KindPolicy + " (ksp) or " + spolicy.KindClusterPolicy + " (csp)"})
		return q, false
	}
	q.name = v["name"]
	if values := r.URL.Query(); values.Has("namespace") {
		q.namespace = new(values.Get("namespace"))
	}
	watches, err := modeOf(r)
	if err != nil {
		api.Answer(w, http.StatusBadRequest, api.Problem{Error: err.Error()})
		return q, false
	}
	q.watches = watches
	return q, true
}

// kindOf takes a kind, or its short or plural name as kubectl does.
func kindOf(text string) (kind string, ok bool) {
	switch strings.ToLower(text) {
	case "kubearmorpolicy", "kubearmorpolicies", "ksp":
		return spolicy.KindPolicy, true
	case "kubearmorclusterpolicy", "kubearmorclusterpolicies", "csp":
		return spolicy.KindClusterPolicy, true
	}
	return "", false
}
