package eks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// Setting is an environment variable, or one that comes from a key of a Secret.
type Setting struct {
	Name, Value string
	Secret, Key string // instead of Value
}

// Options say what is added to which containers. Images must be set.
type Options struct {
	TracerImage, SidekickImage string

	Only, Skip  []string // names of containers
	TraceProbes bool     // exec probes and lifecycle hooks run under the tracer, too
	Nodes       bool     // the pods run on nodes, not on Fargate

	Commands *workload.Commands
	Arch     string // amd64 or arm64

	Cluster         string // name of the cluster, for events
	Policies        string // the value of TRACER_POLICY
	PolicyConfigMap string // name of a ConfigMap with policies
	TracerEnv       []Setting
	SidekickEnv     []Setting
	SidekickSecret  string  // name of a Secret whose keys are settings of the sidekick
	Shared          Setting // Secret and Key of the token by which tracer and sidekick know each other
	Token           bool    // the sidekick, and nobody else, gets a token for the API server
	ClusterPolicies bool    // the sidekick follows the policies of the cluster, and hands them on; it gets the token for that
}

// Result is a text with pods that run under the tracer.
type Result struct {
	Text    string
	Changes []string // what was changed, in words
	Notes   []string // what the user should know
	Costs   []string // what it costs
	Pods    int      // how many pods and templates were found
}

// Inject adds the tracer and the sidekick to every pod and pod template in text.
// What an earlier run added is replaced. Other objects stay as they are.
func Inject(ctx context.Context, text string, o Options) (*Result, error) {
	original, records, err := remove(text)
	if err != nil {
		return nil, err
	}
	doc, targets, err := read(original)
	if err != nil {
		return nil, err
	}
	res := &Result{Pods: len(targets)}
	if len(targets) == 0 {
		res.Text = text
		res.Notes = append(res.Notes, "no pod and no template of pods is in it: nothing is changed")
		return res, nil
	}
	for _, t := range targets {
		o.Commands.Begin(records[t.pod.String()])
		before := t.size()
		i := &injection{target: t, o: &o, res: res}
		if err := i.run(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", t.label(), err)
		}
		res.Costs = append(res.Costs, i.cost(before)...)
	}
	res.Text = doc.Text()
	back, _, err := remove(res.Text)
	if err := workload.Undone(original, back, err); err != nil {
		return nil, err
	}
	return res, Check(res.Text, o.Nodes)
}

// Remove takes away what Inject added.
func Remove(text string) (string, error) {
	original, records, err := remove(text)
	if err == nil && len(records) == 0 {
		err = errors.New("nothing in it was added by inject")
	}
	return original, err
}

// remove takes away what Inject added, if it did. It returns the records of what
// was found, by the path of the pod.
func remove(text string) (string, map[string]*workload.Record, error) {
	doc, targets, err := read(text)
	if err != nil {
		return "", nil, err
	}
	records := map[string]*workload.Record{}
	for _, t := range slices.Backward(targets) {
		r, err := t.revert()
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", t.label(), err)
		}
		if r != nil {
			records[t.pod.String()] = r
		}
	}
	return doc.Text(), records, nil
}

func (t *target) revert() (*workload.Record, error) {
	inits := t.get("initContainers")
	if inits == nil {
		return nil, nil
	}
	at := slices.IndexFunc(inits.Items, func(n *document.Node) bool { return n.Name() == workload.Install })
	if at < 0 {
		return nil, nil
	}
	value := ""
	if env := inits.Items[at].Get("env"); env != nil {
		for _, e := range env.Items {
			if e.Name() == workload.RecordVariable {
				value = e.Get("value").Text()
			}
		}
	}
	if value == "" {
		return nil, fmt.Errorf("it has a container %s that inject did not write", workload.Install)
	}
	record, err := workload.Decode(value)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{workload.Install, workload.Sidekick} {
		if err := t.doc.Revert([]document.Undo{document.Added(t.spec("initContainers"), document.Match{Key: "name", Value: name})}); err != nil {
			return nil, err
		}
	}
	return record, t.doc.Revert(record.Undo)
}

// injection is the change of one pod.
type injection struct {
	*target
	o      *Options
	res    *Result
	traced []*container
	socket bool // the sidekick is reached by a socket in a volume
}

func (i *injection) changed(format string, a ...any) {
	i.res.Changes = append(i.res.Changes, i.label()+": "+fmt.Sprintf(format, a...))
}

func (i *injection) note(format string, a ...any) {
	i.res.Notes = append(i.res.Notes, i.label()+": "+fmt.Sprintf(format, a...))
}

func (i *injection) run(ctx context.Context) error {
	i.doc.Forget()
	for _, key := range []string{"kubernetes.io/os", "beta.kubernetes.io/os"} {
		if i.get("nodeSelector", key).Text() == "windows" {
			return fmt.Errorf("its nodeSelector wants Windows: the tracer runs on Linux only")
		}
	}
	if i.get("os", "name").Text() == "windows" {
		return fmt.Errorf("it is for Windows: the tracer runs on Linux only")
	}
	if err := i.choose(); err != nil {
		return err
	}
	i.socket = i.get("hostNetwork").Text() == "true"
	if i.get("shareProcessNamespace").Text() == "true" || i.get("hostPID").Text() == "true" {
		i.note("its containers share their processes: the tracer is not process 1, so a process of the same user can kill it")
	}
	if grace := i.get("terminationGracePeriodSeconds").Text(); grace != "" && len(grace) < 2 {
		i.note("terminationGracePeriodSeconds is %s: the sidekick may have no time to deliver the last alerts", grace)
	}
	if err := i.volumes(); err != nil {
		return err
	}
	for _, c := range i.traced {
		if err := i.container(ctx, c); err != nil {
			return fmt.Errorf("container %s: %w", c.name, err)
		}
	}
	return i.addContainers()
}

// meshes are the sidecars of service meshes, which start and stop in ways of
// their own.
var meshes = []string{"istio-proxy", "linkerd-proxy"}

// choose finds the containers that get the tracer: those of the application,
// unless the user names others.
func (i *injection) choose() error {
	all, err := i.list()
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.name)
		switch {
		case c.name == workload.Install || c.name == workload.Sidekick:
			return fmt.Errorf("it has a container %s that inject did not write", c.name)
		case slices.Contains(i.o.Only, c.name):
		case len(i.o.Only) > 0 || slices.Contains(i.o.Skip, c.name):
			continue
		case c.init:
			i.note("init container %s stays as it is; --container %s has it traced", c.name, c.name)
			continue
		case slices.Contains(meshes, c.name):
			i.note("container %s stays as it is: it is the proxy of a service mesh; --container %s has it traced", c.name, c.name)
			continue
		}
		i.traced = append(i.traced, c)
	}
	if len(i.traced) == 0 && len(i.o.Only)+len(i.o.Skip) == 0 {
		return errors.New("no container is left to be traced")
	}
	if len(i.traced) == 0 && i.res.Pods == 1 {
		return fmt.Errorf("none of its containers is to be traced, only there are %s", strings.Join(names, ", "))
	}
	return nil
}
