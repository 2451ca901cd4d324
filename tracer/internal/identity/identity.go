// Package identity finds out who this container is, from its environment, its
// files and the ECS task metadata. It does not identify processes.
//
// Every field of schema.Origin has its sources, the first that knows wins:
//
//	ClusterName     CLUSTER_NAME; ECS cluster name
//	HostName        NODE_NAME; ECS task id; the hostname
//	NodeID          NODE_NAME; ECS task ARN; the hostname
//	NamespaceName   POD_NAMESPACE; NAMESPACE; service account file; container_namespace
//	Owner           OWNER_KIND and OWNER_NAME; ECS Service or, without one, Task
//	                family; the Deployment that the label pod-template-hash reveals
//	PodName         POD_NAME; on Kubernetes the hostname; ECS "family:revision/task
//	                id", which says at a glance what runs and finds the task in the
//	                console; elsewhere the container's name
//	Labels          POD_LABELS; LABELS_FILE; labels of the ECS container
//	ContainerID     cgroup; mounts; ECS metadata
//	ContainerName   CONTAINER_NAME; ECS metadata; the kubelet's mounts; the hostname
//	ContainerImage  CONTAINER_IMAGE; ECS metadata
//
// As in KubeArmor the node is what runs the containers: on Fargate that is the
// task, the only machine there is to be seen.
package identity

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// noNamespace is KubeArmor's namespace off Kubernetes.
const noNamespace = "container_namespace"

// MetadataVariable is where ECS says how to reach the task metadata.
const MetadataVariable = "ECS_CONTAINER_METADATA_URI_V4"

// Options says where to look.
type Options struct {
	Environ   []string          // "NAME=value"; of several the first counts
	Root      fs.FS             // the root directory; nil is the real one
	Logger    *slog.Logger      // nil is silent
	Transport http.RoundTripper // for the ECS metadata; nil is the package's own
}

// Identity is who this container is, as far as is known. Its readers never wait.
type Identity struct {
	current  atomic.Pointer[snapshot]
	metadata *metadata // nil without ECS
	files    files

	mu    sync.Mutex
	facts *facts
}

// snapshot never changes.
type snapshot struct {
	origin schema.Origin
	target spolicy.Target
}

// Discover reads the environment and the files, which is quick.
func Discover(o Options) *Identity {
	if o.Root == nil {
		o.Root = os.DirFS("/")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	i := &Identity{files: files{root: o.Root, logger: o.Logger}}
	i.facts = gather(o.Environ, i.files)
	if uri := i.facts.env[MetadataVariable]; uri != "" {
		i.metadata, i.facts.awaitsECS = newMetadata(uri, o), true
	}
	i.current.Store(i.facts.resolve())
	return i
}

// Run finds out what Discover could not: it asks for the ECS task metadata, and
// reads the labels file where that was not there yet, until it has both or ctx
// ends. It hands on the target after each thing that it learns, one at a time. It
// is called once.
func (i *Identity) Run(ctx context.Context, learned func(spolicy.Target)) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	if i.metadata != nil {
		waiting.Go(func() {
			i.metadata.follow(ctx, func(t task) {
				i.learn(learned, func(f *facts) {
					f.task = t
					f.awaitsECS = !t.Container.known()
				})
			})
		})
	}
	if i.facts.awaitsLabels {
		waiting.Go(func() { i.followLabels(ctx, learned) })
	}
}

func (i *Identity) learn(learned func(spolicy.Target), change func(*facts)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i.facts)
	s := i.facts.resolve()
	i.current.Store(s)
	learned(s.target)
}

// followLabels reads the labels file once it can be read. It is not read again
// after that: what a workload can write must not change which rules it is under.
func (i *Identity) followLabels(ctx context.Context, learned func(spolicy.Target)) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if text, err := i.files.named(i.facts.env["LABELS_FILE"]); err == nil {
			i.learn(learned, func(f *facts) { f.labels, f.awaitsLabels = parseLabelsFile(text), false })
			return
		}
	}
}

// Origin is what is known now. Its Owner is shared and must not be changed.
func (i *Identity) Origin() schema.Origin { return i.current.Load().origin }

// Target is what policies select by, as known now. Its labels are shared. The
// namespace is empty off Kubernetes, where policies cannot select by it.
func (i *Identity) Target() spolicy.Target { return i.current.Load().target }

// facts is all that was found, before one value for each field is chosen.
type facts struct {
	env              map[string]string
	hostname         string
	namespace        string // of the service account file
	kubernetes       bool
	labels           map[string]string // of the environment or the labels file
	containerID      string
	kubeletContainer string
	task             task
	awaitsECS        bool // the metadata have not told this container yet
	awaitsLabels     bool // the labels file could not be read yet
}

func gather(environ []string, files files) *facts {
	f := &facts{env: map[string]string{}}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if _, dup := f.env[name]; !dup {
			f.env[name] = clip(strings.TrimSpace(value), maxEnv)
		}
	}
	f.hostname = files.line("proc/sys/kernel/hostname")
	f.namespace = files.line("var/run/secrets/kubernetes.io/serviceaccount/namespace")
	f.kubernetes = f.namespace != "" || f.env["KUBERNETES_SERVICE_HOST"] != ""
	f.labels = parseLabels(f.env["POD_LABELS"])
	if path := f.env["LABELS_FILE"]; f.labels == nil && path != "" {
		text, err := files.named(path)
		if err != nil {
			files.logger.Warn("the labels file cannot be read yet", "error", err)
		}
		f.labels, f.awaitsLabels = parseLabelsFile(text), err != nil
	}
	f.containerID, f.kubeletContainer = container(files.text("proc/self/cgroup"), files.text("proc/self/mountinfo"))
	return f
}

// resolve chooses.
func (f *facts) resolve() *snapshot {
	t := &f.task
	labels := f.labels
	if labels == nil {
		labels = t.Container.Labels
	}
	namespace := first(f.env["POD_NAMESPACE"], f.env["NAMESPACE"], f.namespace)
	name := first(f.env["CONTAINER_NAME"], t.Container.Name, f.kubeletContainer, f.hostname)
	pod := first(f.env["POD_NAME"], f.kubernetesPod(), t.podName(), name)
	o := schema.Origin{
		ClusterName:    first(f.env["CLUSTER_NAME"], t.clusterName()),
		HostName:       first(f.env["NODE_NAME"], t.id(), f.hostname),
		NodeID:         first(f.env["NODE_NAME"], t.TaskARN, f.hostname),
		NamespaceName:  first(namespace, noNamespace),
		PodName:        pod,
		Labels:         formatLabels(labels),
		ContainerID:    first(f.containerID, t.Container.DockerID),
		ContainerName:  name,
		ContainerImage: first(f.env["CONTAINER_IMAGE"], t.Container.Image),
	}
	o.Owner = f.owner(pod, labels)
	if o.Owner != nil {
		o.Owner.Namespace = o.NamespaceName
	}
	target := spolicy.Target{Namespace: namespace, Pod: pod, Container: name, Labels: labels, From: f.sources()}
	if f.awaitsECS && f.env["CONTAINER_NAME"] == "" {
		target.Pending |= spolicy.FactContainer
	}
	if f.awaitsLabels || f.awaitsECS && f.labels == nil {
		target.Pending |= spolicy.FactLabels
	}
	return &snapshot{origin: o, target: target}
}

// kubernetesPod relies on that a pod's hostname is its name unless the pod says
// otherwise.
func (f *facts) kubernetesPod() string {
	if f.kubernetes {
		return f.hostname
	}
	return ""
}

func (f *facts) owner(pod string, labels map[string]string) *schema.Owner {
	if name := f.env["OWNER_NAME"]; name != "" {
		return &schema.Owner{Ref: first(f.env["OWNER_KIND"], "Deployment"), Name: name}
	}
	if owner := f.task.owner(); owner != nil {
		return owner
	}
	// A pod of a Deployment is called <deployment>-<pod-template-hash>-<random>.
	if hash := labels["pod-template-hash"]; hash != "" {
		if name, _, ok := strings.Cut(pod, "-"+hash+"-"); ok && name != "" {
			return &schema.Owner{Ref: "Deployment", Name: name}
		}
	}
	return nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
