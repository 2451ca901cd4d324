package policies

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// hub is a hub and what it said in its log.
type hub struct {
	*Hub
	log bytes.Buffer
}

func newHub(t *testing.T, target spolicy.Target) *hub {
	t.Helper()
	h := &hub{}
	var err error
	h.Hub, err = New(Options{Target: target, Log: slog.New(slog.NewJSONHandler(&h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// said gives the lines of the log since the last call, each as its level, its
// message and the values of the given keys, and without the summary.
func (h *hub) said(t *testing.T, keys ...string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(h.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == "policies in force" {
			continue
		}
		parts := []string{fmt.Sprint(m["level"]), fmt.Sprint(m["msg"])}
		for _, k := range keys {
			if v, ok := m[k]; ok {
				parts = append(parts, fmt.Sprint(v))
			}
		}
		lines = append(lines, strings.Join(parts, " | "))
	}
	h.log.Reset()
	return lines
}

func parse(t *testing.T, name, text string) []spolicy.Document {
	t.Helper()
	docs, err := spolicy.Parse(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// blocking is a policy that blocks one file, for what its selector says.
func blocking(t *testing.T, origin, name, file, selector string) []spolicy.Document {
	t.Helper()
	return parse(t, origin, fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: %s}\nspec: {selector: %s, file: {matchPaths: [{path: %s}]}, action: Block}\n", name, selector, file))
}

func (h *hub) denies(path string) bool {
	return h.Rules().Decide(&rules.Access{Operation: rules.FileRead, Path: path}).Deny
}

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNewRefusesPosture(t *testing.T) {
	if _, err := New(Options{Posture: rules.Posture{File: "deny"}, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a posture that does not exist was taken")
	}
}

func TestSetReplacesTheSource(t *testing.T) {
	h := newHub(t, spolicy.Target{})
	if h.Rules() == nil || h.Generation() != 0 {
		t.Fatal("no rules before the first policies")
	}
	h.Set("dir", slices.Concat(blocking(t, "a.yaml", "a", "/a", "{}"), blocking(t, "b.yaml", "b", "/b", "{}")))
	if !h.denies("/a") || !h.denies("/b") || h.Generation() != 1 {
		t.Error("the policies are not in force")
	}
	old := h.Rules()
	h.Set("dir", blocking(t, "b.yaml", "b", "/b", "{}"))
	if h.denies("/a") || !h.denies("/b") || h.Generation() != 2 {
		t.Error("the policies were not replaced")
	}
	if !old.Decide(&rules.Access{Operation: rules.FileRead, Path: "/a"}).Deny {
		t.Error("rules that were handed out changed")
	}
	expect(t, "log", h.said(t, "policy", "at"), []string{
		"INFO | a policy selects this container | a | a.yaml:1",
		"INFO | a policy selects this container | b | b.yaml:1",
		"INFO | a policy has been taken away | a",
	})
	h.Set("dir", nil)
	h.Set("dir", nil)
	expect(t, "log", h.said(t, "policy", "from"), []string{"WARN | there are no policies | dir", "INFO | a policy has been taken away | b"})
}

func TestLaterSourceWins(t *testing.T) {
	h := newHub(t, spolicy.Target{})
	h.Set("dir", slices.Concat(blocking(t, "a.yaml", "p", "/a", "{}"), blocking(t, "a.yaml", "q", "/q", "{}")))
	h.Set("sidekick", slices.Concat(blocking(t, "x", "p", "/x", "{}"), blocking(t, "y", "p", "/y", "{}")))
	if h.denies("/a") || h.denies("/x") || !h.denies("/y") || !h.denies("/q") {
		t.Error("not the later of the policies with one name is in force")
	}
	h.Set("dir", blocking(t, "a.yaml", "p", "/a", "{}")) // stays the earlier source
	if h.denies("/a") || h.denies("/q") || !h.denies("/y") {
		t.Error("the order of the sources changed")
	}
	expect(t, "log", h.said(t, "policy", "at", "by"), []string{
		"INFO | a policy selects this container | p | a.yaml:1",
		"INFO | a policy selects this container | q | a.yaml:1",
		"WARN | a policy is replaced by a later one of the same name | p | a.yaml:1 | y:1",
		"WARN | a policy is replaced by a later one of the same name | p | x:1 | y:1",
		"INFO | a policy selects this container | p | y:1",
		"INFO | a policy has been taken away | q",
	})
	h.Set("sidekick", nil)
	if !h.denies("/a") || h.denies("/y") {
		t.Error("the earlier source does not count again")
	}
}

func TestSetTargetSelectsAnew(t *testing.T) {
	h := newHub(t, spolicy.Target{Container: "web", Labels: map[string]string{"app": "api"}, From: spolicy.Sources{Labels: "POD_LABELS"}})
	h.Set("dir", slices.Concat(blocking(t, "a.yaml", "p", "/a", "{matchLabels: {app: web}}"), blocking(t, "b.yaml", "n", "/n", "{matchLabels: {kubearmor.io/container.name: db}}")))
	if h.denies("/a") {
		t.Error("denied by a policy of another container")
	}
	expect(t, "log", h.said(t, "policy", "at", "why"), []string{
		`WARN | a policy does not select this container | p | a.yaml:1 | it selects the label app="web", this container's is "api" (from POD_LABELS)`,
		`WARN | a policy does not select this container | n | b.yaml:1 | it selects the container name db, this container's is "web"`,
	})
	h.SetTarget(spolicy.Target{Container: "web", Labels: map[string]string{"app": "web"}})
	if !h.denies("/a") || h.denies("/n") || h.Generation() != 2 {
		t.Error("not selected anew")
	}
	h.SetTarget(spolicy.Target{Container: "web", Labels: map[string]string{"app": "web"}})
	if h.Generation() != 2 {
		t.Error("nothing changed, and yet there is a new generation")
	}
	expect(t, "log", h.said(t, "policy", "at"), []string{"INFO | a policy selects this container | p | a.yaml:1"})
}

func TestWhatIsNotEnforcedIsSaidOnce(t *testing.T) {
	docs := parse(t, "p.yaml", `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: p}
spec:
  process: {matchDirectories: [{dir: /usr/bin}]}
  capabilities: {matchCapabilities: [{capability: sys_nice}]}
  syscalls: {matchSyscalls: [{syscall: [getpid]}]}
  action: Block
`)
	h := newHub(t, spolicy.Target{})
	h.Set("dir", docs)
	expect(t, "log", h.said(t, "policy", "at", "section", "what"), []string{
		`WARN | a policy may not mean what it says | p | p.yaml:1 | p.yaml:5: dir "/usr/bin" should end in /`,
		"INFO | a policy selects this container | p | p.yaml:1",
		"ERROR | a Block rule is not enforced | p | p.yaml:1 | capabilities.matchCapabilities",
		"WARN | a part of a policy is not enforced | p | p.yaml:1 | syscalls",
	})
	h.Set("dir", docs)
	h.Set("other", blocking(t, "q.yaml", "q", "/q", "{}"))
	expect(t, "log", h.said(t, "policy"), []string{"INFO | a policy selects this container | q"})
}

func TestHold(t *testing.T) {
	elsewhere := blocking(t, "a.yaml", "a", "/a", "{matchLabels: {app: other}}")
	writers := blocking(t, "b.yaml", "b", "/b", "{}")
	writers[0].File[0].ReadOnly = true
	for _, c := range []struct {
		name           string
		docs           []spolicy.Document
		visible, asked rules.Operation
		live           bool
		want           rules.Operation
	}{
		{name: "nothing"},
		{name: "what is visible", visible: rules.Process | rules.FileWrite, want: rules.Process | rules.FileWrite},
		{name: "policies, also those of other containers", docs: elsewhere, want: rules.Process | rules.File},
		{name: "policies about writing", docs: writers, want: rules.Process | rules.FileWrite},
		{name: "live sources may bring anything", docs: writers, live: true, want: rules.All | rules.NetworkSend},
		{name: "live sources, but asked for less", docs: writers, live: true, asked: rules.Network, want: rules.Process | rules.FileWrite | rules.Network},
		{name: "asked for more", visible: rules.Process, asked: rules.File, want: rules.Process | rules.File},
	} {
		h := newHub(t, spolicy.Target{})
		h.Set("dir", c.docs)
		if got := h.Hold(c.visible, c.asked, c.live); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.Words(), c.want.Words())
		}
	}
}

func TestRulesBeyondTheFilterAreSaid(t *testing.T) {
	h := newHub(t, spolicy.Target{})
	h.Hold(rules.Process, rules.Network, true)
	h.Set("sidekick", blocking(t, "a", "a", "/a", "{}"))
	if got := h.said(t, "operations"); len(got) != 2 || !strings.HasPrefix(got[1], "ERROR | rules are not enforced") || !strings.HasSuffix(got[1], "| file") {
		t.Errorf("log %q", got)
	}
}

func pending(facts spolicy.Facts) spolicy.Target {
	return spolicy.Target{Container: "host", Pending: facts, From: spolicy.Sources{Labels: "the ECS metadata", Container: "the ECS metadata"}}
}

func TestAwaitNothing(t *testing.T) {
	for name, selector := range map[string]string{"no policies": "", "one for all": "{}", "one by a known name": "{matchLabels: {kubearmor.io/container.name: web}}"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, spolicy.Target{Container: "web", Pending: spolicy.FactLabels})
			if selector != "" {
				h.Set("dir", blocking(t, "a.yaml", "a", "/a", selector))
			}
			begin := time.Now()
			if err := h.Await(t.Context(), time.Minute, false); err != nil || time.Since(begin) != 0 {
				t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			}
		})
	}
}

func TestAwaitUntilItIsKnown(t *testing.T) {
	for label, denied := range map[string]bool{"web": true, "db": false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, pending(spolicy.FactContainer|spolicy.FactLabels))
			h.Set("dir", blocking(t, "a.yaml", "a", "/a", "{matchLabels: {app: web, kubearmor.io/container.name: c}}"))
			begin := time.Now()
			go func() {
				time.Sleep(time.Second)
				h.SetTarget(spolicy.Target{Container: "c", Pending: spolicy.FactLabels})
				time.Sleep(time.Second)
				h.SetTarget(spolicy.Target{Container: "c", Labels: map[string]string{"app": label}})
			}()
			if err := h.Await(t.Context(), time.Minute, false); err != nil || time.Since(begin) != 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			if h.denies("/a") != denied {
				t.Errorf("label %s: denied is %v", label, !denied)
			}
		})
	}
}

func TestAwaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, pending(spolicy.FactLabels))
		h.Set("dir", blocking(t, "a.yaml", "a", "/a", "{matchLabels: {app: web}}"))
		h.Expect("http://sidekick")
		h.said(t)
		begin := time.Now()
		err := h.Await(t.Context(), 30*time.Second, false)
		if err == nil || time.Since(begin) != 30*time.Second {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
		for _, want := range []string{"30s", "policy a (a.yaml:1)", "labels from the ECS metadata", "policies from http://sidekick", "--policy-timeout", "TRACER_POLICY_TIMEOUT", "--on-missing-policy=run", "TRACER_ON_MISSING_POLICY"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		if err := h.Await(t.Context(), 5*time.Second, true); err != nil {
			t.Error(err)
		}
		got := h.said(t, "after")
		want := []string{"INFO | the start waits for what policies depend on", "INFO | the start waits for what policies depend on", "WARN | the workload starts without policies that may be meant for it | 5s"}
		expect(t, "log", got, want)
		h.SetTarget(spolicy.Target{Labels: map[string]string{"app": "web"}})
		if !h.denies("/a") {
			t.Error("the policy does not apply once it is known to")
		}
	})
}

func TestAwaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, spolicy.Target{})
		h.Expect("sidekick")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Await(ctx, time.Minute, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAwaitSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, spolicy.Target{})
		h.Expect("sidekick")
		go func() {
			time.Sleep(time.Second)
			h.Set("sidekick", nil) // none is an answer
		}()
		if err := h.Await(t.Context(), time.Minute, false); err != nil {
			t.Error(err)
		}
	})
}

func TestHubConcurrently(t *testing.T) {
	h := newHub(t, spolicy.Target{})
	docs := blocking(t, "a.yaml", "a", "/a", "{}")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 50 {
				h.Set(fmt.Sprint(i), docs)
				h.SetTarget(spolicy.Target{Container: fmt.Sprint(i, j)})
				if !h.denies("/a") {
					t.Error("a moment without rules")
				}
			}
		})
	}
	all.Wait()
}
