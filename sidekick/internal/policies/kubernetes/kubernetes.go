// Package kubernetes is the source of policies that are objects of a Kubernetes
// cluster: the KubeArmorPolicies of one pod's namespace, the KubeArmorClusterPolicies
// that may concern it, and what is said of both in annotations. It tells in an Event
// what of a policy is not honoured here. It needs no other pod, and changes nothing.
package kubernetes

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"

	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// What is followed.
var (
	policyResource        = schema.GroupVersionResource{Group: "security.kubearmor.com", Version: "v1", Resource: "kubearmorpolicies"}
	clusterPolicyResource = schema.GroupVersionResource{Group: "security.kubearmor.com", Version: "v1", Resource: "kubearmorclusterpolicies"}
	namespaceResource     = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	podResource           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// settle is how long several changes at once, as of `kubectl apply -f DIRECTORY`, may
// take to become one.
const settle = 20 * time.Millisecond

// Options say which cluster, and for which pod.
type Options struct {
	Kubeconfig string // path of a kubeconfig; "" for the service account of this pod
	Namespace  string // of the pod; "" for the service account's, or the kubeconfig's
	Pod        string // name of the pod; "" where nobody knows: then its labels are not known either
	Log        *slog.Logger
}

// Source implements policies.Source.
type Source struct {
	client    dynamic.Interface
	namespace string
	pod       string
	log       *slog.Logger
	changed   chan struct{} // has room for one

	policies, clusterPolicies, namespaces, pods *feed
}

// New makes a source. It does not use the network yet: its errors are about what
// Options name.
func New(o Options) (*Source, error) {
	config, namespace, err := load(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if o.Namespace == "" {
		o.Namespace = namespace
	}
	client, err := connect(config)
	if err != nil {
		return nil, err
	}
	s := &Source{client: client, namespace: o.Namespace, pod: o.Pod, log: o.Log, changed: make(chan struct{}, 1)}
	s.policies = s.feed("KubeArmorPolicies of the namespace "+o.Namespace, client.Resource(policyResource).Namespace(o.Namespace), "")
	s.clusterPolicies = s.feed("KubeArmorClusterPolicies", client.Resource(clusterPolicyResource), "")
	s.namespaces = s.feed("annotations of the namespace "+o.Namespace, client.Resource(namespaceResource), o.Namespace)
	s.namespaces.optional = true
	if o.Pod != "" {
		s.pods = s.feed("labels and annotations of the pod "+o.Pod, client.Resource(podResource).Namespace(o.Namespace), o.Pod)
		s.pods.optional = true
	}
	return s, nil
}

func (s *Source) feed(what string, resource dynamic.ResourceInterface, name string) *feed {
	return &feed{what: what, resource: resource, name: name, log: s.log, changed: s.wake}
}

// wake has Run look at the feeds.
func (s *Source) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Name implements policies.Source.
func (s *Source) Name() string { return "kubernetes" }

// Run implements policies.Source.
func (s *Source) Run(ctx context.Context, report policies.Report) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(quiet{s.log.Handler()})))
	defer cancel()
	for _, f := range s.feeds() {
		running.Go(func() { f.run(ctx) })
	}
	events := newRecorder(s.client, s.pod, s.log)
	running.Go(func() { events.run(ctx) })
	for {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return
		}
		if !s.known() {
			continue
		}
		state, objects := s.state()
		events.about(objects, report(state))
	}
}

func (s *Source) feeds() []*feed {
	all := []*feed{s.policies, s.clusterPolicies, s.namespaces}
	if s.pods != nil {
		all = append(all, s.pods)
	}
	return all
}

// known says whether everything was heard of once.
func (s *Source) known() bool {
	return !slices.ContainsFunc(s.feeds(), func(f *feed) bool { return !f.isKnown() })
}

// state is what the cluster says now, and the object of each text.
func (s *Source) state() (policies.State, []*unstructured.Unstructured) {
	state := policies.State{Namespaces: map[string]policy.Settings{}, Pods: map[string]policy.Settings{}}
	for _, n := range s.namespaces.all() {
		state.Namespaces[n.GetName()] = s.settings(n)
	}
	// The container's name is the tracer's to know.
	target := policy.Target{Namespace: s.namespace, Pending: policy.FactContainer | policy.FactLabels}
	if s.pods != nil {
		for _, p := range s.pods.all() {
			said := s.settings(p)
			if said.Labels = p.GetLabels(); said.Labels == nil {
				said.Labels = map[string]string{} // it has none: that is said as well
			}
			state.Pods[s.namespace+"/"+p.GetName()] = said
			target.Labels, target.Pending = p.GetLabels(), policy.FactContainer
		}
	}
	objects := slices.Concat(s.policies.all(), s.clusterPolicies.all())
	slices.SortStableFunc(objects, older)
	concerned := objects[:0]
	for _, o := range objects {
		text := policies.Text{Place: place(o), Body: body(o)}
		if !concerns(text, target) {
			s.log.Debug("a policy does not select this pod", "policy", text.Place)
			continue
		}
		state.Texts = append(state.Texts, text)
		concerned = append(concerned, o)
	}
	return state, concerned
}

// older gives the order of policies: KubeArmor's is that in which it hears of them.
func older(a, b *unstructured.Unstructured) int {
	x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if c := x.Compare(y.Time); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(a.GetKind(), b.GetKind()), strings.Compare(a.GetName(), b.GetName()))
}

// concerns says whether a text may be about a pod: what is wrong with it is the hub's
// to say.
func concerns(text policies.Text, pod policy.Target) bool {
	docs, err := policies.Read(text, false)
	if err != nil || len(docs) == 0 {
		return true
	}
	return slices.ContainsFunc(docs, func(p policies.Policy) bool { return len(p.Misses(pod)) == 0 })
}
