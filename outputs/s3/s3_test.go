package s3_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/s3"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, "").With(outputtest.Settings{"bucket": "evidence", "prefix": "/sidearmor/", "endpoint": base})
}

func unpack(t testing.TB, body []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Errorf("not gzip: %v", err)
		return nil
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Errorf("not gzip: %v", err)
	}
	return text
}

func TestConformance(t *testing.T) {
	classes := map[int]outputs.Class{}
	for code := 401; code <= 499; code++ { // none of it is about the events
		classes[code] = outputs.Transient
	}
	classes[http.StatusTooManyRequests], classes[http.StatusRequestEntityTooLarge] = outputs.RateLimited, outputs.Permanent
	outputtest.Run(t, outputtest.Spec{
		Kind:     s3.Kind(),
		Settings: settings,
		Classes:  classes,
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, "/evidence/sidearmor/") {
				t.Errorf("%s %s", r.Method, r.URL.Path)
			}
			if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") {
				t.Errorf("authorization %q", r.Header.Get("Authorization"))
			}
			if got := r.Header.Get("X-Amz-Acl"); got != "bucket-owner-full-control" {
				t.Errorf("ACL %q", got)
			}
			if text := unpack(t, body); !bytes.HasSuffix(text, []byte("\n")) {
				t.Errorf("no line end: %.300s", text)
			}
		},
	})
}

// bucket keeps what is put into it.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte // guarded by mu
	header  http.Header       // guarded by mu; of the last request
	answer  string            // an error to answer with: "status code"
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	b.header = r.Header
	var status int
	var code string
	if _, err := fmt.Sscan(b.answer, &status, &code); err == nil {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>because</Message></Error>`, code)
		return
	}
	b.objects[strings.TrimPrefix(r.URL.Path, "/")] = body
}

func start(t *testing.T, change outputtest.Settings) (*bucket, outputs.Output) {
	t.Helper()
	b := &bucket{objects: map[string][]byte{}}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	all := settings(t, srv.URL).With(change)
	return b, outputtest.New(t, s3.Kind(), all)
}

func TestGolden(t *testing.T) {
	b, o := start(t, nil)
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			clear(b.objects)
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			for key, body := range b.objects {
				outputtest.Golden(t, c.Name+".txt", []byte(key+"\n"+string(unpack(t, body))))
			}
			if len(b.objects) != 1 {
				t.Errorf("%d objects", len(b.objects))
			}
		})
	}
}

func TestOCSF(t *testing.T) {
	b, o := start(t, outputtest.Settings{"format": "ocsf"})
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec(), outputtest.Falco()}); err != nil {
		t.Fatal(err)
	}
	for _, body := range b.objects {
		if text := unpack(t, body); bytes.Count(text, []byte(`"class_uid":2004`)) != 2 || bytes.Count(text, []byte("\n")) != 2 {
			t.Errorf("%.300s", text)
		}
	}
}

// TestKeys: the same batch replaces its object, another one never does.
func TestKeys(t *testing.T) {
	b, o := start(t, outputtest.Settings{"prefix": "", "objectcannedacl": "none"})
	one, two := outputtest.Log(), outputtest.Log()
	one.ID, two.ID = "1", "2"
	two.Received = two.Received.Add(time.Hour)
	twin := one
	twin.ID = "3"
	for _, batch := range [][]schema.Event{{one, two}, {one, two}, {one}, {two}, {twin}} {
		if err := o.Deliver(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	var lines []int
	for key, body := range b.objects {
		if !strings.HasPrefix(key, "evidence/2026/03/04/20260304T0") || !strings.HasSuffix(key, ".ndjson.gz") {
			t.Errorf("key %q", key)
		}
		lines = append(lines, bytes.Count(unpack(t, body), []byte("\n")))
	}
	if len(lines) != 4 {
		t.Errorf("%d objects, want 4", len(lines))
	}
	if _, given := b.header["X-Amz-Acl"]; given {
		t.Error("an ACL is given")
	}
}

func TestErrorCodes(t *testing.T) {
	b, o := start(t, nil)
	for answer, want := range map[string]outputs.Class{
		"503 SlowDown":                   outputs.RateLimited,
		"404 NoSuchBucket":               outputs.Transient,
		"403 AccessDenied":               outputs.Transient,
		"403 RequestTimeTooSkewed":       outputs.Transient,
		"400 AccessControlListNotSupp":   outputs.Transient,
		"400 EntityTooLarge":             outputs.Permanent,
		"301 PermanentRedirect":          outputs.Transient,
		"500 InternalError":              outputs.Transient,
		"400 AuthorizationHeaderInvalid": outputs.Transient,
	} {
		b.answer = answer
		err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
		e, ok := errors.AsType[*outputs.Error](err)
		if !ok || e.Class != want {
			t.Errorf("%s: got %v, want %v", answer, err, want)
			continue
		}
		_, code, _ := strings.Cut(answer, " ")
		if diff := cmp.Diff("S3 PutObject: "+code+": because", err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	k := s3.Kind()
	for name, tt := range map[string]struct {
		change outputtest.Settings
		want   string
	}{
		"bucket":    {outputtest.Settings{"bucket": "a b"}, "AWS_S3_BUCKET"},
		"long":      {outputtest.Settings{"bucket": strings.Repeat("a", 256)}, "AWS_S3_BUCKET"},
		"prefix":    {outputtest.Settings{"prefix": strings.Repeat("x", 1000)}, "AWS_S3_PREFIX"},
		"acl":       {outputtest.Settings{"objectcannedacl": "mine"}, "AWS_S3_OBJECTCANNEDACL"},
		"format":    {outputtest.Settings{"format": "xml"}, "AWS_S3_FORMAT"},
		"endpoint":  {outputtest.Settings{"endpoint": "minio:9000/" + outputtest.Canary}, "AWS_S3_ENDPOINT"},
		"no region": {outputtest.Settings{"region": ""}, "AWS_REGION"},
		"no key":    {outputtest.Settings{"secretaccesskey": ""}, "AWS_SECRETACCESSKEY"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, k, settings(t, "http://127.0.0.1:1").With(tt.change), tt.want)
		})
	}
}
