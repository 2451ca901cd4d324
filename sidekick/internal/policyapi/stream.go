package policyapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// stream sends one tracer the state of the policies, and each that follows.
func (h *Handlers) stream(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	messages := make(chan api.Message)
	var producing sync.WaitGroup
	producing.Go(func() {
		defer close(messages)
		if err := h.follow(ctx, messages); ctx.Err() == nil {
			h.Log.Error("policies cannot be sent to a tracer", "error", err)
		}
	})
	defer producing.Wait()
	defer cancel()
	defer h.tracers.connect(r.URL.Query().Get("tracer"))()
	if err := api.SendEvents(w, r, messages); err != nil {
		h.Log.Debug("the stream of policies to a tracer has ended", "error", err)
	}
}

// follow gives each state, or the latest where there are several, until ctx ends.
func (h *Handlers) follow(ctx context.Context, messages chan<- api.Message) error {
	var encoder policystream.Encoder
	for generation := uint64(0); ; {
		snapshot, err := h.Hub.Next(ctx, generation)
		if err != nil {
			return err
		}
		generation = snapshot.Generation
		text, err := encoder.Encode(h.state(snapshot))
		if err != nil {
			return err
		}
		select {
		case messages <- api.Message{Name: "policies", Data: text}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state gives a snapshot as tracers get it.
func (h *Handlers) state(snapshot *policies.Snapshot) policystream.State {
	s := policystream.State{Instance: h.instance, Generation: snapshot.Generation}
	for _, m := range snapshot.Sources {
		source := policystream.Source{Name: m.Name, Pending: m.Pending, Namespaces: m.Namespaces, Pods: m.Pods}
		for i := range m.Policies {
			source.Policies = append(source.Policies, policystream.Policy{Text: m.Policies[i].Text, Mode: m.Policies[i].Mode})
		}
		s.Sources = append(s.Sources, source)
	}
	return s
}

// status takes what a tracer says of itself.
func (h *Handlers) status(w http.ResponseWriter, r *http.Request) {
	var s policystream.Status
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		answerBody(w, fmt.Errorf("not a status: %w", err))
		return
	}
	if s.Tracer.ID == "" || len(s.Tracer.ID) > maxID {
		api.Answer(w, http.StatusBadRequest, api.Problem{Error: "the status does not say whose it is: tracer.id"})
		return
	}
	if !h.tracers.tell(s) {
		api.Answer(w, http.StatusServiceUnavailable, api.Problem{Error: "too many tracers have a status here"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// answerBody says what is wrong with a body.
func answerBody(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		status = http.StatusRequestEntityTooLarge
	}
	api.Answer(w, status, api.Problem{Error: err.Error()})
}
