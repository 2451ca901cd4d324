package policyapi

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

// follower is a tracer's end of the stream.
type follower struct {
	t       *testing.T
	body    *bufio.Reader
	close   func() error
	decoder policystream.Decoder
}

func (s *served) follow(tracer string) *follower {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+policystream.Path+"?tracer="+tracer, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer post")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		s.t.Fatal(response.Status)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	return &follower{t: s.t, body: bufio.NewReader(response.Body), close: response.Body.Close}
}

// next gives the next state.
func (f *follower) next() policystream.State {
	f.t.Helper()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			f.t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			state, err := f.decoder.Decode([]byte(data))
			if err != nil {
				f.t.Fatal(err)
			}
			return state
		}
	}
}

func TestStream(t *testing.T) {
	s := serve(t)
	f := s.follow("t1")
	first := f.next()
	if first.Generation == 0 || len(first.Sources) != 2 || first.Sources[1].Name != "http" || first.Sources[1].Pending {
		t.Fatalf("%+v", first)
	}
	s.want(201, "", "PUT", "/policies/ksp/a?mode=watch", policy("a", "/1"))
	second := f.next()
	if second.Generation <= first.Generation || second.Instance != first.Instance || len(second.Sources[1].Policies) != 1 {
		t.Fatalf("%+v", second)
	}
	one := second.Sources[1].Policies[0]
	docs, err := one.Parse(false)
	if err != nil || len(docs) != 1 || docs[0].Name != "a" || one.Mode.String() != "audited" {
		t.Errorf("%+v, %v", one, err)
	}
	s.want(200, "", "DELETE", "/policies", "")
	if third := f.next(); len(third.Sources[1].Policies) != 0 {
		t.Errorf("%+v", third)
	}
}

func TestTracersAreListed(t *testing.T) {
	s := serve(t)
	f := s.follow("t1")
	state := f.next()
	list := func() string {
		_, text, _ := s.do("GET", "/policies", "")
		return text
	}
	if text := list(); !strings.Contains(text, `"id":"t1"`) || !strings.Contains(text, `"connected":true`) || !strings.Contains(text, `"current":false`) {
		t.Errorf("%s", text)
	}
	s.want(204, "", "POST", policystream.StatusPath, `{"tracer":{"id":"t1","container":"web"},"instance":"`+state.Instance+`","generation":`+
		"2"+`,"policies":[{"kind":"KubeArmorPolicy","name":"a","selects":true,"denied":3}],"not_enforced":[{"policy":"a","why":"so"}]}`, "Authorization: Bearer post")
	if text := list(); !strings.Contains(text, `"container":"web"`) || !strings.Contains(text, `"denied":3`) || !strings.Contains(text, `"why":"so"`) {
		t.Errorf("%s", text)
	}
	_ = f.close()
	for range 3000 {
		if strings.Contains(list(), `"connected":false`) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("a tracer that has gone is connected: %s", list())
}

func TestStatusRefuses(t *testing.T) {
	s := serve(t)
	s.want(400, "not a status", "POST", policystream.StatusPath, "x", "Authorization: Bearer post")
	s.want(400, "tracer.id", "POST", policystream.StatusPath, "{}", "Authorization: Bearer post")
	s.want(413, "", "POST", policystream.StatusPath, `{"tracer":{"id":"`+strings.Repeat("x", maxStatus)+`"}}`, "Authorization: Bearer post")
}

func TestTracersAreForgotten(t *testing.T) {
	now := time.Unix(1, 0)
	all := newTracers(func() time.Time { return now }, newMetrics(nil))
	gone := all.connect("a")
	all.connect("b")
	gone()
	now = now.Add(keepTracers + 1)
	if l := all.list("", 0); len(l) != 1 || l[0].Tracer.ID != "b" {
		t.Errorf("%+v", l)
	}
	large := policystream.Status{Errors: []string{strings.Repeat("x", 1<<20)}}
	taken := 0
	for i := range 100 {
		large.Tracer.ID = string(rune('A' + i))
		if all.tell(large) {
			taken++
		}
	}
	if taken != maxTracers>>20-1 {
		t.Errorf("%d were taken", taken)
	}
}
