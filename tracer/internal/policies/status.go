package policies

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

const (
	// statusEvery spaces what is told of counters.
	statusEvery   = 5 * time.Second
	statusTimeout = 10 * time.Second
)

// Status says what became of the documents of all sources.
func (h *Hub) Status() (status policystream.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.docs {
		d := &h.docs[i]
		selected := policystream.Selected{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name, Mode: d.Mode.String(), At: d.Origin}
		if pending := d.Awaits(h.target); pending != 0 {
			selected.Why = "it selects by " + awaited(h.target, pending)
		} else if misses := d.Misses(h.target); len(misses) > 0 {
			selected.Why = strings.Join(misses, "; ")
		}
		selected.Selects = d.Selects(h.target)
		n := h.counts.of(d.Name)
		selected.Denied, selected.WouldDenied, selected.Audited = n.denied, n.wouldDenied, n.audited
		status.Policies = append(status.Policies, selected)
	}
	for _, n := range h.notes {
		status.Notes = append(status.Notes, policystream.Note{Policy: n.Policy, At: n.At, Section: n.Section, Action: n.Action, Why: n.Why})
	}
	return status
}

// Changed gives what is closed at the next change of what Status says.
func (h *Hub) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// report tells the sidekick what became of its policies, until ctx ends. It is told
// for people: what fails is tried again with the next status, which says it all.
func (s *Stream) report(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	told := ""
	for {
		changed := s.Hub.Changed()
		if status, ok := s.status(); ok {
			if text, err := json.Marshal(status); err == nil && string(text) != told && s.tell(ctx, text) == nil {
				told = string(text)
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// status says what is to be told; not ok while there is no stream.
func (s *Stream) status() (status policystream.Status, ok bool) {
	status = s.Hub.Status()
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Tracer, status.Proven = s.Tracer(), s.Peer.Secure()
	status.Instance, status.Generation, status.Errors = s.state.Instance, s.state.Generation, s.errors
	return status, s.lost == "" && s.state.Generation > 0
}

// tell sends one status.
func (s *Stream) tell(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Peer.URL(policystream.StatusPath), bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.Peer.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<10))
	return err
}
