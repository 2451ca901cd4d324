// Package doctor finds out, by doing, what this host lets the tracer do, and says
// what follows where something is missing. It starts no workload.
package doctor

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine/notify"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
)

// State is what came of trying a feature.
type State string

// The states.
const (
	Works        State = "works"
	NotSupported State = "not supported"
	Unknown      State = "could not tell"
)

// Finding is one feature of the host.
type Finding struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"` // a value, or the error of the attempt
	Effect string `json:"effect,omitempty"` // what follows, where it does not work
}

// Options are what Examine asks with.
type Options struct {
	Version  string   // the tracer's
	Environ  []string // "NAME=value", for the metadata endpoint and the sidekick's address
	Self     string   // the tracer's own file, which is started with Child as its arguments
	Child    []string
	Sidekick string // its address without secrets, "" for none
}

// Report is all that was found.
type Report struct {
	Version  string    `json:"version"`
	Verdict  string    `json:"verdict"`
	Ready    bool      `json:"ready"`  // a workload can be run under the tracer
	Engine   string    `json:"engine"` // that --engine=auto takes: notify or ptrace, "" for none
	Findings []Finding `json:"findings"`
}

// Examine tries everything. It takes a few seconds where an address does not answer.
func Examine(ctx context.Context, o Options) Report {
	r := Report{Version: o.Version}
	r.Findings = append(r.Findings, kernel()...)
	f := notify.Probe(!launch.Can(unix.CAP_SYS_ADMIN))
	r.add("seccomp filters", f.Filter, "No workload can be run: no call is held without a filter.")
	r.add("user notification", f.Listener, "Calls are held by ptrace, which costs more. Where that does not work either, the tracer ends with status 125.")
	r.add("let a held call run", f.Continue, "Calls are held by ptrace.")
	r.add("give a descriptor", f.Install, "File rules that deny fail every open that they could be about.")
	r.add("give a descriptor in one step", f.OneStep, "Where a signal comes between the two steps, the open is made again.")
	r.add("held calls wait through signals", f.Killable, "A signal can make a held call fail with EINTR or be made, and told, twice.")
	r.Findings = append(r.Findings, capabilities()...)
	r.Findings = append(r.Findings, otherProcesses(ctx, o)...)
	r.Findings = append(r.Findings, around(ctx, o)...)
	switch {
	case f.Listener == nil && f.Continue == nil && f.Install == nil:
		r.Engine = "notify"
	case r.works("ptrace") && f.Filter == nil && !errors.Is(f.Listener, unix.EBUSY):
		r.Engine = "ptrace"
	}
	r.Ready = r.Engine != ""
	r.Verdict = "A workload can be run under the tracer, by the engine " + r.Engine + "."
	if !r.Ready {
		r.Verdict = "No workload can be run under the tracer here: calls cannot be held, neither by user notification nor by ptrace. " +
			"Let the container's seccomp profile allow seccomp with a listener, or ptrace; see \"Engines\" in docs/tracer.md."
	}
	return r
}

// works says whether an attempt went well.
func (r *Report) works(name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name && f.State == Works })
}

// add tells of one attempt.
func (r *Report) add(name string, err error, effect string) {
	r.Findings = append(r.Findings, attempt(name, err, effect))
}

func attempt(name string, err error, effect string) Finding {
	f := Finding{Name: name, State: Works}
	if err == nil {
		return f
	}
	f.State, f.Detail, f.Effect = NotSupported, err.Error(), effect
	if errors.Is(err, notify.ErrNotTried) || errors.Is(err, errCannotTell) {
		f.State = Unknown
	}
	return f
}

// errCannotTell says that an attempt failed for a reason of its own.
var errCannotTell = errors.New("the attempt itself failed")
