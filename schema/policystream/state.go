// Package policystream is what the sidekick and its tracers say to each other about
// policies: the stream of states, the report on what became of one, and the proof
// that both know the same token. It opens no connection.
package policystream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sidearmor/sidearmor/schema/policy"
)

// Paths of the sidekick.
const (
	Path       = "/policies/stream" // GET: server-sent events, each a state
	StatusPath = "/policies/status" // POST: a Status
	ProofPath  = "/policies/proof"  // GET with ?nonce=: an Answer
)

// MaxState bounds one encoded state.
const MaxState = 64 << 20

// State is all that the sidekick knows.
type State struct {
	// Instance is other for each start of the sidekick. Generation counts within one.
	Instance   string `json:"instance"`
	Generation uint64 `json:"generation"`
	// Sources are in the order of precedence: of policies of the same kind,
	// namespace, name and mode that of the later source counts.
	Sources []Source `json:"sources"`
}

// Source is what one source says.
type Source struct {
	Name string `json:"name"`
	// Pending is that the sidekick does not know yet what the source says. What is
	// known of it from before still holds.
	Pending    bool                       `json:"pending,omitempty"`
	Policies   []Policy                   `json:"-"`
	Namespaces map[string]policy.Settings `json:"namespaces,omitempty"` // by name
	Pods       map[string]policy.Settings `json:"pods,omitempty"`       // by "namespace/name"
}

// Policy is one policy, as its author wrote it.
type Policy struct {
	policy.Text
	Mode policy.Mode `json:"mode,omitempty"` // other than Enforce it counts instead of what the text says
}

// id tells policies apart.
func (p Policy) id() (string, error) {
	text, err := json.Marshal(p)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), err
}

// message is a State as it is sent: policies that were sent before, on the same
// stream, are only named.
type message struct {
	State
	Sources []messageSource   `json:"sources"`
	Texts   map[string]Policy `json:"texts,omitempty"`
}

type messageSource struct {
	Source
	IDs []string `json:"policies,omitempty"`
}

// Encoder makes the messages of one stream. The zero value has sent nothing.
type Encoder struct {
	sent map[string]bool // of the last message
}

// Encode gives the message for a state.
func (e *Encoder) Encode(s State) ([]byte, error) {
	m := message{State: s, Texts: map[string]Policy{}}
	now := map[string]bool{}
	for _, source := range s.Sources {
		ms := messageSource{Source: source}
		for _, p := range source.Policies {
			id, err := p.id()
			if err != nil {
				return nil, fmt.Errorf("encoding policy %s: %w", p.File, err)
			}
			ms.IDs = append(ms.IDs, id)
			if now[id] = true; !e.sent[id] {
				m.Texts[id] = p
			}
		}
		m.Sources = append(m.Sources, ms)
	}
	text, err := json.Marshal(m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encoding policies: %w", err)
	case len(text) > MaxState:
		return nil, fmt.Errorf("encoding policies: %d bytes are more than %d", len(text), MaxState)
	}
	e.sent = now
	return text, nil
}

// Decoder reads the messages of one stream. The zero value has read nothing.
type Decoder struct {
	known map[string]Policy // of the last message
}

// Decode gives the state of a message. After an error the stream is of no use.
func (d *Decoder) Decode(text []byte) (State, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return State{}, fmt.Errorf("reading policies from the sidekick: %w", err)
	}
	if m.Instance == "" || m.Generation == 0 {
		return State{}, errors.New("reading policies from the sidekick: the message has no instance or no generation")
	}
	s, now := m.State, map[string]Policy{}
	s.Sources = make([]Source, 0, len(m.Sources))
	for _, ms := range m.Sources {
		source := ms.Source
		for _, id := range ms.IDs {
			p, ok := m.Texts[id]
			if !ok {
				p, ok = d.known[id]
			}
			if !ok {
				return State{}, fmt.Errorf("reading policies from the sidekick: source %s names a policy that was not sent", ms.Name)
			}
			now[id] = p
			source.Policies = append(source.Policies, p)
		}
		s.Sources = append(s.Sources, source)
	}
	d.known = now
	return s, nil
}
