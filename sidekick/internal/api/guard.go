package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Tokens say whether a request shows a token of a scope. nil where no token has it.
type Tokens struct {
	Admin, Read, Post func(*http.Request) bool
}

// Door is a port or socket, and what is known of whoever comes in by it. The zero
// value lets nobody in but by a token.
type Door struct {
	Local     bool // only this machine gets there: a loopback address, or a Unix socket
	Certified bool // every client has shown a certificate, of an authority that is trusted
	Trusted   bool // whoever can connect may post and read, as LISTEN_INSECURE says

	Only    []string // paths of probes, when nothing else is served
	Without []string // paths that are not served
}

func (d Door) serves(r *Route) bool {
	if d.Only != nil && (r.Class != Probe || !slices.Contains(d.Only, r.Path)) {
		return false
	}
	return !slices.Contains(d.Without, r.Path)
}

// verdict is what a guard says of a request.
type verdict int

const (
	unknown  verdict = iota // it shows no token, or one that does not count
	scoped                  // its token has another scope
	closed                  // nobody can use the route: there is no token of its scope
	misnamed                // it calls this machine by a name that may be anybody's
	admitted
)

// judge decides who may use routes of a class.
//
// A scope asks for a token where tokens of this scope are set, or of one that may do
// less: what can do more is never easier to reach. A token of the scope admin has all
// scopes. Where no token is asked for it depends on the door.
func (a *API) judge(r *http.Request, c Class, d Door) verdict {
	if c == Probe {
		return admitted
	}
	t := a.Tokens
	byScope := [classes]func(*http.Request) bool{Admin: t.Admin, Read: t.Read, Post: t.Post}
	asked := slices.ContainsFunc(byScope[c:], func(valid func(*http.Request) bool) bool { return valid != nil })
	if !asked {
		return d.withoutToken(r, c)
	}
	shows := func(valid func(*http.Request) bool) bool { return valid != nil && valid(r) }
	switch {
	case shows(byScope[c]), shows(t.Admin):
		return admitted
	case shows(t.Read), shows(t.Post):
		return scoped
	case byScope[c] == nil && t.Admin == nil:
		return closed
	}
	return unknown
}

// withoutToken decides by the door alone.
func (d Door) withoutToken(r *http.Request, c Class) verdict {
	switch {
	case d.Certified, d.Trusted && c != Admin:
		return admitted
	case d.Local && c != Post && !namesThisMachine(r.Host):
		return misnamed
	case d.Local:
		return admitted
	}
	return closed
}

// namesThisMachine keeps a page in a browser of this machine from having its own
// name lead here (DNS rebinding).
func namesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// admit lets a request through, or answers it. It reads nothing of the body before.
func (a *API) admit(w http.ResponseWriter, r *http.Request, c Class, d Door) bool {
	v := a.judge(r, c, d)
	if v == admitted {
		return true
	}
	a.refused.WithLabelValues(c.String()).Inc()
	if n := a.refusals[c].Add(1, time.Now()); n > 0 {
		a.Log.Warn("requests without a valid token are refused", "requests", n, "scope", c.String(), "last_from", r.RemoteAddr)
	}
	status, why := refusal(w, c, v)
	w.Header().Set("Connection", "close") // or else the body is read, to get past it
	if c == Post {
		a.Lost(r, "unauthorized", why)
	}
	Answer(w, status, Problem{why})
	return false
}

// variable gives the setting of the tokens that have a class's scope.
func variable(c Class) string {
	switch c {
	case Post:
		return "AUTH_TOKEN"
	case Read:
		return "AUTH_TOKEN_READ"
	default:
		return "AUTH_TOKEN_ADMIN"
	}
}

// refusal says the same whatever is wrong with a token.
func refusal(w http.ResponseWriter, c Class, v verdict) (status int, why string) {
	switch v {
	case scoped:
		// RFC 6750, section 3.1.
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidearmor", error="insufficient_scope", scope="`+c.String()+`"`)
		return http.StatusForbidden, "the token does not have the scope " + c.String()
	case closed:
		return http.StatusForbidden, "nobody can do this here: there is no token with the scope " + c.String() + ", set " + variable(c)
	case misnamed:
		return http.StatusForbidden, "without a token the address must have localhost or an IP address, and no other name"
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidearmor"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="sidearmor"`)
		return http.StatusUnauthorized, "a valid token is required, as Authorization: Bearer TOKEN, or as the password in the address"
	}
}
