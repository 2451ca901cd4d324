package api

import (
	"encoding/json"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// Problem is the JSON of an answer that says what is wrong.
type Problem struct {
	Error string `json:"error"`
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	// The client has the status; one that has gone misses the rest.
	_ = json.NewEncoder(w).Encode(v)
}

// brings says whether r may hold events, which are gone with it: a program that only
// looks for a page has none.
func brings(r *http.Request) bool {
	return !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method)
}

const noSuchPath = "no such path; events are posted to /"

func (a *API) wrongPath(w http.ResponseWriter, r *http.Request) {
	if brings(r) {
		a.Lost(r, "path", r.URL.Path+": "+noSuchPath)
	}
	Answer(w, http.StatusNotFound, Problem{noSuchPath})
}

// wrongMethod says which methods there are. Where no route fits, the router has not
// said which path it was.
func (a *API) wrongMethod(w http.ResponseWriter, r *http.Request, paths *mux.Router) {
	var match mux.RouteMatch
	var allowed []string
	if paths.Match(r, &match) && match.Route != nil {
		path, _ := match.Route.GetPathTemplate()
		for i := range a.Routes {
			route := &a.Routes[i]
			if route.Path != path {
				continue
			}
			allowed = append(allowed, route.methods()...)
			if route.Class == Post && route.Method == http.MethodPost && brings(r) {
				a.Lost(r, "method", r.Method+" "+r.URL.Path+": events are posted")
			}
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	Answer(w, http.StatusMethodNotAllowed, Problem{"use " + strings.Join(allowed, " or ")})
}

// recovering answers 500 for a request whose handling panics.
func (a *API) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // a value of panic, as net/http compares it
				panic(p) // the client is to see that the answer is cut short
			}
			what := "panic" // any other value may show what was posted
			if e, ok := p.(runtime.Error); ok {
				what = e.Error()
			}
			a.panics.Inc()
			a.Log.Error("request handling panicked", "path", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
			Answer(w, http.StatusInternalServerError, Problem{"internal error"})
		}()
		next.ServeHTTP(w, r)
	})
}
