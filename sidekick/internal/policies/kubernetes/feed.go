package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

const (
	listTimeout = 30 * time.Second
	// watchGrace is added to the time after which the server ends a watch: one that
	// it does not end is given up.
	watchGrace = 30 * time.Second

	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	// askAgain is the retry of what the server refuses, or does not know: a fleet asks.
	askAgain = 10 * time.Second
	// refusals is how often in a row the server must refuse what is not needed, until
	// it is done without.
	refusals = 6
	// absence is how long the server must say that it does not know of a resource
	// until what it had of it is forgotten: a server that has just started may not
	// know yet.
	absence = 30 * time.Second
)

// feed keeps the objects of one resource as the cluster has them. It is the store that
// client-go's Reflector fills: that lists and watches, and does both anew when a watch
// ends or is too old. While the server cannot be asked, what was last known stays.
type feed struct {
	what     string // for people
	resource dynamic.ResourceInterface
	name     string // of the only object that is wanted; "" for all
	optional bool   // it is done without where it is forbidden
	log      *slog.Logger
	changed  func()

	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by name
	known    bool
	failures int       // since something was heard
	said     string    // the failure that the log was told
	absent   time.Time // since when the server does not know of the resource
}

// all gives the objects, in no order. They are not to be changed.
func (f *feed) all() []*unstructured.Unstructured {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*unstructured.Unstructured, 0, len(f.objects))
	for _, o := range f.objects {
		all = append(all, o)
	}
	return all
}

// isKnown says whether the server has told of the resource once.
func (f *feed) isKnown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// run follows the resource until ctx ends.
func (f *feed) run(ctx context.Context) {
	reflector := cache.NewReflectorWithOptions(f.listWatch(), &unstructured.Unstructured{}, f, cache.ReflectorOptions{Name: f.what, TypeDescription: f.what})
	for {
		err := reflector.ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case <-time.After(f.ended(err)):
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) listWatch() *cache.ListWatch {
	narrow := func(o *metav1.ListOptions) {
		if f.name != "" {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, f.name).String()
		}
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			return f.resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			ctx, cancel := context.WithTimeout(ctx, time.Duration(*o.TimeoutSeconds)*time.Second+watchGrace)
			w, err := f.resource.Watch(ctx, o)
			if err != nil {
				cancel()
				return nil, ours(err)
			}
			return bounded{w, cancel}, nil
		},
	}
}

// bounded ends a watch's time with it.
type bounded struct {
	watch.Interface
	cancel context.CancelFunc
}

// Stop implements watch.Interface.
func (b bounded) Stop() {
	b.Interface.Stop()
	b.cancel()
}

// ours hides from the Reflector what it would try again itself, up to a minute later.
func ours(err error) error {
	if utilnet.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err) {
		return errors.New(err.Error())
	}
	return err
}

// ended says when to try again after err, nil for what ends in the course of things.
func (f *feed) ended(err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait := min(firstRetry<<min(f.failures, 10), lastRetry)
	defer func() { f.failures++ }()
	switch {
	case err == nil:
	case apierrors.IsNotFound(err):
		wait = f.unknown()
	case apierrors.IsForbidden(err) && f.optional:
		wait = min(firstRetry<<min(f.failures, 10), askAgain)
		// A server that has just started may not know yet who may what.
		if f.failures < refusals {
			break
		}
		f.say("the service account must not read what policies depend on: it is done without, or with what was known", err)
		if !f.known {
			f.nothing()
		}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		wait = min(firstRetry<<min(f.failures, 10), askAgain)
		f.say("the service account must not read policies: what was known of them stays in force", err)
	default:
		f.say("the API server cannot be asked: what was known stays in force", err)
	}
	return wait/2 + rand.N(wait/2)
}

// unknown handles that the server does not know of the resource. f.mu is held.
func (f *feed) unknown() time.Duration {
	if f.absent.IsZero() {
		f.absent = time.Now()
	}
	if !f.known || time.Since(f.absent) >= absence {
		f.say("the cluster does not know this kind of policy: KubeArmor's definition (CRD) is not installed", nil)
		f.nothing()
	}
	return askAgain
}

// nothing takes it that there are no objects. f.mu is held.
func (f *feed) nothing() {
	if f.known && len(f.objects) == 0 {
		return
	}
	f.known, f.objects = true, nil
	f.changed()
}

// say tells the log once. f.mu is held.
func (f *feed) say(what string, err error) {
	why := ""
	if err != nil {
		why = strings.TrimPrefix(err.Error(), fmt.Sprintf("failed to list %s: ", f.what))
	}
	if what == f.said {
		f.log.Debug("policies of the cluster are still not followed", "of", f.what, "why", what, "error", why)
		return
	}
	f.said = what
	f.log.Warn("policies of the cluster are not followed", "of", f.what, "why", what, "error", why)
}

// heard notes that the server answers. f.mu is held.
func (f *feed) heard() {
	if f.said != "" {
		f.log.Info("policies of the cluster are followed again", "of", f.what)
	}
	f.said, f.failures, f.absent, f.known = "", 0, time.Time{}, true
	f.changed()
}

// Replace implements cache.ReflectorStore.
func (f *feed) Replace(items []any, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects = make(map[string]*unstructured.Unstructured, len(items))
	for _, item := range items {
		f.put(item)
	}
	f.heard()
	return nil
}

// Add implements cache.ReflectorStore.
func (f *feed) Add(item any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(item)
	f.heard()
	return nil
}

// Update implements cache.ReflectorStore.
func (f *feed) Update(item any) error { return f.Add(item) }

// Delete implements cache.ReflectorStore.
func (f *feed) Delete(item any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o, ok := item.(*unstructured.Unstructured); ok {
		delete(f.objects, o.GetName())
	}
	f.heard()
	return nil
}

// Resync implements cache.ReflectorStore.
func (f *feed) Resync() error { return nil }

// put keeps an object. f.mu is held.
func (f *feed) put(item any) {
	if o, ok := item.(*unstructured.Unstructured); ok {
		f.objects[o.GetName()] = o
	}
}
