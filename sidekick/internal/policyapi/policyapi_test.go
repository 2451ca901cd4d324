package policyapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// served is a sidekick's policies, behind its table of routes.
type served struct {
	*httptest.Server
	t   *testing.T
	hub *policies.Hub
	dir string
}

func bearer(token string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
}

// serve serves what is in a directory of files, and what is sent.
func serve(t *testing.T, change ...func(*Options)) *served {
	t.Helper()
	s := &served{t: t, dir: t.TempDir()}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	own, err := policies.OpenPushed("http", filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	s.hub = policies.New(policies.Options{Sources: []policies.Source{policies.NewDirectory(s.dir, log), own}, Log: log})
	o := Options{Hub: s.hub, Own: own, Open: true, Log: log, Keys: func() []policystream.Key { return []policystream.Key{policystream.KeyOf("post")} }}
	for _, c := range change {
		c(&o)
	}
	table, err := api.New(api.Options{
		Routes: New(o).Routes(), Tokens: api.Tokens{Admin: bearer("admin"), Post: bearer("post")},
		Streams: 10, Metrics: prometheus.NewRegistry(), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.hub.Run(ctx) })
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = table.Server(table.Handler(api.Door{}))
	s.Start()
	t.Cleanup(func() {
		_ = s.Config.Shutdown(context.Background())
		s.Close()
		cancel()
		running.Wait()
	})
	for generation := uint64(0); ; { // until all sources have said what they have
		snapshot, err := s.hub.Next(t.Context(), generation)
		if err != nil {
			t.Fatal(err)
		}
		if generation = snapshot.Generation; !snapshot.Sources[0].Pending && !snapshot.Sources[1].Pending {
			return s
		}
	}
}

// do sends a request as an admin; headers are "Name: value".
func (s *served) do(method, path, body string, headers ...string) (status int, text string, header http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(all), response.Header
}

// want does a request and checks its status, and what the answer has.
func (s *served) want(status int, has, method, path, body string, headers ...string) http.Header {
	s.t.Helper()
	got, text, header := s.do(method, path, body, headers...)
	if got != status || !strings.Contains(text, has) {
		s.t.Errorf("%s %s: %d %s, want %d with %q", method, path, got, text, status, has)
	}
	return header
}

// have checks which policies there are: "name" or "namespace/name", with "?" where it
// only watches.
func (s *served) have(want ...string) {
	s.t.Helper()
	got := []string{}
	for _, source := range s.hub.Snapshot().Sources {
		for i := range source.Policies {
			got = append(got, strings.Replace(policies.KeyOf(&source.Policies[i].Document).String(), " (watching)", "?", 1))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("there are %v, want %v", got, want)
	}
}

func policy(name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\nspec:\n  file:\n    matchPaths:\n    - path: %s\n", name, path)
}

func in(namespace, text string) string {
	return strings.Replace(text, "metadata:\n", "metadata:\n  namespace: "+namespace+"\n", 1)
}

func TestPutGetDelete(t *testing.T) {
	s := serve(t)
	header := s.want(201, `"name":"a"`, "PUT", "/policies/KubeArmorPolicy/a", policy("a", "/1"))
	s.have("a")
	tag := header.Get("ETag")
	if got := s.want(200, "path: /1", "GET", "/policies/ksp/a", ""); got.Get("ETag") != tag || got.Get("Content-Type") != "application/yaml" {
		t.Errorf("headers %v, want the tag %s", got, tag)
	}
	s.want(304, "", "GET", "/policies/ksp/a", "", "If-None-Match: "+tag)
	s.want(200, "", "PUT", "/policies/kubearmorpolicies/a", policy("a", "/2"))
	s.want(200, "path: /2", "GET", "/policies/ksp/a", "", "If-None-Match: "+tag)
	s.want(200, `"name":"a"`, "DELETE", "/policies/ksp/a", "")
	s.have()
	s.want(404, "there is no KubeArmorPolicy a", "DELETE", "/policies/ksp/a", "")
	s.want(404, "there is no KubeArmorPolicy a", "GET", "/policies/ksp/a", "")
	s.want(404, "no kind Pod", "GET", "/policies/Pod/a", "")
}

func TestPutJSON(t *testing.T) {
	s := serve(t)
	s.want(201, "", "PUT", "/policies/csp/a", `{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorClusterPolicy","metadata":{"name":"a"},"spec":{"file":{"matchPaths":[{"path":"/1"}]}}}`)
	if got := s.want(200, `"path":"/1"`, "GET", "/policies/csp/a", ""); got.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", got)
	}
}

func TestPutSeveral(t *testing.T) {
	s := serve(t)
	s.want(201, "", "PUT", "/policies", policy("a", "/1")+"---\n"+policy("b", "/1"))
	s.have("a", "b")
	s.want(422, `"line":17`, "PUT", "/policies", policy("c", "/1")+"---\n"+policy("d", "relative"))
	s.want(422, "is there twice", "PUT", "/policies", policy("c", "/1")+"---\n"+policy("c", "/2"))
	s.want(422, "there are 2 policies", "PUT", "/policies/ksp/c", policy("c", "/1")+"---\n"+policy("d", "/1"))
	s.want(422, "no policy in the body", "PUT", "/policies", "# nothing\n")
	s.have("a", "b")
	s.want(200, "", "DELETE", "/policies", "")
	s.have()
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	s := serve(t)
	s.want(201, "", "PUT", "/policies/ksp/a", policy("a", "/1"))
	s.want(422, `{"line":8,"field":"spec.file.matchPaths[0].path","message":"path \"relative\"`, "PUT", "/policies/ksp/a", policy("a", "relative"))
	s.want(422, "not YAML", "PUT", "/policies/ksp/a", "{")
	s.want(422, "the path names ksp a", "PUT", "/policies/ksp/a", policy("b", "/1"))
	s.want(422, "the path names csp a", "PUT", "/policies/csp/a", policy("a", "/1"))
	s.want(422, "namespace", "PUT", "/policies/ksp/a?namespace=x", policy("a", "/1"))
	s.want(400, "mode", "PUT", "/policies/ksp/a?mode=try", policy("a", "/1"))
	s.want(413, "", "PUT", "/policies/ksp/a", "#"+strings.Repeat("x", 5<<20))
	s.have("a")
	s.want(200, "path: /1", "GET", "/policies/ksp/a", "")
}

func TestDryRun(t *testing.T) {
	s := serve(t)
	s.want(200, `"dry_run":true`, "PUT", "/policies/ksp/a?dryRun", policy("a", "/1"))
	s.want(422, `"line":8`, "PUT", "/policies/ksp/a?dryRun=All", policy("a", "x"))
	s.have()
	s.want(201, "", "PUT", "/policies/ksp/a?dryRun=false", policy("a", "/1"))
	s.want(200, `"dry_run":true`, "DELETE", "/policies/ksp/a?dryRun=true", "")
	s.have("a")
}

func TestPreconditions(t *testing.T) {
	s := serve(t)
	s.want(412, "no such policy", "PUT", "/policies/ksp/a", policy("a", "/1"), "If-Match: *")
	tag := s.want(201, "", "PUT", "/policies/ksp/a", policy("a", "/1"), "If-None-Match: *").Get("ETag")
	s.want(412, tag[1:5], "PUT", "/policies/ksp/a", policy("a", "/2"), "If-None-Match: *")
	s.want(412, "", "PUT", "/policies/ksp/a", policy("a", "/2"), `If-Match: "other"`)
	next := s.want(200, "", "PUT", "/policies/ksp/a", policy("a", "/2"), `If-Match: "other", `+tag).Get("ETag")
	if next == tag {
		t.Error("the tag has not changed")
	}
	s.want(412, "", "DELETE", "/policies/ksp/a", "", "If-Match: "+tag)
	s.want(200, "", "DELETE", "/policies/ksp/a", "", "If-Match: "+next)
}

func TestNamespaces(t *testing.T) {
	s := serve(t)
	s.want(201, "", "PUT", "/policies", in("x", policy("a", "/1"))+"---\n"+in("y", policy("a", "/2")))
	s.have("x/a", "y/a")
	s.want(409, "namespace", "GET", "/policies/ksp/a", "")
	s.want(409, "namespace", "DELETE", "/policies/ksp/a", "")
	s.have("x/a", "y/a")
	s.want(200, "path: /2", "GET", "/policies/ksp/a?namespace=y", "")
	s.want(200, "", "DELETE", "/policies/ksp/a?namespace=x", "")
	s.have("y/a")
}

func TestModes(t *testing.T) {
	s := serve(t)
	s.want(201, `"mode":"watch"`, "PUT", "/policies/ksp/a?mode=watch", policy("a", "/1"))
	s.have("a?")
	s.want(201, `"mode":"enforce"`, "PUT", "/policies/ksp/a", policy("a", "/1"))
	s.have("a") // it enforces from now on
	s.want(201, `"mode":"watch"`, "PUT", "/policies/ksp/a?mode=watch", policy("a", "/2"))
	s.have("a", "a?")
	s.want(200, "path: /1", "GET", "/policies/ksp/a", "")
	s.want(200, "path: /2", "GET", "/policies/ksp/a?mode=watch", "")
	s.want(200, "", "DELETE", "/policies/ksp/a?mode=enforce", "")
	s.have("a?")
	s.want(200, "", "DELETE", "/policies/ksp/a", "")
	s.have()
	annotated := strings.Replace(policy("a", "/1"), "metadata:\n", "metadata:\n  annotations: {kubearmor-policy: audited}\n", 1)
	s.want(201, `"mode":"watch"`, "PUT", "/policies/ksp/a", annotated)
	s.want(422, "the annotation", "PUT", "/policies/ksp/a?mode=enforce", annotated)
	s.have("a?")
}

func TestWhoMayWhat(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/policies", "", 401},
		{"GET", "/policies", "post", 403},
		{"GET", "/policies", "admin", 200},
		{"PUT", "/policies/ksp/a", "post", 403},
		{"DELETE", "/policies", "post", 403},
		{"POST", policystream.StatusPath, "", 401},
		{"POST", policystream.StatusPath, "post", 400},
		{"GET", policystream.Path, "", 401},
		{"GET", policystream.ProofPath + "?nonce=" + policystream.NewNonce(), "", 200},
		{"GET", policystream.ProofPath + "?nonce=0", "", 400},
		{"GET", policystream.ProofPath, "", 200},
	} {
		if got, text, _ := s.do(c.method, c.path, "", "Authorization: Bearer "+c.token); got != c.want {
			t.Errorf("%s %s as %q: %d %s, want %d", c.method, c.path, c.token, got, text, c.want)
		}
	}
}

// Where nobody is known to be an admin, the workload could be.
func TestNobodyKnownChangesNothing(t *testing.T) {
	s := serve(t, func(o *Options) { o.Open = false })
	s.want(403, "AUTH_TOKEN_ADMIN", "PUT", "/policies/ksp/a", policy("a", "/1"))
	s.want(403, "AUTH_TOKEN_ADMIN", "DELETE", "/policies", "")
	s.want(200, "dry_run", "PUT", "/policies/ksp/a?dryRun", policy("a", "/1"))
	s.have()
}

func TestProof(t *testing.T) {
	s := serve(t)
	nonce := policystream.NewNonce()
	_, text, _ := s.do("GET", policystream.ProofPath+"?nonce="+nonce, "")
	var a policystream.Answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if !a.By("post", nonce) || a.By("admin", nonce) || a.At != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("%+v", a)
	}
}
