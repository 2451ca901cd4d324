package policyapi

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// bodyName stands for the file in what is said of a body.
const bodyName = "body"

// fault is one thing that is wrong.
type fault struct {
	Line    int    `json:"line,omitempty"`
	Field   string `json:"field,omitempty"` // as in spec.file.matchPaths[0].path
	Message string `json:"message"`
}

// refusal is the answer where policies are wrong.
type refusal struct {
	Error  string  `json:"error"`
	Errors []fault `json:"errors"`
}

// change is the answer to PUT and DELETE.
type change struct {
	DryRun     bool    `json:"dry_run,omitempty"`
	Generation uint64  `json:"generation"` // in which the change is in force
	Policies   []shown `json:"policies"`   // that are there now, or not any more
}

// faults takes an error apart.
func faults(err error) []fault {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []fault
		for _, e := range joined.Unwrap() {
			all = append(all, faults(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[*spolicy.Error](err); ok {
		return []fault{{e.Line, e.Field, e.What}}
	}
	return []fault{{Message: err.Error()}}
}

// modeOf reads ?mode=; nil where it is not given.
func modeOf(r *http.Request) (watches *bool, err error) {
	switch mode := r.URL.Query().Get("mode"); mode {
	case "":
		return nil, nil //nolint:nilnil // it is not given, and that is right
	case "watch":
		return new(true), nil
	case "enforce":
		return new(false), nil
	default:
		return nil, fmt.Errorf("mode %q is not known: it must be enforce or watch", mode)
	}
}

// dryRun says whether the request only asks what would be: ?dryRun, with any value
// but false.
func dryRun(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("dryRun") && !strings.EqualFold(q.Get("dryRun"), "false")
}

// put takes policies, all of the body or none.
func (h *Handlers) put(w http.ResponseWriter, r *http.Request) {
	read, ok := h.readBody(w, r)
	if !ok {
		return
	}
	answer, created := change{DryRun: dryRun(r), Policies: []shown{}}, false
	for i := range read {
		answer.Policies = append(answer.Policies, show(&read[i]))
	}
	apply := func(texts map[policies.Key]policies.Text) error {
		for i := range read {
			k := policies.KeyOf(&read[i].Document)
			before, was := texts[k]
			created = created || !was
			if err := precondition(r, before, was); err != nil {
				return err
			}
			if !k.Watches { // what was tried out beside it has been decided about
				trial := k
				trial.Watches = true
				delete(texts, trial)
			}
			texts[k] = h.Own.Text(&read[i])
		}
		return nil
	}
	if !h.change(w, answer.DryRun, apply) {
		return
	}
	if len(read) == 1 {
		w.Header().Set("ETag", answer.Policies[0].ETag)
	}
	status := http.StatusOK
	if created && !answer.DryRun {
		status = http.StatusCreated
	}
	answer.Generation = h.Hub.Snapshot().Generation
	api.Answer(w, status, answer)
}

// errDry ends a change that is only asked about.
var errDry = errors.New("dry run")

// errClosed is that nobody may change policies here: the workload is on this machine,
// too.
var errClosed = errors.New("policies are changed by those who show a token: set AUTH_TOKEN_ADMIN, or have clients show certificates")

// change makes a change of what clients have sent, or answers.
func (h *Handlers) change(w http.ResponseWriter, dry bool, apply func(map[policies.Key]policies.Text) error) bool {
	if !h.Open && !dry {
		api.Answer(w, http.StatusForbidden, api.Problem{Error: errClosed.Error()})
		return false
	}
	err := h.Own.Update(func(texts map[policies.Key]policies.Text) error {
		err := apply(texts)
		if err == nil && dry {
			return errDry
		}
		return err
	})
	var status int
	switch unmet, failed := errors.AsType[*unmetError](err); {
	case err == nil, errors.Is(err, errDry):
		return true
	case failed:
		w.Header().Set("ETag", unmet.tag)
		status = http.StatusPreconditionFailed
	case errors.Is(err, errSeveral):
		status = http.StatusConflict
	case errors.Is(err, errNone):
		status = http.StatusNotFound
	case errors.Is(err, policies.ErrTooMuch):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, policies.ErrNotKept):
		status = http.StatusNotImplemented
	default:
		h.Log.Error("a change of policies cannot be kept", "error", err)
		status = http.StatusInsufficientStorage
	}
	api.Answer(w, status, api.Problem{Error: err.Error()})
	return false
}

// readBody reads the policies of a body, of which there is one where the path names
// it, or answers.
func (h *Handlers) readBody(w http.ResponseWriter, r *http.Request) ([]policies.Policy, bool) {
	watches, err := modeOf(r)
	if err != nil {
		api.Answer(w, http.StatusBadRequest, api.Problem{Error: err.Error()})
		return nil, false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answerBody(w, fmt.Errorf("reading the body: %w", err))
		return nil, false
	}
	text := policies.Text{Place: bodyName, Body: string(body)}
	read, err := policies.Read(text, h.Strict)
	if err == nil {
		err = h.fits(r, read)
	}
	for i := range read {
		switch d := &read[i]; {
		case watches != nil && *watches:
			d.Mode = spolicy.Watch
		case watches != nil && d.Mode != spolicy.Enforce && err == nil:
			err = fmt.Errorf("%s: the annotation %s says %s, and the address mode=enforce", d.Origin, spolicy.ModeAnnotation, d.Mode)
		}
	}
	if err != nil {
		api.Answer(w, http.StatusUnprocessableEntity, refusal{err.Error(), faults(err)})
		return nil, false
	}
	return read, true
}

// fits says what is wrong with the policies of a body for the path.
func (h *Handlers) fits(r *http.Request, read []policies.Policy) error {
	seen := map[policies.Key]bool{}
	for i := range read {
		d, k := &read[i].Document, policies.KeyOf(&read[i].Document)
		if k.Watches = false; seen[k] {
			return fmt.Errorf("%s: %s %s is there twice", d.Origin, d.Kind, k)
		}
		seen[k] = true
	}
	v := mux.Vars(r)
	if v["kind"] == "" {
		if len(read) == 0 {
			return errors.New("there is no policy in the body")
		}
		return nil
	}
	if len(read) != 1 {
		return fmt.Errorf("there are %d policies in the body, and the path names one: PUT several to /policies", len(read))
	}
	kind, ok := kindOf(v["kind"])
	d := &read[0].Document
	if !ok || d.Kind != kind || d.Name != v["name"] {
		return fmt.Errorf("the body has %s %s, and the path names %s %s", d.Kind, d.Name, v["kind"], v["name"])
	}
	if q := r.URL.Query(); q.Has("namespace") && q.Get("namespace") != d.Namespace {
		return fmt.Errorf("the body has the namespace %q, and the address %q", d.Namespace, q.Get("namespace"))
	}
	return nil
}

// errNone is that there is nothing to delete, errSeveral that it is not said what.
var (
	errNone    = errors.New("no such policy was sent here")
	errSeveral = errors.New("not unambiguous")
)

// delete takes policies of one name away.
func (h *Handlers) delete(w http.ResponseWriter, r *http.Request) {
	wanted, ok := h.wanted(w, r)
	if !ok {
		return
	}
	h.remove(w, r, wanted.is, fmt.Errorf("there is no %s that was sent here: %w", wanted, errNone))
}

// deleteAll takes away all policies that were sent here.
func (h *Handlers) deleteAll(w http.ResponseWriter, r *http.Request) {
	h.remove(w, r, func(policies.Key) bool { return true }, nil)
}

// remove takes policies away; none is what is answered where there are none.
func (h *Handlers) remove(w http.ResponseWriter, r *http.Request, which func(policies.Key) bool, none error) {
	answer := change{DryRun: dryRun(r), Policies: []shown{}}
	namespaces := map[string]bool{}
	apply := func(texts map[policies.Key]policies.Text) error {
		for _, k := range sorted(texts, h.Own.Place) {
			text := texts[k]
			if !which(k) {
				continue
			}
			if err := precondition(r, text, true); err != nil {
				return err
			}
			namespaces[k.Namespace] = true
			read, err := policies.Read(text, false)
			if err != nil {
				return err // never: it was read before
			}
			answer.Policies = append(answer.Policies, show(&read[0]))
			delete(texts, k)
		}
		if len(answer.Policies) == 0 {
			return none
		}
		if none != nil && len(namespaces) > 1 {
			return fmt.Errorf("%w: there are policies of this name in several namespaces: say which with ?namespace=", errSeveral)
		}
		return nil
	}
	if h.change(w, answer.DryRun, apply) {
		answer.Generation = h.Hub.Snapshot().Generation
		api.Answer(w, http.StatusOK, answer)
	}
}

// sorted gives the keys of texts in the order of their places.
func sorted(texts map[policies.Key]policies.Text, place func(policies.Key) string) []policies.Key {
	return slices.SortedFunc(maps.Keys(texts), func(a, b policies.Key) int { return strings.Compare(place(a), place(b)) })
}
