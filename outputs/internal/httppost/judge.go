package httppost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// maxWait bounds what a service can ask for, so that a wrong header does not
// silence an output for a day.
const maxWait = time.Hour

// Judge says what a status means: ok for 2xx, else the class of the failure.
//
// Only what is wrong with the events themselves is Permanent. An address that was
// revoked or rotated, credentials that ended, a method or payment that is missing,
// and a redirect, which is not followed, are what somebody has to put right: they
// are Transient, so that the events wait until then.
func Judge(status int) (class outputs.Class, ok bool) {
	switch {
	case status >= 200 && status <= 299:
		return outputs.Transient, true
	case status == http.StatusTooManyRequests:
		return outputs.RateLimited, false
	case status >= 400 && status <= 499 && !mayPass(status):
		return outputs.Permanent, false
	}
	return outputs.Transient, false
}

// mayPass says of a status 4xx that it is about the address, or about the moment.
func mayPass(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone,
		http.StatusRequestTimeout, http.StatusTooEarly:
		return true
	}
	return false
}

// page is how a web page begins.
var page = regexp.MustCompile(`(?i)^\x{FEFF}?\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head)\b`)

func isPage(body []byte) bool { return page.Match(body) }

// RetryAfter reads the Retry-After header: seconds, whole or not (Discord), or
// a date (RFC 9110 10.2.3). 0 when there is none that can be used; at most an
// hour.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return Seconds(seconds)
	}
	if when, err := http.ParseTime(value); err == nil {
		return min(max(when.Sub(now), 0), maxWait)
	}
	return 0
}

// Seconds turns a service's number of seconds into a wait: 0 when it is not a
// positive number, at most an hour.
func Seconds(s float64) time.Duration {
	switch {
	case math.IsNaN(s), s <= 0:
		return 0
	case s >= maxWait.Seconds():
		return maxWait
	}
	return time.Duration(s * float64(time.Second))
}

var address = regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>]*`)

// quoted is what net/http repeats of an answer that is not HTTP. A server of another
// protocol may repeat the request in it, credentials and all.
var quoted = regexp.MustCompile(`(?s)(malformed (?:HTTP|MIME)[^:"]*?|bad Content-Length|unsupported transfer encoding|too many transfer encodings):? ?["\[:].*`)

// Redact gives an error with the text of err without any address, since the
// address of a webhook is its credential, and without what an answer that is not
// HTTP holds. Only context errors can be found in
// its chain: the *url.Error in the original would print the address again.
func Redact(err error) error {
	text := err.Error()
	if ue, ok := errors.AsType[*url.Error](err); ok {
		text = ue.Err.Error()
	}
	text = quoted.ReplaceAllString(address.ReplaceAllString(text, "(address)"), "$1")
	return &redacted{text: text, cause: contextError(err)}
}

type redacted struct {
	text  string
	cause error
}

func (r *redacted) Error() string { return r.text }
func (r *redacted) Unwrap() error { return r.cause }

func contextError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return nil
}

// CheckURL says whether raw can be posted to. name is what the user called it;
// the error does not repeat the value, which is a credential.
func CheckURL(name, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s: not an http or https address", name)
	}
	return nil
}

// quietProxy keeps the address of a broken proxy setting, which may hold a
// password, out of the error.
func quietProxy(proxy func(*url.URL) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		u, err := proxy(req.URL)
		if err != nil {
			return nil, errors.New("the proxy address in HTTP_PROXY or HTTPS_PROXY is not valid")
		}
		return u, nil
	}
}
