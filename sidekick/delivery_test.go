package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// channel is a Slack channel that counts what its messages tell of.
type channel struct {
	*httptest.Server
	mu       sync.Mutex
	down     bool
	messages int
	events   map[string]int // by policy
	wake     chan struct{}
}

var (
	counted = regexp.MustCompile(` (\d+) times: `)
	named   = regexp.MustCompile(`policy (p\d+)`)
)

func openChannel(t *testing.T) *channel {
	t.Helper()
	c := &channel{events: map[string]int{}, wake: make(chan struct{}, 1)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		policy := named.FindStringSubmatch(m.Text)
		if c.down || policy == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		n := 1
		if found := counted.FindStringSubmatch(m.Text); found != nil {
			n, _ = strconv.Atoi(found[1])
		}
		c.messages++
		c.events[policy[1]] += n
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *channel) turn(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// wait returns when messages tell of at least n events of each policy, or fails.
func (c *channel) wait(t *testing.T, n, kinds int) (messages int, events map[string]int) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		c.mu.Lock()
		enough := len(c.events) == kinds
		events = map[string]int{}
		for policy, have := range c.events {
			events[policy] = have
			enough = enough && have >= n
		}
		messages = c.messages
		c.mu.Unlock()
		if enough {
			return messages, events
		}
		select {
		case <-c.wake:
		case <-limit:
			t.Fatalf("%d messages tell of %v", messages, events)
		}
	}
}

// burst are n events of each kind, of one key.
func burst(n, kinds int) string {
	var b strings.Builder
	for i := range n * kinds {
		fmt.Fprintf(&b, `{"Type":"MatchedPolicy","PolicyName":"p%d","Operation":"File","Action":"Block","ProcessName":"/bin/cat","Resource":"/etc/%d"}`+"\n", i%kinds, i)
	}
	return b.String()
}

// After an outage a handful of messages tells of every event once.
func TestDigestAfterOutage(t *testing.T) {
	const n, kinds, posts = 1000, 3, 3
	c := openChannel(t)
	c.turn(true)
	s := inside(t, environment(t.TempDir(), "SLACK_WEBHOOKURL="+c.URL, "DIGEST_WINDOW=5s", "SHUTDOWN_TIMEOUT=1m"))
	for i := range posts {
		if status := post(t, s.url, burst(n, kinds), fmt.Sprint("burst-", i)); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	c.turn(false)
	messages, events := c.wait(t, n*posts, kinds)
	for policy, have := range events {
		if have != n*posts {
			t.Errorf("%s: %d events told, want %d", policy, have, n*posts)
		}
	}
	if messages > 4*kinds {
		t.Errorf("%d messages", messages)
	}
	if status := s.stop(); status != 0 || !strings.Contains(s.log.String(), `"output":"slack","alerts_left":0,"logs_left":0`) {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
}

// A kill repeats what was not told yet, and at most the message under way, and loses
// nothing.
func TestDigestsSurviveKill(t *testing.T) {
	const n, kinds = 500, 2
	c := openChannel(t)
	env := environment(t.TempDir(), "SLACK_WEBHOOKURL="+c.URL, "DIGEST_WINDOW=1h", "SHUTDOWN_TIMEOUT=1m")
	s := process(t, env)
	if status := post(t, s.url, burst(n, kinds), "k"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	c.wait(t, 1, kinds)
	s.kill()
	s = process(t, env)
	c.wait(t, 2, kinds)
	if status := s.stop(); status != 0 { // which has open digests told at once
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	_, events := c.wait(t, n, kinds)
	for policy, have := range events {
		if have > 2*n {
			t.Errorf("%s: %d events told, want %d", policy, have, n)
		}
	}
}

func TestHangingReceiverDoesNotHoldUpStop(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	dir := t.TempDir()
	s := inside(t, environment(dir, "WEBHOOK_ADDRESS="+hanging.URL, "SHUTDOWN_TIMEOUT=1s"))
	post(t, s.url, batch("alert", 0, 5), "")
	if status := s.stop(); status != 0 || !strings.Contains(s.log.String(), `"alerts_left":5`) {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	r := receive(t, nil)
	inside(t, environment(dir, "WEBHOOK_ADDRESS="+r.URL))
	r.wait(t, 5)
}

func TestReadyzTellsOfOutputs(t *testing.T) {
	refused := make(chan struct{}, 100)
	r := receive(t, func(int) int { refused <- struct{}{}; return http.StatusBadGateway })
	s := inside(t, environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL, "SLACK_WEBHOOKURL=http://127.0.0.1:9/CANARY"))
	post(t, s.url, event("alert", 1), "")
	<-refused
	<-refused // the first has been noted by now
	resp, err := http.Get(s.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var got struct {
		Status  string
		Outputs map[string]struct{ Status, Reason, Since, Until string }
	}
	if err != nil || json.Unmarshal(body, &got) != nil || resp.StatusCode != http.StatusOK || got.Status != "ok" {
		t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
	w := got.Outputs["webhook"]
	if w.Status != "failing" || w.Reason != "webhook answered 502 Bad Gateway" || w.Since == "" || w.Until == "" {
		t.Errorf("webhook: %+v", w)
	}
	if len(got.Outputs) != 2 || strings.Contains(string(body), "CANARY") {
		t.Errorf("%s", body)
	}
	s.stop()
}
