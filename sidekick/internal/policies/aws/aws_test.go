package aws

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies/policiestest"
)

// way counts what is asked on the way to the emulator, and can be shut.
type way struct {
	url                string
	shut               atomic.Bool
	asked, notModified atomic.Int64
}

func newWay(t *testing.T, base string) *way {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	w := &way{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode == http.StatusNotModified {
			w.notModified.Add(1)
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if w.shut.Load() {
			http.Error(rw, "", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func follow(t *testing.T, source func(*slog.Logger) *Source) *policiestest.Following {
	t.Helper()
	return policiestest.Follow(t, func(log *slog.Logger) policies.Source { return source(log) })
}

// block is a policy that blocks a file.
func block(name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\nspec:\n  file:\n    matchPaths:\n    - path: %s\n", name, path)
}

const interval = 20 * time.Millisecond

func TestAWS(t *testing.T) {
	base := outputtest.Moto(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *way)
	}{
		{"one parameter", testParameter},
		{"all parameters below a path", testParameterPath},
		{"one object", testObject},
		{"all objects with a prefix", testObjects},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newWay(t, base)) })
	}
}

// parameters is a user of Systems Manager.
type parameters struct {
	*testing.T
	client *ssm.Client
}

func (p parameters) put(name, value string) {
	p.Helper()
	_, err := p.client.PutParameter(p.Context(), &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssmtypes.ParameterTypeSecureString, Overwrite: sdk.Bool(true)})
	if err != nil {
		p.Fatal(err)
	}
}

func (p parameters) remove(name string) {
	p.Helper()
	if _, err := p.client.DeleteParameter(p.Context(), &ssm.DeleteParameterInput{Name: &name}); err != nil {
		p.Fatal(err)
	}
}

func testParameter(t *testing.T, w *way) {
	config := outputtest.AWSConfig(w.url)
	user := parameters{t, ssm.NewFromConfig(config)}
	f := follow(t, func(log *slog.Logger) *Source { return Parameters(config, "/one/policies", interval, log) })
	f.Says("it does not exist")
	if f.Shown() != "pending" {
		t.Errorf("%q is known of a parameter that does not exist", f.Shown())
	}
	user.put("/one/policies", block("a", "/a"))
	f.Becomes("a=/a")
	user.put("/one/policies", block("a", "/b")+"---\n"+block("c", "/c"))
	f.Becomes("a=/b c=/c")
	user.put("/one/policies", "nonsense: [")
	f.Says("policies are wrong")
	w.shut.Store(true)
	f.Says("SSM GetParameter")
	f.Becomes("a=/b c=/c")
	w.shut.Store(false)
	user.put("/one/policies", block("d", "/d"))
	f.Becomes("d=/d")
	f.Says("followed again")
	user.remove("/one/policies")
	f.Becomes("")
}

func testParameterPath(t *testing.T, w *way) {
	config := outputtest.AWSConfig(w.url)
	user := parameters{t, ssm.NewFromConfig(config)}
	f := follow(t, func(log *slog.Logger) *Source { return Parameters(config, "/many/", interval, log) })
	f.Becomes("")
	var want []string
	for i := range 12 { // more than a page
		name := fmt.Sprintf("p%02d", i)
		user.put("/many/team/"+name, block(name, "/"+name))
		want = append(want, name+"=/"+name)
	}
	f.Becomes(strings.Join(want, " "))
	user.remove("/many/team/p03")
	f.Becomes(strings.Join(slices.Delete(slices.Clone(want), 3, 4), " "))
}

// bucket is a user of a bucket of its own.
type bucket struct {
	*testing.T
	client *s3.Client
	name   string
}

func newBucket(t *testing.T, config sdk.Config, name string) bucket {
	t.Helper()
	b := bucket{t, s3.NewFromConfig(config), name}
	_, err := b.client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraintEuCentral1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bucket) put(key, body string) {
	b.Helper()
	if _, err := b.client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: strings.NewReader(body)}); err != nil {
		b.Fatal(err)
	}
}

func (b bucket) remove(key string) {
	b.Helper()
	if _, err := b.client.DeleteObject(b.Context(), &s3.DeleteObjectInput{Bucket: &b.name, Key: &key}); err != nil {
		b.Fatal(err)
	}
}

func testObject(t *testing.T, w *way) {
	config := outputtest.AWSConfig(w.url)
	user := newBucket(t, config, "one")
	f := follow(t, func(log *slog.Logger) *Source { return Objects(config, "one", "fleet/policies.yaml", interval, log) })
	f.Says("it does not exist")
	user.put("fleet/policies.yaml", block("a", "/a"))
	f.Becomes("a=/a")
	before := w.notModified.Load()
	f.Until(func() string {
		if w.notModified.Load() > before+2 {
			return ""
		}
		return "what has not changed is read again and again"
	})
	user.put("fleet/policies.yaml", block("a", "/b"))
	f.Becomes("a=/b")
	user.put("fleet/policies.yaml", strings.Repeat("#", maxObject+1))
	f.Says("has more than")
	f.Becomes("a=/b")
	user.remove("fleet/policies.yaml")
	f.Becomes("")
}

func testObjects(t *testing.T, w *way) {
	config := outputtest.AWSConfig(w.url)
	user := newBucket(t, config, "many")
	f := follow(t, func(log *slog.Logger) *Source { return Objects(config, "many", "fleet/", interval, log) })
	f.Becomes("")
	user.put("fleet/a.yaml", block("a", "/a"))
	user.put("fleet/b.json", `{"apiVersion":"security.kubearmor.com/v1","kind":"KubeArmorPolicy","metadata":{"name":"b"},"spec":{"file":{"matchPaths":[{"path":"/b"}]}}}`)
	user.put("fleet/README.md", "for people")
	user.put("other/c.yaml", block("c", "/c"))
	f.Becomes("a=/a b=/b")
	user.put("fleet/a.yaml", block("a", "/c"))
	f.Becomes("a=/c b=/b")
	user.remove("fleet/b.json")
	f.Becomes("a=/c")
}

func TestParseObject(t *testing.T) {
	for address, want := range map[string]string{
		"s3://b/k": "b k", "s3://b/a/k.yaml": "b a/k.yaml", "s3://b/a/": "b a/", "s3://b/": "b ",
		"s3://b": "error", "b/k": "error", "s3:///k": "error", "https://b/k": "error", "": "error",
	} {
		bucket, key, err := ParseObject(address)
		got := bucket + " " + key
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
