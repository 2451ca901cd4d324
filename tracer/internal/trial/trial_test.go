package trial

import (
	"fmt"
	"strings"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

const text = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: one}
spec:
  selector: {matchLabels: {app: elsewhere}}
  file:
    matchPaths:
    - path: /etc/passwd
    - {path: /etc/shadow, action: Audit}
    matchDirectories:
    - {dir: /etc/, recursive: true}
    - {dir: /lib/, recursive: true, action: Allow}
    matchPatterns:
    - {pattern: "/etc/*.conf", action: Allow}
  network:
    matchProtocols:
    - protocol: tcp, udp
  action: Block
`

// run gives what is told of accesses, under the posture block.
func run(t *testing.T, accesses ...rules.Access) Report {
	t.Helper()
	docs, err := spolicy.Parse("p.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	tried, err := New(docs, func(docs []spolicy.Document) (*rules.Rules, error) {
		return rules.Compile(docs, spolicy.Target{}, rules.Posture{File: rules.PostureBlock})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range accesses {
		tried.Rules().Decide(&accesses[i])
	}
	report, err := tried.Report()
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestReport(t *testing.T) {
	read := func(path string) rules.Access {
		return rules.Access{Operation: rules.FileRead, Path: path, Source: "/bin/cat"}
	}
	for _, c := range []struct {
		access rules.Access
		want   string
	}{
		{read("/etc/passwd"), "denied by p.yaml:8, else denied by p.yaml:11"},
		{read("/etc/hosts"), "denied by p.yaml:11, else denied by none"}, // the allow list does not name it
		{read("/etc/x.conf"), "passed by p.yaml:14, else denied by p.yaml:11"},
		{read("/lib/x"), "passed by p.yaml:12, else denied by none"},
		{read("/etc/shadow"), "denied by p.yaml:11, else denied by none"}, // Audit decides nothing
		{read("/home/x"), "denied by none"},
		{rules.Access{Operation: rules.Network, SockType: "SOCK_DGRAM", Protocol: "UDP"}, "denied by p.yaml:17, else passed by none"},
	} {
		report := run(t, c.access, c.access)
		if len(report.Decisions) != 1 || report.Decisions[0].Times != 2 {
			t.Errorf("%+v: %+v", c.access, report)
			continue
		}
		d := report.Decisions[0]
		got := d.Outcome + " by none"
		if d.By != nil {
			got = d.Outcome + " by " + d.By.At + ", else " + d.Second + " by "
			if d.Next != nil {
				got += d.Next.At
			} else {
				got += "none"
			}
		}
		if got != c.want {
			t.Errorf("%s%s: %s, want %s", c.access.Path, c.access.Protocol, got, c.want)
		}
	}
}

func TestWhatNoRuleNames(t *testing.T) {
	report := run(t, rules.Access{Operation: rules.Process, Path: "/bin/id"}, rules.Access{Operation: rules.Network, SockType: "SOCK_RAW", Protocol: "ICMP"})
	if len(report.Decisions) != 0 || report.Others != 2 || len(report.Unused) != 7 {
		t.Errorf("%+v", report)
	}
	if got := report.Text(); !strings.Contains(got, "2 decisions were about what no rule names") || !strings.Contains(got, "never asked: p.yaml:8, one: denies opening /etc/passwd") {
		t.Error(got)
	}
}

// What is kept of a run is bounded.
func TestManyDecisions(t *testing.T) {
	accesses := make([]rules.Access, maxDecisions+5)
	for i := range accesses {
		accesses[i] = rules.Access{Operation: rules.FileRead, Path: fmt.Sprint("/home/", i)}
	}
	if report := run(t, accesses...); report.More != 5 || len(report.Decisions) != maxDecisions {
		t.Errorf("%d decisions, %d more", len(report.Decisions), report.More)
	}
}
