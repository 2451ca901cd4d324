package eks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// Where the containers find the policies of a ConfigMap, and the pod's labels.
const (
	policiesVolume = "sidearmor-policies"
	policiesDir    = "/etc/sidearmor/policies"
	podinfoVolume  = "sidearmor-podinfo"
	podinfoDir     = "/etc/sidearmor/podinfo"
)

// container makes the tracer the command of a container.
func (i *injection) container(ctx context.Context, c *container) error {
	if err := i.command(ctx, c); err != nil {
		return err
	}
	if err := i.environment(c); err != nil {
		return err
	}
	mounts := [][2]string{{workload.Volume, workload.Dir}, {podinfoVolume, podinfoDir}}
	if i.o.PolicyConfigMap != "" {
		mounts = append(mounts, [2]string{policiesVolume, policiesDir})
	}
	if i.socket {
		mounts = append(mounts, [2]string{workload.SocketVolume, workload.SocketDir})
	}
	if there := c.get("volumeMounts"); there != nil {
		for _, m := range there.Items {
			if path := strings.TrimRight(m.Get("mountPath").Text(), "/"); path == workload.Dir {
				return fmt.Errorf("it mounts something at %s already", path)
			}
		}
	}
	for _, m := range mounts {
		if err := i.doc.Append(c.at.Key("volumeMounts"), mount(m[0], m[1], true), document.Match{Key: "name", Value: m[0]}); err != nil {
			return err
		}
	}
	i.changed("container %s: the tracer and what it reads are mounted read-only", c.name)
	return i.probes(c)
}

func mount(volume, path string, readOnly bool) document.Entries {
	e := document.Entries{{Key: "name", Value: volume}, {Key: "mountPath", Value: path}}
	if readOnly {
		e = append(e, document.Entry{Key: "readOnly", Value: true})
	}
	return e
}

// command puts the tracer in front of what the container runs. What the manifest
// has stays as it is; what it leaves to the image is written out, because the
// image's CMD is dropped with its ENTRYPOINT.
func (i *injection) command(ctx context.Context, c *container) error {
	command, args := c.get("command"), c.get("args")
	words, ok := command.Strings()
	if command != nil && !ok {
		return fmt.Errorf("line %d: its command is not written out here", i.doc.Line(command))
	}
	if workload.Traced(words) {
		return fmt.Errorf("its command is a tracer already, which inject did not put there: take it away first")
	}
	if len(words) > 0 {
		i.changed("container %s: command begins with %q; the rest and args stay", c.name, workload.Head())
		return i.doc.Prepend(c.at.Key("command"), workload.Head()...)
	}
	hasArgs := args != nil && (args.Kind != document.List || len(args.Items) > 0)
	ref := c.get("image").Text()
	config, err := i.o.Commands.Of(ctx, c.name, ref, i.o.Arch, !hasArgs)
	if err != nil {
		return err
	}
	if !hasArgs && len(config.Entrypoint)+len(config.Cmd) == 0 {
		return fmt.Errorf("neither it nor its image says what it runs")
	}
	argv := slices.Concat(workload.Head(), config.Entrypoint)
	if err := i.doc.Set(c.at, "command", literal(argv)); err != nil {
		return err
	}
	i.changed("container %s: command is %q, the tracer and the ENTRYPOINT of %s", c.name, argv, ref)
	if hasArgs || len(config.Cmd) == 0 {
		return nil
	}
	i.changed("container %s: args are %q, the CMD of its image", c.name, config.Cmd)
	return i.doc.Set(c.at, "args", literal(config.Cmd))
}

// literal writes strings so that Kubernetes puts no variables into them: an
// image's own command line has none.
func literal(words []string) document.Items {
	items := make(document.Items, len(words))
	for i, w := range words {
		items[i] = strings.ReplaceAll(w, "$(", "$$(")
	}
	return items
}

// environment tells the tracer which container it is in, and where policies and
// the sidekick are.
func (i *injection) environment(c *container) error {
	env := []document.Entries{
		field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"), field("NODE_NAME", "spec.nodeName"),
		plain("CONTAINER_NAME", c.name), plain("LABELS_FILE", podinfoDir+"/labels"),
	}
	if ref := c.get("image").Text(); ref != "" {
		env = append(env, plain("CONTAINER_IMAGE", ref))
	}
	if i.kind != "Pod" && i.name != "" {
		env = append(env, plain("OWNER_KIND", i.kind), plain("OWNER_NAME", i.name))
	}
	if owner := i.owner(); owner != nil && i.kind == "Pod" {
		env = append(env, plain("OWNER_KIND", owner.Get("kind").Text()), plain("OWNER_NAME", owner.Get("name").Text()))
	}
	if i.o.Cluster != "" {
		env = append(env, plain("CLUSTER_NAME", i.o.Cluster))
	}
	if i.o.PolicyConfigMap != "" {
		env = append(env, plain("TRACER_POLICIES", policiesDir))
	}
	if i.o.Policies != "" {
		env = append(env, plain("TRACER_POLICY", i.o.Policies))
	}
	if i.socket {
		env = append(env, plain("SIDEKICK_URL", "unix://"+workload.Socket))
	}
	if i.o.ClusterPolicies {
		env = append(env, plain("TRACER_SIDEKICK_POLICIES", "true"))
	}
	if i.o.Shared.Secret != "" {
		env = append(env, Setting{Name: "SIDEKICK_TOKEN", Secret: i.o.Shared.Secret, Key: i.o.Shared.Key}.entries())
	}
	for _, s := range i.o.TracerEnv {
		env = append(env, s.entries())
	}
	var names []string
	for _, e := range env {
		name := fmt.Sprint(e[0].Value)
		if has(c.get("env"), name) {
			i.note("container %s sets %s itself; that counts", c.name, name)
			continue
		}
		if err := i.doc.Append(c.at.Key("env"), e, document.Match{Key: "name", Value: name}); err != nil {
			return err
		}
		names = append(names, name)
	}
	i.changed("container %s: variables say to the tracer who it is: %s", c.name, strings.Join(names, ", "))
	return nil
}

// owner is the object that made a pod. That of a ReplicaSet is found out by the
// tracer: the pod's labels tell the Deployment.
func (i *injection) owner() *document.Node {
	owners := i.doc.At(i.pod.Key("metadata", "ownerReferences")).Present()
	if owners == nil || len(owners.Items) == 0 || owners.Items[0].Get("kind").Text() == "ReplicaSet" {
		return nil
	}
	return owners.Items[0]
}

func has(env *document.Node, name string) bool {
	return env != nil && slices.ContainsFunc(env.Items, func(n *document.Node) bool { return n.Name() == name })
}

func plain(name, value string) document.Entries {
	return document.Entries{{Key: "name", Value: name}, {Key: "value", Value: value}}
}

func field(name, path string) document.Entries {
	return document.Entries{
		{Key: "name", Value: name},
		{Key: "valueFrom", Value: document.Entries{{Key: "fieldRef", Value: document.Entries{{Key: "fieldPath", Value: path}}}}},
	}
}

func (s Setting) entries() document.Entries {
	if s.Secret == "" {
		return plain(s.Name, s.Value)
	}
	ref := document.Entries{{Key: "name", Value: s.Secret}, {Key: "key", Value: s.Key}}
	return document.Entries{
		{Key: "name", Value: s.Name},
		{Key: "valueFrom", Value: document.Entries{{Key: "secretKeyRef", Value: ref}}},
	}
}

// probes has the tracer run exec probes and lifecycle hooks, if the user wants
// that: the kubelet starts them from outside, where nothing is seen or denied.
func (i *injection) probes(c *container) error {
	if !i.o.TraceProbes {
		return nil
	}
	for _, keys := range [][]string{{"livenessProbe"}, {"readinessProbe"}, {"startupProbe"}, {"lifecycle", "postStart"}, {"lifecycle", "preStop"}} {
		at := c.at.Key(keys...).Key("exec", "command")
		words, ok := i.doc.At(at).Strings()
		if !ok || len(words) == 0 {
			continue
		}
		if err := i.doc.Prepend(at, workload.Head()...); err != nil {
			return err
		}
		i.changed("container %s: %s runs under the tracer", c.name, strings.Join(keys, "."))
	}
	return nil
}
