package elasticsearch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/elasticsearch"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// document is one of a bulk request.
type document struct {
	index, id string
	source    string
}

// parse reads a bulk request as strictly as the API's documentation.
func parse(body []byte) ([]document, error) {
	if len(body) == 0 || body[len(body)-1] != '\n' {
		return nil, errors.New("no line end at the end")
	}
	lines := bytes.Split(body[:len(body)-1], []byte("\n"))
	var list []document
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Create struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			}
		}
		dec := json.NewDecoder(bytes.NewReader(lines[i]))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&action); err != nil {
			return nil, fmt.Errorf("action %s: %w", lines[i], err)
		}
		var source map[string]any
		if err := json.Unmarshal(lines[i+1], &source); err != nil {
			return nil, fmt.Errorf("document %.300s: %w", lines[i+1], err)
		}
		at, ok := source["@timestamp"].(string)
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil || !ok {
			return nil, fmt.Errorf("time %q", at)
		}
		if action.Create.Index == "" || strings.ToLower(action.Create.Index) != action.Create.Index || len(action.Create.ID) > 512 {
			return nil, fmt.Errorf("action %s", lines[i])
		}
		list = append(list, document{action.Create.Index, action.Create.ID, string(lines[i+1])})
	}
	if len(lines)%2 != 0 || len(list) == 0 {
		return nil, fmt.Errorf("%d lines", len(lines))
	}
	return list, nil
}

func TestConformance(t *testing.T) {
	classes := map[int]outputs.Class{}
	for code := 100; code <= 199; code++ { // then comes 200 without a body, which says nothing of the documents
		classes[code] = outputs.Transient
	}
	classes[http.StatusNoContent] = outputs.Transient
	var counts sync.Map // *http.Request: documents
	outputtest.Run(t, outputtest.Spec{
		Kind:         elasticsearch.Kind(),
		AnswerCounts: true,
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{
				"hostport": base, "username": "writer", "password": outputtest.Canary, "pipeline": "geo",
				"customheaders": "X-Token:" + outputtest.Canary,
			}
		},
		Classes: classes,
		Check: func(t testing.TB, r *http.Request, body []byte) {
			user, key, _ := r.BasicAuth()
			if user != "writer" || key != outputtest.Canary || r.URL.Path != "/_bulk" || r.URL.Query().Get("pipeline") != "geo" ||
				r.Header.Get("Content-Type") != "application/x-ndjson" {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
			list, err := parse(body)
			if err != nil {
				t.Error(err)
			}
			counts.Store(r, len(list))
		},
		Answer: func(w http.ResponseWriter, r *http.Request) {
			n, _ := counts.Load(r)
			_, _ = io.WriteString(w, `{"errors":false,"items":[`+strings.TrimSuffix(strings.Repeat(`{"create":{"status":201}},`, n.(int)), ",")+`]}`)
		},
	})
}

// stub stores documents as Elasticsearch does: one for each id.
type stub struct {
	mu       sync.Mutex
	stored   map[string]document // guarded by mu
	requests int                 // guarded by mu
	packed   bool                // guarded by mu; whether the last request was
	auth     string              // guarded by mu
	maxBytes int
	status   func(d document) (int, string) // of what is not stored, 0 to store
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.auth = r.Header.Get("Authorization")
	body, _ := io.ReadAll(r.Body)
	if s.packed = r.Header.Get("Content-Encoding") == "gzip"; s.packed {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body, _ = io.ReadAll(z)
	}
	if s.maxBytes > 0 && len(body) > s.maxBytes {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	list, err := parse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{"errors": false, "took": 3}
	var items []any
	for _, d := range list {
		it := map[string]any{"_index": d.index, "status": 201}
		code, kind := 0, ""
		if s.status != nil {
			code, kind = s.status(d)
		}
		if _, there := s.stored[d.index+d.id]; there {
			code, kind = 409, "version_conflict_engine_exception"
		}
		if code != 0 {
			it["status"], it["error"] = code, map[string]any{"type": kind, "reason": "failed to parse " + outputtest.Canary + d.source}
			answer["errors"] = true
		} else {
			s.stored[d.index+d.id] = d
		}
		items = append(items, map[string]any{"create": it})
	}
	answer["items"] = items
	_ = json.NewEncoder(w).Encode(answer)
}

func start(t *testing.T, change outputtest.Settings) (*stub, outputs.Output) {
	t.Helper()
	s := &stub{stored: map[string]document{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, outputtest.New(t, elasticsearch.Kind(), outputtest.Settings{"hostport": srv.URL + "/"}.With(change))
}

func TestGolden(t *testing.T) {
	s, o := start(t, nil)
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			clear(s.stored)
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			for _, d := range s.stored {
				text, err := json.Marshal(map[string]any{"_index": d.index, "_id": d.id, "_source": json.RawMessage(d.source)})
				if err != nil {
					t.Fatal(err)
				}
				outputtest.GoldenJSON(t, c.Name+".json", text)
			}
		})
	}
}

func batchOf(n int) []schema.Event {
	var batch []schema.Event
	for i := range n {
		e := outputtest.Log()
		e.ID, e.Log.Resource = fmt.Sprintf("id-%d", i), fmt.Sprintf("/file-%d", i)
		batch = append(batch, e)
	}
	return batch
}

// TestSentAgain: an event that is there already counts as delivered, and is
// there once.
func TestSentAgain(t *testing.T) {
	s, o := start(t, outputtest.Settings{"enablecompression": "true"})
	for range 2 {
		if err := o.Deliver(t.Context(), batchOf(1000)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.stored) != 1000 || !s.packed {
		t.Errorf("%d documents, packed %v", len(s.stored), s.packed)
	}
}

func TestIndexAndAuthorization(t *testing.T) {
	for suffix, want := range map[string]string{
		"daily": "sec-2026.03.04", "monthly": "sec-2026.03", "annually": "sec-2026", "none": "sec",
	} {
		s, o := start(t, outputtest.Settings{"index": "sec", "suffix": suffix, "apikey": outputtest.Canary})
		if err := o.Deliver(t.Context(), batchOf(1)); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.stored[want+"id-0"]; !ok {
			t.Errorf("%s: %v", suffix, s.stored)
		}
		if s.auth != "ApiKey "+outputtest.Canary {
			t.Errorf("authorization %q", s.auth)
		}
	}
}

// TestItems: what is refused is known document by document.
func TestItems(t *testing.T) {
	for name, tt := range map[string]struct {
		statuses map[string]int // by resource
		class    outputs.Class
		failed   []int
	}{
		"mapping":           {map[string]int{"/file-3\"": 400}, outputs.Permanent, []int{3}},
		"overload":          {map[string]int{"/file-1\"": 429, "/file-2\"": 429}, outputs.RateLimited, []int{1, 2}},
		"shard gone":        {map[string]int{"/file-1\"": 503}, outputs.Transient, []int{1}},
		"no index":          {map[string]int{"/file-0\"": 404}, outputs.Transient, []int{0}},
		"disk full":         {map[string]int{"/file-0\"": 403}, outputs.Transient, []int{0}},
		"mapping, overload": {map[string]int{"/file-1\"": 400, "/file-2\"": 429, "/file-4\"": 400}, outputs.RateLimited, []int{1, 2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := start(t, nil)
			s.status = func(d document) (int, string) {
				for resource, code := range tt.statuses {
					if strings.Contains(d.source, resource) {
						return code, "some_exception"
					}
				}
				return 0, ""
			}
			err := o.Deliver(t.Context(), batchOf(5))
			e, ok := errors.AsType[*outputs.Error](err)
			if !ok || e.Class != tt.class || !slices.Equal(e.Failed, tt.failed) || s.requests != 1 {
				t.Fatalf("%d requests, got %#v (%v)", s.requests, e, err)
			}
			if !strings.Contains(err.Error(), "some_exception") {
				t.Errorf("the reason is missing: %v", err)
			}
			outputtest.NoSecret(t, err)
			s.status = nil
			if err := o.Deliver(t.Context(), batchOf(5)); err != nil || len(s.stored) != 5 {
				t.Errorf("%d stored, error %v", len(s.stored), err)
			}
		})
	}
}

// TestTooLarge: a proxy that takes only small requests gets small ones.
func TestTooLarge(t *testing.T) {
	s, o := start(t, nil)
	s.maxBytes = 10_000
	batch := batchOf(50)
	batch[20].Log.Resource = strings.Repeat("x", 20_000)
	err := o.Deliver(t.Context(), batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{20}) || len(s.stored) != 49 {
		t.Errorf("%d stored, got %#v (%v)", len(s.stored), e, err)
	}
}

// TestStrangeAnswers: what is not known to be stored counts as failed.
func TestStrangeAnswers(t *testing.T) {
	for _, answer := range []string{"", "{}", "<html>", `{"items":[{"create":{"status":201}}]}`, `{"items":[{"create":{"status":0}},{"create":{"status":201}}]}`} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
		o := outputtest.New(t, elasticsearch.Kind(), outputtest.Settings{"hostport": srv.URL})
		err := o.Deliver(t.Context(), batchOf(2))
		if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
			t.Errorf("%q: %v", answer, err)
		}
		srv.Close()
	}
}

func TestRefusedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"address":     {outputtest.Settings{"hostport": "es:9200/" + outputtest.Canary}, "ELASTICSEARCH_HOSTPORT"},
		"index":       {outputtest.Settings{"index": "Falco"}, "ELASTICSEARCH_INDEX"},
		"long index":  {outputtest.Settings{"index": strings.Repeat("a", 201)}, "ELASTICSEARCH_INDEX"},
		"suffix":      {outputtest.Settings{"suffix": "weekly"}, "ELASTICSEARCH_SUFFIX"},
		"no password": {outputtest.Settings{"username": "a"}, "ELASTICSEARCH_PASSWORD"},
		"two ways":    {outputtest.Settings{"username": "a", "password": outputtest.Canary, "apikey": outputtest.Canary}, "ELASTICSEARCH_APIKEY"},
		"headers":     {outputtest.Settings{"customheaders": outputtest.Canary}, "ELASTICSEARCH_CUSTOMHEADERS"},
		"compression": {outputtest.Settings{"enablecompression": "zip"}, "ELASTICSEARCH_ENABLECOMPRESSION"},
	} {
		t.Run(name, func(t *testing.T) {
			all := outputtest.Settings{"hostport": "https://logs.example"}.With(tt.settings)
			outputtest.Refused(t, elasticsearch.Kind(), all, tt.want)
		})
	}
}
