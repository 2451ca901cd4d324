package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// shows gives what takes one token.
func shows(token string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
}

func nothing(http.ResponseWriter, *http.Request) {}

func newAPI(t *testing.T, o Options) *API {
	t.Helper()
	o.Metrics, o.Log = prometheus.NewRegistry(), slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestJudge(t *testing.T) {
	post, read, admin := shows("post"), shows("read"), shows("admin")
	all := Tokens{Post: post, Read: read, Admin: admin}
	anywhere, local, certified, trusted := Door{}, Door{Local: true}, Door{Certified: true}, Door{Trusted: true}
	for _, c := range []struct {
		name   string
		tokens Tokens
		door   Door
		shown  string
		want   [classes]verdict // admin, read, post, probe
	}{
		{"no tokens, anywhere", Tokens{}, anywhere, "", [classes]verdict{closed, closed, closed, admitted}},
		{"no tokens, this machine", Tokens{}, local, "", [classes]verdict{admitted, admitted, admitted, admitted}},
		{"no tokens, certificates", Tokens{}, certified, "", [classes]verdict{admitted, admitted, admitted, admitted}},
		{"no tokens, trusted network", Tokens{}, trusted, "", [classes]verdict{closed, admitted, admitted, admitted}},
		{"all tokens, none shown", all, local, "", [classes]verdict{unknown, unknown, unknown, admitted}},
		{"all tokens, a certificate", all, certified, "", [classes]verdict{unknown, unknown, unknown, admitted}},
		{"all tokens, trusted network", all, trusted, "", [classes]verdict{unknown, unknown, unknown, admitted}},
		{"all tokens, a wrong one", all, local, "x", [classes]verdict{unknown, unknown, unknown, admitted}},
		{"who posts", all, anywhere, "post", [classes]verdict{scoped, scoped, admitted, admitted}},
		{"who reads", all, anywhere, "read", [classes]verdict{scoped, admitted, scoped, admitted}},
		{"who does all", all, anywhere, "admin", [classes]verdict{admitted, admitted, admitted, admitted}},
		{"tokens to post alone, none shown", Tokens{Post: post}, local, "", [classes]verdict{closed, closed, unknown, admitted}},
		{"tokens to post alone, shown", Tokens{Post: post}, certified, "post", [classes]verdict{scoped, scoped, admitted, admitted}},
		{"tokens to read alone", Tokens{Read: read}, local, "", [classes]verdict{closed, unknown, admitted, admitted}},
		{"tokens to do all alone", Tokens{Admin: admin}, local, "", [classes]verdict{unknown, admitted, admitted, admitted}},
		{"tokens to do all alone, trusted network", Tokens{Admin: admin}, trusted, "admin", [classes]verdict{admitted, admitted, admitted, admitted}},
		{"tokens to post and do all", Tokens{Post: post, Admin: admin}, local, "", [classes]verdict{unknown, unknown, unknown, admitted}},
	} {
		a := newAPI(t, Options{Tokens: c.tokens})
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		if c.shown != "" {
			r.Header.Set("Authorization", "Bearer "+c.shown)
		}
		for class := range classes {
			if got := a.judge(r, class, c.door); got != c.want[class] {
				t.Errorf("%s: %s: verdict %d, want %d", c.name, class, got, c.want[class])
			}
		}
	}
}

// A name that anybody can have lead to this machine is not enough, where nothing but
// the machine is asked for.
func TestNamesOfThisMachine(t *testing.T) {
	a := newAPI(t, Options{})
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:2801": true, "[::1]:2801": true, "[::1]": true, "localhost": true, "localhost:1": true, "10.0.0.1": true,
		"": false, "evil.example": false, "evil.example:2801": false, "localhost.evil.example": false, "127.0.0.1.evil.example:2801": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		for class, want := range map[Class]bool{Admin: want, Read: want, Post: true, Probe: true} {
			if got := a.judge(r, class, Door{Local: true}); (got == admitted) != want {
				t.Errorf("%q, %s: verdict %d", host, class, got)
			}
		}
	}
}

// What a row can say is what can be meant.
func TestRowsThatCannotBeMeant(t *testing.T) {
	for want, routes := range map[string][]Route{
		"route GET x: the path does not begin":                    {{Path: "x", Method: "GET", Handler: nothing}},
		"route GET /: there is no such class":                     {{Path: "/", Method: "GET", Class: classes, Handler: nothing}},
		"route GET /: it has no handler":                          {{Path: "/", Method: "GET"}},
		"route GET /: it is there twice":                          {{Path: "/", Method: "GET", Handler: nothing}, {Path: "/", Method: "GET", Class: Read, Handler: nothing}},
		"route PUT /: a route of the class read changes nothing":  {{Path: "/", Method: "PUT", Class: Read, Handler: nothing}},
		"route POST /: a route of the class probe changes":        {{Path: "/", Method: "POST", Class: Probe, Handler: nothing}},
		"route /: it has no method":                               {{Path: "/", Handler: nothing}},
		"route POST /: a stream is for GET":                       {{Path: "/", Method: "POST", Stream: true, Handler: nothing}},
		"route /: a route of the class read changes nothing, so ": {{Path: "/", Class: Read, Handler: nothing}},
	} {
		_, err := New(Options{Routes: routes, Metrics: prometheus.NewRegistry()})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// testTable has a row of each class.
func testTable() []Route {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			Answer(w, http.StatusRequestEntityTooLarge, Problem{err.Error()})
			return
		}
		fmt.Fprint(w, "echo ", len(body))
	}
	return []Route{
		{Path: "/", Method: http.MethodPost, Class: Post, Handler: echo},
		{Path: "/things", Method: http.MethodGet, Class: Read, Handler: echo},
		{Path: "/things/{name}", Method: http.MethodGet, Class: Read, Handler: echo},
		{Path: "/things/{name}", Method: http.MethodPut, Class: Admin, Limits: Limits{Body: 10}, Handler: echo},
		{Path: "/ping", Class: Probe, Handler: echo},
		{Path: "/panic", Class: Probe, Handler: func(http.ResponseWriter, *http.Request) { panic("CANARY") }},
	}
}

type asked struct {
	method, path, token, body string
}

func (q asked) of(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(q.method, "http://127.0.0.1"+q.path, strings.NewReader(q.body))
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	var lost []string
	a := newAPI(t, Options{
		Routes: testTable(), Tokens: Tokens{Post: shows("post"), Read: shows("read"), Admin: shows("admin")},
		Lost: func(r *http.Request, reason, _ string) { lost = append(lost, r.Method+" "+r.URL.Path+" "+reason) },
	})
	h := a.Handler(Door{})
	for _, c := range []struct {
		asked
		status int
		body   string
		header string // name: value
	}{
		{asked{"POST", "/", "post", "12"}, 200, "echo 2", ""},
		{asked{"POST", "/", "", "12"}, 401, `{"error":"a valid token is required`, `Www-Authenticate: Bearer realm="sidearmor"`},
		{asked{"POST", "/", "", "12"}, 401, "", "Connection: close"},
		{asked{"GET", "/things", "read", ""}, 200, "echo", ""},
		{asked{"HEAD", "/things", "read", ""}, 200, "", ""},
		{asked{"GET", "/things", "post", ""}, 403, `{"error":"the token does not have the scope read"}`, `Www-Authenticate: Bearer realm="sidearmor", error="insufficient_scope", scope="read"`},
		{asked{"PUT", "/things/a", "admin", "12"}, 200, "echo 2", ""},
		{asked{"PUT", "/things/a", "admin", "12345678901"}, 413, "too large", ""},
		{asked{"PUT", "/things/a", "read", "12"}, 403, "scope admin", ""},
		{asked{"PUT", "/things/a", "", "12"}, 401, "", ""},
		{asked{"PATCH", "/things/a", "admin", ""}, 405, `{"error":"use GET or HEAD or PUT"}`, "Allow: GET, HEAD, PUT"},
		{asked{"PUT", "/things/a/b", "admin", ""}, 404, `{"error":"no such path`, ""},
		{asked{"GET", "/things/", "admin", ""}, 404, "", ""},
		{asked{"GET", "/nowhere", "", ""}, 404, "", ""},
		{asked{"GET", "/", "", ""}, 405, "", "Allow: POST"},
		{asked{"PUT", "/", "", ""}, 405, "", "Allow: POST"},
		{asked{"POST", "/ping", "", ""}, 200, "", ""},
		{asked{"DELETE", "/ping", "", ""}, 200, "", ""},
		{asked{"GET", "/panic", "", ""}, 500, `{"error":"internal error"}`, ""},
	} {
		w := c.of(h)
		name, value, _ := strings.Cut(c.header, ": ")
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || w.Header().Get(name) != value {
			t.Errorf("%s %s %q: %d %s %v", c.method, c.path, c.token, w.Code, w.Body, w.Header())
		}
	}
	// A probe's refusal, and one of who reads or administers, lose no event.
	if got := strings.Join(lost, ", "); got != "POST / unauthorized, POST / unauthorized, PUT /things/a/b path, PUT / method" {
		t.Errorf("lost: %s", got)
	}
	if testutil.ToFloat64(a.panics) != 1 || testutil.ToFloat64(a.refused.WithLabelValues("admin")) != 2 || testutil.ToFloat64(a.refused.WithLabelValues("post")) != 2 {
		t.Error("not counted")
	}
}

// Without TLS there are probes alone, whatever a configuration says.
func TestDoors(t *testing.T) {
	a := newAPI(t, Options{Routes: testTable()})
	if got := strings.Join(ProbePaths(testTable()), " "); got != "/ping /panic" {
		t.Errorf("probes: %s", got)
	}
	for _, c := range []struct {
		door   Door
		q      asked
		status int
	}{
		{Door{Local: true, Only: []string{"/ping", "/"}}, asked{method: "GET", path: "/ping"}, 200},
		{Door{Local: true, Only: []string{"/ping", "/"}}, asked{method: "POST", path: "/"}, 404},
		{Door{Local: true, Only: []string{"/ping", "/"}}, asked{method: "GET", path: "/things"}, 404},
		{Door{Local: true, Only: []string{}}, asked{method: "GET", path: "/ping"}, 404},
		{Door{Local: true, Without: []string{"/ping"}}, asked{method: "GET", path: "/ping"}, 404},
		{Door{Local: true, Without: []string{"/ping"}}, asked{method: "POST", path: "/"}, 200},
		{Door{}, asked{method: "POST", path: "/"}, 403},
		{Door{Trusted: true}, asked{method: "PUT", path: "/things/x"}, 403},
	} {
		if w := c.q.of(a.Handler(c.door)); w.Code != c.status {
			t.Errorf("%+v %+v: %d %s", c.door, c.q, w.Code, w.Body)
		}
	}
}

func TestRouteLimits(t *testing.T) {
	a := newAPI(t, Options{Routes: []Route{{
		Path: "/slow", Method: http.MethodPost, Class: Admin, Limits: Limits{Read: 1, Write: 1},
		Handler: func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			if err == nil {
				t.Error("the body was read when its time was over")
			}
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		},
	}}})
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.Server(a.Handler(Door{Local: true}))
	server.Start()
	defer server.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes of an answer whose time was over, %v", len(answer), err)
	}
}
