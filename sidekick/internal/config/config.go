// Package config turns FalcoSidekick's variables and YAML into one validated
// Config with its outputs made. It opens no connection and listens nowhere.
package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
	"github.com/sidearmor/sidearmor/sidekick/internal/filter"
)

const (
	defaultAddress = "127.0.0.1"
	defaultPort    = 2801
)

// Config is what the sidekick runs with.
type Config struct {
	Listen       Listen
	Limits       Limits
	Log          Log
	Enricher     *enrich.Enricher // what every event gets
	MetricFields []string         // output fields that are labels of the metric of Falco events
	Queue        Queue
	GRPC         GRPC
	KubeArmor    KubeArmor
	Policies     Policies
	Outputs      []Output  // those that are turned on, in the order of the kinds
	Warnings     []string  // what was given and has no effect; no values
	Settings     []Setting // what is in effect, to be shown

	instances map[string][]string // of a kind's block, the keys of its outputs

	ShutdownTimeout time.Duration // of an orderly stop as a whole
}

// Output is one output that is turned on.
type Output struct {
	Name            string // metric label, log name and position in the queue: slack, slack-oncall
	Kind            outputs.Kind
	Output          outputs.Output
	More            []outputs.Output // the same, for each further request in flight
	MaxAttempts     int              // for what fails while others get through
	MinimumPriority schema.Priority
	Filter          *filter.Filter // nil when there is none
	Logs            bool           // whether it gets KubeArmor logs
	DigestWindow    time.Duration  // within which similar events become one message; 0 for never
}

// Input is where settings come from. A variable wins over the file, the file over
// the default; an empty variable counts as not given, as with FalcoSidekick.
type Input struct {
	File    string   // YAML; "" for none
	Environ []string // as os.Environ gives it
	Kinds   []outputs.Kind

	PlainPaths []string // that may be served without TLS, if TLSSERVER_NOTLSPATHS asks for it
}

// Load reads and checks everything. Its error joins all problems there are, each
// naming the variable, or the key and line, that it is about.
func Load(in Input) (Config, error) {
	l, err := newLoader(in)
	if err != nil {
		return Config{}, err
	}
	c := Config{Queue: l.queue()}
	l.delivery(&c)
	c.Listen = l.listen()
	c.Limits = l.limits()
	c.GRPC = l.grpc(c.Listen)
	l.insecureInVain(c)
	c.KubeArmor = l.kubeArmor(c.GRPC)
	c.Policies = l.policies()
	c.Log = l.log()
	l.enrichment(&c)
	l.get(clientFilesPath) // to be shown
	for _, k := range in.Kinds {
		for _, instance := range l.instancesOf(k) {
			if o := l.output(instance); o != nil {
				c.Outputs = append(c.Outputs, *o)
			}
		}
	}
	l.uniqueNames(c.Outputs)
	l.unknownVariables(len(c.Outputs))
	c.Warnings, c.Settings, c.instances = l.warnings(), l.effective, l.instances
	if len(l.problems) > 0 {
		return Config{}, errors.Join(l.problems...)
	}
	return c, nil
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Errorf(format, args...))
}
