package loki_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/loki"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// push is a request of the push API, without the third element that values may
// have.
type push struct {
	Streams []struct {
		Stream map[string]string
		Values [][2]string
	}
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// invalid says which of Loki's limits, as they are by default, a request breaks.
func invalid(body []byte) (push, string) {
	var p push
	if err := json.Unmarshal(body, &p); err != nil || !utf8.Valid(body) {
		return p, fmt.Sprintf("not a push: %v", err)
	}
	seen := map[string]bool{}
	for _, s := range p.Streams {
		if len(s.Stream) == 0 || len(s.Stream) > 15 || len(s.Values) == 0 {
			return p, fmt.Sprintf("%d labels, %d values", len(s.Stream), len(s.Values))
		}
		if seen[fmt.Sprint(s.Stream)] {
			return p, "a stream comes twice"
		}
		seen[fmt.Sprint(s.Stream)] = true
		for name, value := range s.Stream {
			if !labelName.MatchString(name) || len(name) > 1024 || value == "" || len(value) > 2048 {
				return p, fmt.Sprintf("label %q is %q", name, value)
			}
		}
		for _, v := range s.Values {
			if _, err := strconv.ParseInt(v[0], 10, 64); err != nil || v[1] == "" || len(v[1]) > 256<<10 {
				return p, fmt.Sprintf("time %q, line of %d bytes", v[0], len(v[1]))
			}
		}
	}
	return p, ""
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: loki.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{
				"hostport": base, "user": "1234", "apikey": outputtest.Canary, "tenant": "team-a",
				"customheaders": "X-Token:" + outputtest.Canary,
			}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) {},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			user, key, _ := r.BasicAuth()
			if user != "1234" || key != outputtest.Canary || r.Header.Get("X-Scope-OrgID") != "team-a" ||
				r.URL.Path != "/loki/api/v1/push" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
			if _, problem := invalid(body); problem != "" {
				t.Error(problem)
			}
		},
	})
}

// stub is a Loki that keeps what it is sent, and refuses lines with a word in
// them as the real one does: it stores the others and answers 400.
type stub struct {
	mu     sync.Mutex
	lines  map[string]bool // guarded by mu
	bodies [][]byte        // guarded by mu
	poison string
	reason string
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.bodies = append(s.bodies, body)
	p, problem := invalid(body)
	for _, stream := range p.Streams {
		for _, v := range stream.Values {
			if s.poison != "" && strings.Contains(v[1], s.poison) {
				problem = s.reason
				continue
			}
			s.lines[v[0]+v[1]] = true
		}
	}
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func start(t *testing.T, change outputtest.Settings) (*stub, outputs.Output) {
	t.Helper()
	s := &stub{lines: map[string]bool{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, outputtest.New(t, loki.Kind(), outputtest.Settings{"hostport": srv.URL + "/"}.With(change))
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		s, o := start(t, outputtest.Settings{"format": format, "extralabels": "proc.name, Operation,tags,1st"})
		for _, c := range outputtest.Cases() {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
					t.Fatal(err)
				}
				outputtest.GoldenJSON(t, format+"/"+c.Name+".json", s.bodies[len(s.bodies)-1])
			})
		}
	}
}

// TestOneIsRefused: an event that Loki refuses takes no other with it.
func TestOneIsRefused(t *testing.T) {
	s, o := start(t, nil)
	s.poison, s.reason = "poison", "entry with timestamp 2026 ignored, reason: 'entry too far behind, oldest acceptable is ...'"
	var batch []schema.Event
	for i := range 100 {
		e := outputtest.Log()
		e.Log.Resource = fmt.Sprint(i)
		if i == 7 || i == 63 {
			e.Log.Resource += "poison"
		}
		batch = append(batch, e)
	}
	err := o.Deliver(t.Context(), batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{7, 63}) || len(s.lines) != 98 {
		t.Fatalf("%d lines, got %#v (%v)", len(s.lines), e, err)
	}
	if !strings.Contains(err.Error(), "the time of an event is too far behind") {
		t.Errorf("the reason is missing: %v", err)
	}
}

// TestStreams: events with the same labels share a stream, and a workload cannot
// make any number of them.
func TestStreams(t *testing.T) {
	s, o := start(t, outputtest.Settings{"extralabels": "Resource"})
	var batch []schema.Event
	for i := range 500 {
		e := outputtest.Log()
		e.Log.Resource = fmt.Sprint(i)
		batch = append(batch, e)
	}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	p, _ := invalid(s.bodies[0])
	if len(p.Streams) != 101 {
		t.Errorf("%d streams", len(p.Streams))
	}
	last := p.Streams[100]
	if last.Stream["Resource"] != "other" || len(last.Values) != 400 {
		t.Errorf("%d values in %v", len(last.Values), last.Stream)
	}
	e := outputtest.Log()
	if got, want := last.Values[0][0], fmt.Sprint(e.Time().UnixNano()); got != want {
		t.Errorf("time %s, want %s", got, want)
	}
}

func TestRefusedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"address": {outputtest.Settings{"hostport": "loki:3100/" + outputtest.Canary}, "LOKI_HOSTPORT"},
		"format":  {outputtest.Settings{"format": "xml"}, "LOKI_FORMAT"},
		"no key":  {outputtest.Settings{"user": "1"}, "LOKI_APIKEY"},
		"no user": {outputtest.Settings{"apikey": outputtest.Canary}, "LOKI_USER"},
		"headers": {outputtest.Settings{"customheaders": outputtest.Canary}, "LOKI_CUSTOMHEADERS"},
		"labels":  {outputtest.Settings{"extralabels": "a,b,c,d,e,f,g,h,i,j,k"}, "LOKI_EXTRALABELS"},
		"cert":    {outputtest.Settings{"checkcert": "maybe"}, "LOKI_CHECKCERT"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, loki.Kind(), outputtest.Settings{"hostport": "https://logs.example"}.With(tt.settings), tt.want)
		})
	}
}
