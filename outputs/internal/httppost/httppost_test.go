package httppost_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"12":                            12 * time.Second,
		"0.5":                           500 * time.Millisecond,
		"-1":                            0,
		"3601":                          time.Hour,
		"1e300":                         time.Hour,
		"Inf":                           time.Hour,
		"NaN":                           0,
		"Wed, 04 Mar 2026 05:07:07 GMT": time.Minute,
		"Wed, 04 Mar 2026 05:05:07 GMT": 0,
		"Thu, 05 Mar 2026 05:07:07 GMT": time.Hour,
		"later":                         0,
	} {
		if got := httppost.RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// A web page is no answer of a service, unless it says so.
func TestWebPage(t *testing.T) {
	var answer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html") // Slack answers a plain ok so
		_, _ = w.Write([]byte(answer))
	}))
	defer srv.Close()
	for text, page := range map[string]bool{
		"": false, "ok": false, "{}": false, "<ok/>": false, "1 <html>": false, "<htmlish>": false,
		"<?xml version='1.0'?><response/>": false,
		"<html>":                           true, "<HTML lang=en>": true, "\r\n <!DOCTYPE html>\n<html>": true, "<!doctype HTML PUBLIC x>": true,
		"\ufeff<!DOCTYPE html>": true, "<!-- --><html>": false, "<?xml version='1.0'?>\n<!DOCTYPE html>": true, "<head><title>Sign in": true,
		"<html>" + strings.Repeat("x", 1<<20): true,
	} {
		answer = text
		for _, taken := range []bool{false, true} {
			c := httppost.New(httppost.Options{Service: "service", URL: secret.New(srv.URL), Pages: taken})
			err := c.Send(t.Context(), []byte("{}"))
			e, failed := errors.AsType[*outputs.Error](err)
			if failed != (page && !taken) || failed && e.Class != outputs.Transient {
				t.Errorf("%.40q, taken %v: %v", text, taken, err)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	const address = "https://hooks.example/services/T0/B0/s3cr3t?token=s3cr3t"
	for name, err := range map[string]error{
		"url error":     &url.Error{Op: "Post", URL: address, Err: errors.New("connection refused")},
		"wrapped":       fmt.Errorf("post: %w", &url.Error{Op: "Post", URL: address, Err: errors.New("EOF")}),
		"in the text":   fmt.Errorf(`Get "%s": dial tcp: no route`, address),
		"nested":        &url.Error{Op: "Post", URL: address, Err: fmt.Errorf("proxy: %s", address)},
		"upper case":    errors.New(strings.ToUpper("https:") + "//u:s3cr3t@host/"),
		"in angle":      errors.New("see <" + address + ">"),
		"several times": errors.New(address + " " + address),
	} {
		got := httppost.Redact(err)
		for _, format := range []string{"%v", "%+v", "%#v"} {
			if text := fmt.Sprintf(format, got); strings.Contains(text, "s3cr3t") {
				t.Errorf("%s: %s", name, text)
			}
		}
		if _, ok := errors.AsType[*url.Error](got); ok {
			t.Errorf("%s: the address is still in the chain", name)
		}
	}
	if err := httppost.Redact(&url.Error{Op: "Post", URL: address, Err: context.DeadlineExceeded}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no deadline any more", err)
	}
}

func TestCheckURL(t *testing.T) {
	for raw, good := range map[string]bool{
		"https://a/b": true, "http://127.0.0.1:80": true, "HTTPS://A": true,
		"": false, "a/b": false, "ftp://a": false, "https://": false, "https://:80/": false, "http://%zz": false, "://": false, "http://a b": false,
	} {
		err := httppost.CheckURL("X_URL", raw)
		if (err == nil) != good {
			t.Errorf("%q: %v", raw, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "X_URL: ") || (raw != "" && strings.Contains(err.Error(), raw))) {
			t.Errorf("%q: error text %q", raw, err)
		}
	}
}

// TestProxy: the environment's proxy is used, and a broken one is not shown.
func TestProxy(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer proxy.Close()
	t.Setenv("NO_PROXY", "")
	t.Setenv("HTTP_PROXY", proxy.URL)
	c := httppost.New(httppost.Options{Service: "test", URL: secret.New("http://service.invalid/x")})
	if err := c.Send(t.Context(), nil); err != nil || asked != "http://service.invalid/x" {
		t.Errorf("the proxy was asked for %q, error %v", asked, err)
	}
	t.Setenv("HTTP_PROXY", "http://user:s3cr3t@%zz/")
	c = httppost.New(httppost.Options{Service: "test", URL: secret.New("http://service.invalid/x")})
	if err := c.Send(t.Context(), nil); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("broken proxy: %v", err)
	}
}

// TestConnectionIsKept: answers are read to their end, so that one connection
// serves all requests.
func TestConnectionIsKept(t *testing.T) {
	connections := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		if len(r.URL.RawQuery) > 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write(make([]byte, 20<<10))
	}))
	defer srv.Close()
	c := httppost.New(httppost.Options{Service: "test", URL: secret.New(srv.URL)})
	for range 5 {
		_ = c.Send(t.Context(), []byte("{}"))
	}
	if len(connections) != 1 {
		t.Errorf("%d connections", len(connections))
	}
}

func TestEach(t *testing.T) {
	permanent := &outputs.Error{Class: outputs.Permanent, Err: errors.New("no")}
	limited := &outputs.Error{Class: outputs.RateLimited, RetryAfter: time.Second, Err: errors.New("slow")}
	for name, tt := range map[string]struct {
		results []error
		calls   int
		class   outputs.Class
		failed  []int
		fails   bool
	}{
		"all well":               {[]error{nil, nil, nil}, 3, 0, nil, false},
		"one refused":            {[]error{nil, permanent, nil}, 3, outputs.Permanent, []int{1}, true},
		"all refused":            {[]error{permanent, permanent, permanent}, 3, outputs.Permanent, []int{0, 1, 2}, true},
		"ends early":             {[]error{nil, limited, nil}, 2, outputs.RateLimited, []int{1, 2}, true},
		"refused, then an end":   {[]error{permanent, nil, limited, nil}, 3, outputs.RateLimited, []int{0, 2, 3}, true},
		"error of another type":  {[]error{errors.New("x"), nil}, 1, outputs.Transient, []int{0, 1}, true},
		"refused, last too late": {[]error{nil, limited}, 2, outputs.RateLimited, []int{1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := httppost.Each(t.Context(), make([]schema.Event, len(tt.results)), func(context.Context, *schema.Event) error {
				calls++
				return tt.results[calls-1]
			})
			if calls != tt.calls || (err != nil) != tt.fails {
				t.Fatalf("%d calls, %v", calls, err)
			}
			if e, ok := errors.AsType[*outputs.Error](err); tt.fails && (!ok || e.Class != tt.class || !reflect.DeepEqual(e.Failed, tt.failed)) {
				t.Errorf("got %#v", err)
			}
		})
	}
	if permanent.Failed != nil || limited.Failed != nil {
		t.Error("an error that was handed in has been changed")
	}
}
