package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secretFile makes a file that policies are about.
func secretFile(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "secret")
	if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// always fails unless every open of some is as wanted.
func (o *opener) always(name string, opens bool) {
	o.t.Helper()
	for range 3 {
		if o.opens(name) != opens {
			o.t.Fatalf("whether the workload can open %s is %v", name, !opens)
		}
	}
}

// checkLive fails unless a policy that is applied is in force at the running workload's
// next calls, is told of in Slack, survives the loss of the sidekick, and goes again.
func checkLive(t *testing.T, s *sidekick, slack *chat, w *opener, file string, apply, away, back, remove func()) {
	t.Helper()
	if !w.opens(file) {
		t.Fatal("the file is denied without a policy")
	}
	begin := time.Now()
	apply()
	w.until(file, false)
	denied := time.Since(begin)
	eventually(t, func() (bool, string) {
		got := slack.received()
		return len(got) > 0 && contains(got[0], "block-secret", file, "Block"), fmt.Sprintf("Slack has %d messages: %s", len(got), strings.Join(got, "\n"))
	})
	t.Logf("denied %v after the policy was applied, in Slack after %v", denied, time.Since(begin))

	away()
	s.kill()
	w.always(file, false)
	s.start()
	w.always(file, false)
	back()
	w.always(file, false)
	begin = time.Now()
	remove()
	w.until(file, true)
	t.Logf("opened %v after the policy was removed", time.Since(begin))
}
