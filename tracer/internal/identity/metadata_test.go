package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/schema"
	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

const (
	containerJSON = `{"DockerId":"cd189a933e5849daa93386466019ab50-2495160603","Name":"web","DockerName":"web","Image":"111122223333.dkr.ecr.us-west-2.amazonaws.com/web:1.2",
"Labels":{"com.amazonaws.ecs.cluster":"arn:aws:ecs:us-west-2:111122223333:cluster/prod","tier":"front"},"Limits":{"CPU":2},"Networks":[{"NetworkMode":"awsvpc"}]}`
	taskJSON = `{"Cluster":"arn:aws:ecs:us-west-2:111122223333:cluster/prod","TaskARN":"arn:aws:ecs:us-west-2:111122223333:task/prod/cd189a933e5849daa93386466019ab50",
"Family":"web","Revision":"7","ServiceName":"web-svc","DesiredStatus":"RUNNING","Containers":[],"LaunchType":"FARGATE"}`
	taskID = "cd189a933e5849daa93386466019ab50"
)

// endpoint serves the metadata under /v4/x, by turns as the handlers say; the
// last one serves on.
func endpoint(t *testing.T, container, task []http.HandlerFunc) string {
	t.Helper()
	inTurn := func(handlers []http.HandlerFunc) http.HandlerFunc {
		var n atomic.Int64
		return func(w http.ResponseWriter, r *http.Request) {
			handlers[min(int(n.Add(1)), len(handlers))-1](w, r)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v4/x", inTurn(container))
	mux.HandleFunc("/v4/x/task", inTurn(task))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/v4/x"
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func huge(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, `{"Name":"`)
	for chunk := strings.Repeat("x", 64<<10); r.Context().Err() == nil; {
		if _, err := fmt.Fprint(w, chunk); err != nil {
			return
		}
	}
}

func drop(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func ecsOrigin() schema.Origin {
	return schema.Origin{
		ClusterName: "prod", HostName: taskID, NodeID: "arn:aws:ecs:us-west-2:111122223333:task/prod/" + taskID,
		NamespaceName: "container_namespace", Owner: &schema.Owner{Ref: "Service", Name: "web-svc", Namespace: "container_namespace"},
		PodName: "web:7/" + taskID, Labels: "tier=front", ContainerID: taskID + "-2495160603",
		ContainerName: "web", ContainerImage: "111122223333.dkr.ecr.us-west-2.amazonaws.com/web:1.2",
	}
}

func TestECS(t *testing.T) {
	good := []http.HandlerFunc{text(containerJSON)}
	goodTask := []http.HandlerFunc{text(taskJSON)}
	for _, c := range []struct {
		name            string
		container, task []http.HandlerFunc
		environ         []string
		change          func(*schema.Origin)
	}{
		{name: "at once", container: good, task: goodTask},
		{name: "failing first", container: []http.HandlerFunc{status(500), status(404), text(containerJSON)}, task: []http.HandlerFunc{status(503), text(taskJSON)}},
		{name: "garbage first", container: []http.HandlerFunc{text("<html>"), text("{}"), text(`{"Name":7}`), text(containerJSON)}, task: []http.HandlerFunc{text(`{"TaskARN":`), text("[]"), text(taskJSON)}},
		{name: "connections dropped first", container: []http.HandlerFunc{drop, text(containerJSON)}, task: []http.HandlerFunc{drop, drop, text(taskJSON)}},
		{name: "endless first", container: []http.HandlerFunc{huge, text(containerJSON)}, task: goodTask},
		{name: "the environment is not overridden", container: good, task: goodTask, environ: []string{"POD_NAME=mine", "CLUSTER_NAME=here", "POD_LABELS=a=b"}, change: func(o *schema.Origin) {
			o.PodName, o.ClusterName, o.Labels = "mine", "here", "a=b"
		}},
		{name: "no service", container: good, task: []http.HandlerFunc{text(strings.Replace(taskJSON, `"ServiceName":"web-svc",`, "", 1))}, change: func(o *schema.Origin) {
			o.Owner = &schema.Owner{Ref: "Task", Name: "web", Namespace: "container_namespace"}
		}},
		{name: "cluster by name", container: good, task: []http.HandlerFunc{text(strings.Replace(taskJSON, "arn:aws:ecs:us-west-2:111122223333:cluster/prod", "prod", 1))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := Discover(Options{Root: root(nil), Environ: append(c.environ, MetadataVariable+"="+endpoint(t, c.container, c.task))})
			i.Run(t.Context(), func(spolicy.Target) {})
			want := ecsOrigin()
			if c.change != nil {
				c.change(&want)
			}
			if diff := cmp.Diff(want, i.Origin()); diff != "" {
				t.Error(diff)
			}
			if c.environ == nil && i.Target().Labels["com.amazonaws.ecs.cluster"] == "" {
				t.Error("policies cannot select by ECS's own labels")
			}
			if i.Target().Namespace != "" {
				t.Error("policies would be compared with a namespace that is none")
			}
		})
	}
}

// What is known is handed out while the rest is still awaited, and readers never
// wait for an endpoint that hangs.
func TestECSHalf(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 10)
	hang := func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}
	i := Discover(Options{
		Root:    root(map[string]string{"proc/sys/kernel/hostname": "host"}),
		Environ: []string{MetadataVariable + "=" + endpoint(t, []http.HandlerFunc{text(containerJSON)}, []http.HandlerFunc{status(500), hang})},
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { i.Run(ctx, func(spolicy.Target) {}) })
	if o := i.Origin(); o.HostName != "host" {
		t.Errorf("before: %+v", o)
	}
	<-asked
	if o := i.Origin(); o.ContainerName != "web" || o.HostName != "host" || o.PodName != "web" {
		t.Errorf("half: %+v", o)
	}
	cancel()
	run.Wait()
}

func TestECSBadAddress(t *testing.T) {
	for _, uri := range []string{"file:///etc/passwd", "not a url", "http://", "::"} {
		i := Discover(Options{Root: root(nil), Environ: []string{MetadataVariable + "=" + uri}})
		i.Run(t.Context(), func(spolicy.Target) {})
		if i.Target().Pending == 0 {
			t.Errorf("%s: what nobody can tell counts as known", uri)
		}
	}
}

func TestECSRedirectIsNotFollowed(t *testing.T) {
	var elsewhere atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	t.Cleanup(s.Close)
	to := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL, http.StatusFound) }
	i := Discover(Options{Root: root(nil), Environ: []string{MetadataVariable + "=" + endpoint(t, []http.HandlerFunc{to, text(containerJSON)}, []http.HandlerFunc{to, text(taskJSON)})}})
	i.Run(t.Context(), func(spolicy.Target) {})
	if elsewhere.Load() {
		t.Error("a redirect was followed")
	}
}
