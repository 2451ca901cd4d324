package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const policies = "../../examples/policies"

// wantAlerts is what the sample workload is to raise: parts of each message.
var wantAlerts = [][]string{
	{"audit-outbound", "client", "Audit"},
	{"audit-outbound", "curl", "Audit"},
	{"audit-outbound", "python3", "Audit"},
	{"protect-credentials", "python3", "/etc/shadow", "Block"},
	{"block-package-managers", "/usr/bin/apt-get", "Block"},
	{"protect-credentials", "cat", "/etc/shadow", "Block"},
}

func checkAlerts(t *testing.T, where string, got []string) {
	t.Helper()
	for i, want := range wantAlerts {
		if i >= len(got) || !contains(got[i], append(want, "shop")...) {
			t.Errorf("%s: alert %d does not tell %v", where, i, want)
		}
	}
	if len(got) != len(wantAlerts) {
		t.Errorf("%s got %d alerts, want %d", where, len(got), len(wantAlerts))
	}
	if t.Failed() {
		t.Logf("%s:\n%s", where, strings.Join(got, "\n"))
	}
}

func TestWhatTheWorkloadDoesReachesSlackDiscordAndCloudWatch(t *testing.T) {
	onEngines(t, testWhatTheWorkloadDoesIsTold)
}

// onEngines makes a test with each of the tracer's engines.
func onEngines(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, engine := range []string{"notify", "ptrace"} {
		t.Run(engine, func(t *testing.T) {
			t.Setenv(engineVariable, engine)
			test(t)
		})
	}
}

// engineVariable chooses the tracer's engine.
const engineVariable = "TRACER_ENGINE"

func testWhatTheWorkloadDoesIsTold(t *testing.T) {
	slack, discord, aws := newChat(t, 200), newChat(t, 204), startCloudWatch(t)
	s := startSidekick(t, append(aws.env(), "SLACK_WEBHOOKURL="+slack.URL, "DISCORD_WEBHOOKURL="+discord.URL, "DIGEST_WINDOW=0")...)
	workload := shop(t)

	plain := runCommand(t, nil, workload...)
	got := traced(t, s.url(), policies, workload...)
	if got.stdout != plain.stdout || got.code != plain.code || got.code != 7 {
		t.Errorf("traced: %+v\nwithout: %+v", got, plain)
	}
	if !strings.Contains(got.stderr, "Permission denied") {
		t.Errorf("nothing was denied: %s", got.stderr)
	}
	n := len(wantAlerts)
	eventually(t, func() (bool, string) {
		state := fmt.Sprintf("Slack has %d alerts, Discord %d; want %d", len(slack.received()), len(discord.received()), n)
		return len(slack.received()) >= n && len(discord.received()) >= n && (aws == nil || len(alertsOf(t, aws.events(t))) >= n), state
	})
	d := &drill{T: t, s: s}
	if name := fmt.Sprintf("sidearmor_tracer_events_total{engine=%q}", os.Getenv(engineVariable)); d.metrics()[name] < n {
		t.Errorf("%s is %d, want at least %d", name, d.metrics()[name], n)
	}
	s.stop() // an alert too many would have come by its end
	checkAlerts(t, "Slack", slack.received())
	checkAlerts(t, "Discord", discord.received())
	if aws != nil {
		checkAlerts(t, "CloudWatch Logs", alertsOf(t, aws.events(t)))
	}
}

func TestOutputIsByteIdenticalWithoutPolicies(t *testing.T) {
	onEngines(t, testOutputIsByteIdentical)
}

func testOutputIsByteIdentical(t *testing.T) {
	s := startSidekick(t)
	workload := shop(t)
	plain := runCommand(t, nil, workload...)
	got := traced(t, s.url(), emptyDir(t), workload...)
	if got != plain {
		t.Errorf("traced: %+v\nwithout: %+v", got, plain)
	}
}

func emptyDir(t *testing.T) string {
	t.Helper()
	// A directory without a policy would be refused: one that matches nothing.
	dir := t.TempDir()
	doc := "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: unused}\nspec: {file: {matchPaths: [{path: /no/such/file}]}, action: Audit}\n"
	if err := os.WriteFile(filepath.Join(dir, "unused.yaml"), []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The sidekick is killed and started again while alerts come in: every alert
// still arrives, in order. One that was being delivered at that moment may
// arrive a second time.
func TestNothingIsLostWhenTheSidekickIsKilled(t *testing.T) {
	const count = 120
	dir := t.TempDir()
	for i := range count {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("secret-%03d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	doc := fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: secrets}\nspec: {file: {matchDirectories: [{dir: %s/, recursive: true}]}, action: Block}\n", dir)
	if err := os.WriteFile(policy, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	hook := newChat(t, 200)
	s := startSidekick(t, "WEBHOOK_ADDRESS="+hook.URL, "WEBHOOK_LOGS=false")

	// The workload says how far it has come, and goes on at 40 and 80 when it may.
	at, done := t.TempDir(), make(chan result, 1)
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do
case $i in 40|80) until [ -e %[3]s/go-$i ]; do sleep 0.02; done;; esac
cat %[2]s/secret-$(printf %%03d $i); i=$((i+1)); : >%[3]s/made-$i; done 2>/dev/null; exit 3`, count, dir, at)
	go func() { done <- traced(t, s.url(), policy, "/bin/sh", "-c", script) }()
	for _, next := range []int{40, 80} {
		seen := next - 30
		eventually(t, func() (bool, string) {
			return len(hook.received()) >= seen, fmt.Sprintf("the webhook has %d alerts", len(hook.received()))
		})
		s.kill()
		if err := os.WriteFile(filepath.Join(at, fmt.Sprint("go-", next)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() (bool, string) { // these wait in the tracer
			_, err := os.Stat(filepath.Join(at, fmt.Sprint("made-", next+40)))
			return err == nil, fmt.Sprint("the workload has not made its next alerts: ", err)
		})
		s.start()
	}
	if got := <-done; got.code != 3 {
		t.Errorf("%+v, want exit 3", got)
	}
	last := fmt.Sprintf("secret-%03d", count-1)
	eventually(t, func() (bool, string) {
		got := hook.received()
		return len(got) > 0 && contains(got[len(got)-1], last), fmt.Sprintf("the webhook has %d alerts, not the last one", len(got))
	})
	checkOrder(t, hook.received(), count)
}

// checkOrder fails unless each secret is told of, in order, and at most two twice.
func checkOrder(t *testing.T, alerts []string, count int) {
	t.Helper()
	next, again := 0, 0
	for _, m := range alerts {
		switch {
		case contains(m, fmt.Sprintf("secret-%03d", next)):
			next++
		case next > 0 && contains(m, fmt.Sprintf("secret-%03d", next-1)):
			again++
		default:
			t.Fatalf("after secret-%03d came %s", next-1, m)
		}
	}
	if next != count || again > 2 {
		t.Errorf("%d of %d alerts, %d of them twice, for two kills", next, count, again)
	}
}
