package cloudwatch_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/cloudwatch"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"loggroup": "/sidearmor/test", "logstream": "task-1"})
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind:         cloudwatch.Kind(),
		AnswerCounts: true,
		Settings:     settings,
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = io.WriteString(w, "{}")
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if got := r.Header.Get("X-Amz-Target"); got != "Logs_20140328.PutLogEvents" {
				t.Errorf("operation %q", got)
			}
			if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") {
				t.Errorf("authorization %q", r.Header.Get("Authorization"))
			}
			var req request
			if err := json.Unmarshal(body, &req); err != nil {
				t.Error(err)
			}
			if problem := invalid(req.LogEvents); problem != "" {
				t.Error(problem)
			}
			for _, e := range req.LogEvents {
				if !json.Valid([]byte(e.Message)) {
					t.Errorf("message is not JSON: %.300s", e.Message)
				}
			}
		},
	})
}

func start(t *testing.T) (*stub, outputs.Output) {
	t.Helper()
	s := newStub(t)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, outputtest.New(t, cloudwatch.Kind(), settings(t, srv.URL))
}

func TestGolden(t *testing.T) {
	s, o := start(t)
	s.now = time.Date(2001, 1, 1, 1, 0, 0, 0, time.UTC) // of the Falco event
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Event.Falco == nil {
				s.now = time.Date(2026, 3, 4, 6, 0, 0, 0, time.UTC)
			} else {
				s.now = c.Event.Falco.Time
			}
			s.stored = nil
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			if len(s.stored) != 1 {
				t.Fatalf("%d events are stored", len(s.stored))
			}
			outputtest.GoldenJSON(t, c.Name+".json", []byte(s.stored[0].Message))
			if want := c.Event.Time().UnixMilli(); s.stored[0].Timestamp != want {
				t.Errorf("timestamp %d, want %d", s.stored[0].Timestamp, want)
			}
		})
	}
}

func TestGroupAndStreamAreMade(t *testing.T) {
	s, o := start(t)
	deliver := func(want ...string) {
		t.Helper()
		s.calls = nil
		if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.calls); diff != "" {
			t.Error(diff)
		}
	}
	deliver("PutLogEvents", "CreateLogStream", "CreateLogGroup", "CreateLogStream", "PutLogEvents")
	deliver("PutLogEvents")
	s.streams = map[string]bool{"/sidearmor/test": true}
	deliver("PutLogEvents", "CreateLogStream", "PutLogEvents")
	s.streams = map[string]bool{}
	// Another task was faster with both.
	s.fail["CreateLogGroup"] = "ResourceAlreadyExistsException"
	s.calls = nil
	err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
		t.Errorf("group that cannot be seen yet: %v", err)
	}
	s.streams = map[string]bool{"/sidearmor/test": true, "/sidearmor/test\ntask-1": true}
	s.fail["PutLogEvents"], s.fail["CreateLogStream"] = "ResourceNotFoundException", "ResourceAlreadyExistsException"
	deliver("PutLogEvents", "CreateLogStream", "PutLogEvents")
}

func TestErrorCodes(t *testing.T) {
	s, o := start(t)
	for code, want := range map[string]outputs.Class{
		"ThrottlingException":           outputs.RateLimited,
		"InvalidParameterException":     outputs.Permanent,
		"ServiceUnavailableException":   outputs.Transient,
		"AccessDeniedException":         outputs.Transient,
		"UnrecognizedClientException":   outputs.Transient,
		"ExpiredTokenException":         outputs.Transient,
		"OperationAbortedException":     outputs.Transient,
		"SomethingNewThatIsOurOwnFault": outputs.Permanent,
	} {
		s.fail["PutLogEvents"], s.calls = code, nil
		err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
		e, ok := errors.AsType[*outputs.Error](err)
		if !ok || e.Class != want {
			t.Errorf("%s: got %v, want %v", code, err, want)
			continue
		}
		if got := err.Error(); got != "CloudWatch Logs PutLogEvents: "+code+": because" {
			t.Errorf("%s: text %q", code, got)
		}
		if len(s.calls) != 1 {
			t.Errorf("%s: %d calls, retries are the dispatcher's", code, len(s.calls))
		}
	}
	s.fail["PutLogEvents"] = "DataAlreadyAcceptedException"
	s.streams = map[string]bool{"/sidearmor/test": true, "/sidearmor/test\ntask-1": true}
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil {
		t.Errorf("already accepted: %v", err)
	}
}

// at is a log of the given time and size of its resource.
func at(when time.Time, size int) schema.Event {
	e := outputtest.Log()
	e.Log.UpdatedTime = when.UTC().Format("2006-01-02T15:04:05.000000Z")
	e.Log.Timestamp = when.Unix()
	e.Log.Resource = strings.Repeat("r", size)
	return e
}

func TestBatches(t *testing.T) {
	s, o := start(t)
	s.streams = map[string]bool{"/sidearmor/test": true, "/sidearmor/test\ntask-1": true}
	now := s.now
	for name, tt := range map[string]struct {
		batch    []schema.Event
		requests int
	}{
		"out of order":         {[]schema.Event{at(now, 1), at(now.Add(-time.Hour), 2), at(now.Add(-time.Minute), 3)}, 1},
		"more than 24 hours":   {[]schema.Event{at(now, 1), at(now.Add(-25*time.Hour), 2), at(now.Add(-72*time.Hour), 3)}, 3},
		"24 hours to the tick": {[]schema.Event{at(now, 1), at(now.Add(-24*time.Hour), 2)}, 1},
		"too many bytes":       {[]schema.Event{at(now, 500000), at(now, 500000), at(now, 500000)}, 2},
		"one enormous event":   {[]schema.Event{at(now, 1), at(now, 5<<20), at(now, 1)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s.calls, s.stored = nil, nil
			if err := o.Deliver(t.Context(), tt.batch); err != nil {
				t.Fatal(err)
			}
			if len(s.stored) != len(tt.batch) {
				t.Errorf("%d of %d events are stored", len(s.stored), len(tt.batch))
			}
			if len(s.calls) != tt.requests {
				t.Errorf("%d requests, want %d", len(s.calls), tt.requests)
			}
		})
	}
}

func TestRejectedEvents(t *testing.T) {
	s, o := start(t)
	now := s.now
	batch := []schema.Event{
		at(now.Add(3*time.Hour), 1), at(now, 2), at(now.AddDate(0, 0, -20), 3),
		at(now.AddDate(0, 0, -14).Add(-time.Second), 4), at(now.Add(-time.Hour), 5),
	}
	err := o.Deliver(t.Context(), batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent {
		t.Fatalf("got %v", err)
	}
	slices.Sort(e.Failed)
	if diff := cmp.Diff([]int{0, 2, 3}, e.Failed); diff != "" || len(s.stored) != 2 {
		t.Errorf("%d are stored, failed (-want +got): %s", len(s.stored), diff)
	}
	// With a failure after it, what was rejected comes back too.
	s.stored = nil
	s.fail = map[string]string{}
	second := []schema.Event{at(now.AddDate(0, 0, -20), 1), at(now, 2)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.stored)+len(s.calls) > 0 && s.calls[len(s.calls)-1] == "PutLogEvents" && s.fail["second"] == "" {
			s.fail["second"] = "x"
			s.fail["PutLogEvents"] = "ServiceUnavailableException"
		}
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	s.calls = nil
	o = outputtest.New(t, cloudwatch.Kind(), settings(t, srv.URL))
	err = o.Deliver(t.Context(), second)
	e, ok = errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Transient {
		t.Fatalf("got %v", err)
	}
	slices.Sort(e.Failed)
	if diff := cmp.Diff([]int{0, 1}, e.Failed); diff != "" {
		t.Error(diff)
	}
}

func TestSettings(t *testing.T) {
	k := cloudwatch.Kind()
	for name, tt := range map[string]struct {
		change outputtest.Settings
		want   string
	}{
		"group":       {outputtest.Settings{"loggroup": "a b"}, "AWS_CLOUDWATCHLOGS_LOGGROUP"},
		"long group":  {outputtest.Settings{"loggroup": strings.Repeat("a", 513)}, "AWS_CLOUDWATCHLOGS_LOGGROUP"},
		"long stream": {outputtest.Settings{"logstream": strings.Repeat("ü", 513)}, "AWS_CLOUDWATCHLOGS_LOGSTREAM"},
		"stream":      {outputtest.Settings{"logstream": "a:b"}, "AWS_CLOUDWATCHLOGS_LOGSTREAM"},
		"no region":   {outputtest.Settings{"region": ""}, "AWS_REGION"},
		"no key":      {outputtest.Settings{"secretaccesskey": ""}, "AWS_SECRETACCESSKEY"},
		"no id":       {outputtest.Settings{"accesskeyid": ""}, "AWS_ACCESSKEYID"},
		"external id": {outputtest.Settings{"externalid": "x"}, "AWS_EXTERNALID"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, k, settings(t, "http://127.0.0.1:1").With(tt.change), tt.want)
		})
	}
}

// TestStreamOfHost: without a name, the stream is one of this host's own.
func TestStreamOfHost(t *testing.T) {
	s := newStub(t)
	srv := httptest.NewServer(s)
	defer srv.Close()
	all := settings(t, srv.URL)
	delete(all, "logstream")
	o := outputtest.New(t, cloudwatch.Kind(), all)
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()}); err != nil {
		t.Fatal(err)
	}
	for name := range s.streams {
		if _, stream, ok := strings.Cut(name, "\n"); ok && !strings.HasPrefix(stream, "sidearmor-") {
			t.Errorf("stream %q", stream)
		}
	}
}

// TestRole: with a role the keys are used to assume it, by STS, and not before
// the first delivery; a pod that has the role already does not assume it.
func TestRole(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/logs"
	s := newStub(t)
	var assumed []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "" {
			s.ServeHTTP(w, r)
			return
		}
		_ = r.ParseForm()
		assumed = append(assumed, r.Form.Get("Action")+" "+r.Form.Get("RoleArn")+" "+r.Form.Get("ExternalId"))
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken>`+
			`<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}))
	defer srv.Close()
	all := settings(t, srv.URL)
	all["rolearn"], all["externalid"] = role, "tenant-7"
	o := outputtest.New(t, cloudwatch.Kind(), all)
	if len(assumed) != 0 {
		t.Error("the network was used before the first delivery")
	}
	for range 2 {
		if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"AssumeRole " + role + " tenant-7"}, assumed); diff != "" {
		t.Error(diff)
	}
	assumed = nil
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/dev/null")
	t.Setenv("AWS_ROLE_ARN", role)
	o = outputtest.New(t, cloudwatch.Kind(), all)
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()}); err != nil || len(assumed) != 0 {
		t.Errorf("error %v, assumed %v", err, assumed)
	}
}

// TestCABundle: the SDK's setting for a private authority works, although the
// client is not the SDK's.
func TestCABundle(t *testing.T) {
	srv := httptest.NewTLSServer(newStub(t))
	defer srv.Close()
	file := outputtest.CertificateFile(t, srv)
	all := settings(t, srv.URL)
	t.Setenv("AWS_CA_BUNDLE", file)
	o := outputtest.New(t, cloudwatch.Kind(), all)
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()}); err != nil {
		t.Error(err)
	}
}
