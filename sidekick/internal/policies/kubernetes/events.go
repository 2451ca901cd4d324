package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// Reasons of Events.
const (
	reasonWrong = "PolicyNotUnderstood"    // an earlier version of it stays in force, if there was one
	reasonLess  = "PolicyNotFullyEnforced" // a part of it is valid and not enforced
	reasonDoubt = "PolicyMayMeanOtherwise" // a part of it was passed over or put right
	component   = "sidearmor-sidekick"     // who reports
	maxMessage  = 1000                     // Kubernetes takes 1024 bytes
	postTimeout = 10 * time.Second
	postRetry   = 5 * time.Second
	postTries   = 5
)

var eventResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}

// recorder tells of policies in Events. The name of an Event follows from what it
// says: of all sidekicks that say the same of a policy one is heard.
type recorder struct {
	client dynamic.Interface
	pod    string
	log    *slog.Logger
	more   chan struct{}

	mu     sync.Mutex
	posted map[string]bool // by name: what is so, and was posted or will be
	queue  []*unstructured.Unstructured
}

func newRecorder(client dynamic.Interface, pod string, log *slog.Logger) *recorder {
	return &recorder{client: client, pod: pod, log: log, more: make(chan struct{}, 1), posted: map[string]bool{}}
}

// about tells of what became of the policies of objects.
func (r *recorder) about(objects []*unstructured.Unstructured, outcomes []policies.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := map[string]bool{}
	for i, outcome := range outcomes {
		for reason, message := range said(outcome) {
			e := r.event(objects[i], reason, message)
			now[e.GetName()] = true
			if !r.posted[e.GetName()] {
				r.queue = append(r.queue, e)
			}
		}
	}
	r.posted = now
	if len(r.queue) > 0 {
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

// said gives for each reason what there is to say.
func said(o policies.Outcome) map[string]string {
	if o.Err != nil {
		return map[string]string{reasonWrong: o.Err.Error()}
	}
	all := map[string][]string{}
	for _, p := range o.Policies {
		all[reasonDoubt] = append(all[reasonDoubt], p.Warnings...)
		for _, n := range p.Notes {
			all[reasonLess] = append(all[reasonLess], n.Section+": "+n.Why)
		}
	}
	joined := map[string]string{}
	for reason, lines := range all {
		if len(lines) > 0 {
			joined[reason] = strings.Join(lines, "\n")
		}
	}
	return joined
}

func (r *recorder) event(o *unstructured.Unstructured, reason, message string) *unstructured.Unstructured {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	// Events about what has no namespace are in this one.
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	sum := sha256.Sum256([]byte(string(o.GetUID()) + "\x00" + reason + "\x00" + message))
	name := o.GetName()[:min(len(o.GetName()), 200)] + "." + hex.EncodeToString(sum[:8])
	now := time.Now().UTC().Format(time.RFC3339)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"involvedObject": map[string]any{
			"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "name": o.GetName(), "namespace": o.GetNamespace(),
			"uid": string(o.GetUID()), "resourceVersion": o.GetResourceVersion(),
		},
		"reason": reason, "message": message, "type": "Warning", "count": int64(1),
		"firstTimestamp": now, "lastTimestamp": now,
		"source": map[string]any{"component": component, "host": r.pod},
	}}
}

// run posts Events until ctx ends.
func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-r.more:
		case <-ctx.Done():
			return
		}
		for e := r.next(); e != nil; e = r.next() {
			r.post(ctx, e)
		}
	}
}

func (r *recorder) next() *unstructured.Unstructured {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return nil
	}
	e := r.queue[0]
	r.queue = r.queue[1:]
	return e
}

// post creates an Event. What cannot be told there is in the log anyway.
func (r *recorder) post(ctx context.Context, e *unstructured.Unstructured) {
	var err error
	for range postTries {
		bounded, cancel := context.WithTimeout(ctx, postTimeout)
		_, err = r.client.Resource(eventResource).Namespace(e.GetNamespace()).Create(bounded, e, metav1.CreateOptions{})
		cancel()
		if err == nil || ctx.Err() != nil || apierrors.IsAlreadyExists(err) {
			return
		}
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err) {
			break
		}
		select {
		case <-time.After(postRetry):
		case <-ctx.Done():
			return
		}
	}
	r.log.Warn("an Event about a policy was not made", "event", e.GetName(), "namespace", e.GetNamespace(), "error", err)
}
