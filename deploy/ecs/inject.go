package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// Pair is an environment variable, or a secret with the ARN or name that it
// comes from.
type Pair struct{ Name, Value string }

// Options say what is added to which containers. Images must be set.
type Options struct {
	TracerImage, SidekickImage string

	Only, Skip        []string // names of containers
	TraceHealthChecks bool
	LaunchType        string // FARGATE, EC2, MANAGED_INSTANCES, EXTERNAL; empty: as the definition says

	Commands *workload.Commands

	Policies        string // the value of TRACER_POLICY
	PolicyParameter string // ARN or name of the parameter or secret that has it
	TracerEnv       []Pair
	SidekickEnv     []Pair
	SidekickSecrets []Pair

	SidekickMemory, SidekickCPU int // MiB; CPU units; 0: no share of its own
	TaskMemory, TaskCPU         string
	WaitHealthy                 bool // the workload waits until the sidekick answers
}

// Result is a text with task definitions that run under the tracer.
type Result struct {
	Text    string
	Changes []string // what was changed, in words
	Notes   []string // what the user should know
	Costs   []string // what it costs
}

// Inject adds the tracer and the sidekick to every task definition in text. What
// an earlier run added is replaced. Where the error is one of Check, the result is
// there all the same.
func Inject(ctx context.Context, text string, o Options) (*Result, error) {
	original, records, err := remove(text)
	if err != nil {
		return nil, err
	}
	doc, targets, err := read(original)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	wrapped := ""
	for _, t := range targets {
		o.Commands.Begin(records[t.label])
		i := &injection{target: t, o: &o, res: res, record: &workload.Record{}}
		if wrapped, err = i.run(ctx); err != nil {
			return nil, err
		}
	}
	res.Text = doc.Text()
	if wrapped != "" {
		res.Text = wrapped
	}
	res.Costs = o.cost()
	back, _, err := remove(res.Text)
	if err := workload.Undone(original, back, err); err != nil {
		return nil, err
	}
	return res, Check(res.Text, o.LaunchType)
}

// Remove takes away what Inject added.
func Remove(text string) (string, error) {
	original, records, err := remove(text)
	if err != nil {
		return "", err
	}
	if len(records) == 0 {
		return "", errors.New("nothing in it was added by inject")
	}
	return original, nil
}

// remove takes away what Inject added, if it did. It returns the records of what
// was found, by the label of the target.
func remove(text string) (string, map[string]*workload.Record, error) {
	doc, targets, err := read(text)
	if err != nil {
		return "", nil, err
	}
	records := map[string]*workload.Record{}
	for _, t := range slices.Backward(targets) {
		r, err := t.revert()
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", t.label, err)
		}
		if r == nil {
			continue
		}
		records[t.label] = r
		if r.Wrapped {
			root := doc.Root
			return r.Before + doc.Text()[root.Start:root.End] + r.After, records, nil
		}
	}
	return doc.Text(), records, nil
}

// revert takes away what was added to one task definition, and returns its
// record, or nil if nothing was.
func (t *target) revert() (*workload.Record, error) {
	n := t.doc.At(t.containers)
	var record *workload.Record
	for _, name := range []string{workload.Install, workload.Sidekick} {
		at := slices.IndexFunc(n.Items, func(it *document.Node) bool { return it.Name() == name })
		if at < 0 {
			continue
		}
		value := t.variable(n.Items[at], workload.RecordVariable)
		if name == workload.Install {
			if value == "" {
				return nil, fmt.Errorf("it has a container %s that inject did not write", name)
			}
			var err error
			if record, err = workload.Decode(value); err != nil {
				return nil, err
			}
		}
	}
	if record == nil {
		return nil, nil
	}
	for _, name := range []string{workload.Sidekick, workload.Install} {
		if err := t.doc.Revert([]document.Undo{document.Added(t.containers, document.Match{Key: t.key("name"), Value: name})}); err != nil {
			return nil, err
		}
	}
	return record, t.doc.Revert(record.Undo)
}

func (t *target) variable(container *document.Node, name string) string {
	environment := container.Get(t.key("environment"))
	if environment == nil {
		return ""
	}
	for _, e := range environment.Items {
		if e.Name() == name {
			return e.Get(t.key("value")).Text()
		}
	}
	return ""
}

// injection is the change of one task definition.
type injection struct {
	*target
	o      *Options
	res    *Result
	record *workload.Record
	launch []string // where it may run: FARGATE, EC2 and so on; empty: nobody says
	arch   string   // amd64 or arm64
	traced []*container
	socket bool // the sidekick is reached by a socket in a volume
}

func (i *injection) changed(format string, a ...any) {
	i.res.Changes = append(i.res.Changes, i.label+": "+fmt.Sprintf(format, a...))
}

func (i *injection) note(format string, a ...any) {
	i.res.Notes = append(i.res.Notes, i.label+": "+fmt.Sprintf(format, a...))
}

// run changes the definition. It returns the whole text where that is no longer
// the document's: describe-task-definition wraps it.
func (i *injection) run(ctx context.Context) (string, error) {
	i.doc.Forget()
	if err := i.unwrap(); err != nil {
		return "", err
	}
	if err := i.choose(); err != nil {
		return "", fmt.Errorf("%s: %w", i.label, err)
	}
	if err := i.platform(); err != nil {
		return "", fmt.Errorf("%s: %w", i.label, err)
	}
	steps := []func() error{i.dropReadOnly, i.resize, i.volumes}
	for _, c := range i.traced {
		steps = append(steps, func() error { return i.container(ctx, c) })
	}
	steps = append(steps, i.addContainers)
	for _, step := range steps {
		if err := step(); err != nil {
			return "", fmt.Errorf("%s: %w", i.label, err)
		}
	}
	if i.record.Wrapped {
		return i.doc.Text(), nil
	}
	return "", nil
}

// choose finds the containers that get the tracer.
func (i *injection) choose() error {
	all, err := i.list()
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.name)
		switch why := i.leaveOut(c); {
		case slices.Contains(i.o.Only, c.name):
		case len(i.o.Only) > 0 || slices.Contains(i.o.Skip, c.name):
			continue
		case why != "":
			i.note("container %s stays as it is: %s; --container %s has it traced", c.name, why, c.name)
			continue
		}
		i.traced = append(i.traced, c)
	}
	for _, name := range slices.Concat(i.o.Only, i.o.Skip) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no container %s, only %s", name, strings.Join(names, ", "))
		}
	}
	if len(i.traced) == 0 {
		return errors.New("no container is left to be traced")
	}
	return nil
}

// leaveOut says why a container is not traced unless it is asked for.
func (i *injection) leaveOut(c *container) string {
	proxy := i.get("proxyConfiguration", "containerName").Text()
	switch {
	case c.get("firelensConfiguration") != nil:
		return "it routes logs, and starts before everything else"
	case proxy != "" && proxy == c.name:
		return "it is the proxy of the service mesh"
	}
	return ""
}

// unwrap makes the definition the whole text, where describe-task-definition has
// put it into an object: register-task-definition does not take that.
func (i *injection) unwrap() error {
	if len(i.at) == 0 || i.at[len(i.at)-1].Key != "taskDefinition" {
		return nil
	}
	text, n := i.doc.Text(), i.doc.At(i.at)
	tags := i.doc.At(i.at[:len(i.at)-1]).Get("tags")
	i.record.Wrapped, i.record.Before, i.record.After = true, text[:n.Start], text[n.End:]
	doc, err := document.New(text[n.Start:n.End]+"\n", document.JSON)
	if err != nil {
		return fmt.Errorf("%s: it can be taken out of its wrapper in JSON only: %w", i.label, err)
	}
	i.target = &target{doc: doc, containers: document.Path{}.Key("containerDefinitions"), label: i.label}
	if tags != nil && len(tags.Items) > 0 && i.get("tags") == nil {
		return doc.Set(nil, "tags", tags)
	}
	return nil
}

// readOnly is what describe-task-definition tells and register-task-definition
// refuses.
var readOnly = []string{
	"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
	"registeredAt", "registeredBy", "deregisteredAt",
}

func (i *injection) dropReadOnly() error {
	if i.alone || i.pascal {
		return nil
	}
	var dropped []string
	for _, key := range readOnly {
		if !i.doc.At(i.at).Has(key) {
			continue
		}
		if err := i.doc.Drop(i.at, key); err != nil {
			return err
		}
		dropped = append(dropped, key)
	}
	if len(dropped) > 0 {
		i.changed("%s are left out, because register-task-definition refuses them", strings.Join(dropped, ", "))
	}
	return nil
}
