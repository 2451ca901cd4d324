package access

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func from(address string) *http.Request { return &http.Request{RemoteAddr: address} }

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewRate(100, true) // burst 200
		a, b := from("192.0.2.1:1000"), from("192.0.2.2:1000")
		for i, c := range []struct {
			sleep  time.Duration
			from   *http.Request
			events int
			want   time.Duration
		}{
			{0, a, 0, 0},
			{0, a, 150, 0},
			{0, a, 100, time.Second}, // 50 are left
			{0, a, 50, 0},            // what was refused was not counted
			{0, a, 1, time.Second},
			{0, a, 0, time.Second}, // nothing saved up: not worth to read its body
			{0, b, 200, 0},         // another source is another matter
			{time.Second, a, 100, 0},
			{0, a, 1000, 2 * time.Second}, // more than the burst: needs all of it
			{2 * time.Second, a, 1000, 0},
			{0, a, 0, 9 * time.Second}, // and is paid for: 800 are owed
			{7 * time.Second, a, 0, 2 * time.Second},
			{2 * time.Second, a, 1, 0},
			{0, from("192.0.2.1:2000"), 200, 2 * time.Second}, // the port does not matter
		} {
			time.Sleep(c.sleep)
			if got := l.Take(c.from, c.events); got != c.want {
				t.Errorf("%d: %v, want %v", i, got, c.want)
			}
		}
	})
}

func TestRateSources(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[2001:db8::1]:1", "[2001:db8::2]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2%eth1]:1", true},
		{"@", "", true},
		{"[::1]:1", "[::2]:1", false},
	} {
		l := NewRate(1, false)
		if wait := l.Take(from(c.a), minBurst); wait != 0 {
			t.Errorf("%s: %v", c.a, wait)
		}
		if wait := l.Take(from(c.b), minBurst); (wait > 0) != c.same {
			t.Errorf("%s after %s: %v", c.b, c.a, wait)
		}
	}
	l := NewRate(1, true)
	for _, local := range []string{"127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "@", ""} {
		for range 3 {
			if wait := l.Take(from(local), 10*minBurst); wait != 0 {
				t.Errorf("%s: %v", local, wait)
			}
		}
	}
}

// However many sources there are, only the latest are remembered.
func TestRateForgets(t *testing.T) {
	l := NewRate(1, false)
	first := from("10.0.0.0:1")
	l.Take(first, minBurst)
	for i := 1; i <= maxSources; i++ {
		if wait := l.Take(from(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)), minBurst); wait != 0 {
			t.Fatal(wait)
		}
	}
	if len(l.sources) != maxSources || l.recent.Len() != maxSources {
		t.Errorf("%d sources, %d in order", len(l.sources), l.recent.Len())
	}
	if wait := l.Take(first, minBurst); wait != 0 {
		t.Errorf("the oldest is remembered: %v", wait)
	}
	if wait := l.Take(from("10.0.39.16:1"), 1); wait == 0 { // 10,000
		t.Error("the latest is forgotten")
	}
}
