package policies

import (
	"context"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Source is one place that policies come from: a directory, a cluster, clients.
type Source interface {
	// Name names the source for people and in what is kept: "kubernetes". No two
	// sources have the same.
	Name() string
	// Run follows the source until ctx ends, and returns only then. It calls report
	// with all that is there as soon as it knows that, and again each time that it
	// has changed; never with a part of it, and never because it cannot look: until
	// the next report everything stays as the last one said. It tries again by
	// itself. It calls report from one goroutine at a time.
	Run(ctx context.Context, report Report)
}

// Report takes the whole present state of a source, and says what became of each
// of its texts, in their order. When it returns, what is right is in force in the
// hub. The state belongs to the hub from then on.
type Report func(State) []Outcome

// State is all that a source knows.
type State struct {
	// Texts are in the order of their rules: of policies of the same kind, namespace
	// and name the last counts.
	Texts []Text
	// Namespaces and Pods are what is said of them beside their policies, by name,
	// and by "namespace/name"; nil where the source does not know.
	Namespaces map[string]spolicy.Settings
	Pods       map[string]spolicy.Settings
}

// Text is what stands at one place of a source: a file, an object, a parameter.
type Text struct {
	// Place names it, as in "web.yaml:3: …" when something is wrong. It is the same
	// from report to report: if a text is wrong, what last was right at its place
	// stays in force. No two texts of a state have the same.
	Place string `json:"place"`
	// Body is YAML or JSON, perhaps of several policies.
	Body string `json:"body"`
	// Mode other than Enforce is for all policies of the text, whatever their
	// annotations say.
	Mode spolicy.Mode `json:"mode,omitempty"`
}

// Outcome is what became of one text.
type Outcome struct {
	// Policies are those in force from this place: if Err is not nil, of the last
	// time that it was right. Others of the same name may count instead.
	Policies []Policy
	// Err joins an *spolicy.Error for everything that is wrong.
	Err error
}

// Policy is one policy as it is sent to tracers. It does not change.
type Policy struct {
	spolicy.Document
	Text  spolicy.Text // what its author wrote
	Notes []rules.Note // what is valid in it and nowhere enforced
}
