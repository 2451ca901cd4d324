package policystream

import "time"

// Status is what a tracer says of itself and of the policies that it has.
type Status struct {
	Tracer     Tracer     `json:"tracer"`
	Instance   string     `json:"instance,omitempty"`   // of the state that is in force
	Generation uint64     `json:"generation,omitempty"` // of it; 0 when none has come
	Proven     bool       `json:"proven"`               // the sidekick had proven that it knows the token
	Policies   []Selected `json:"policies,omitempty"`   // of all sources, also those that are not the sidekick
	Notes      []Note     `json:"not_enforced,omitempty"`
	Errors     []string   `json:"errors,omitempty"` // of policies that this tracer cannot read
}

// Tracer says which one it is.
type Tracer struct {
	ID        string            `json:"id"` // other for each start of a tracer
	Version   string            `json:"version,omitempty"`
	Started   time.Time         `json:"started,omitzero"`
	Host      string            `json:"host,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Pod       string            `json:"pod,omitempty"`
	Container string            `json:"container,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// Selected is one policy, and whether it selects the tracer's container.
type Selected struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Mode      string `json:"mode"` // enabled, audited or disabled
	At        string `json:"at"`   // where it is written: "file:line"
	Selects   bool   `json:"selects"`
	Why       string `json:"why,omitempty"` // it does not, or that is not known yet

	Denied      uint64 `json:"denied"`       // what it denied
	WouldDenied uint64 `json:"would_denied"` // what it would have denied
	Audited     uint64 `json:"audited"`      // what it let pass with an alert
}

// Note is a part of a policy that the tracer does not enforce.
type Note struct {
	Policy  string `json:"policy"`
	At      string `json:"at"` // "file:line"
	Section string `json:"section"`
	Action  string `json:"action,omitempty"`
	Why     string `json:"why"`
}
