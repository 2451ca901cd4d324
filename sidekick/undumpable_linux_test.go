package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUndumpable, set in the environment, makes the test binary say whether it can be
// dumped once its memory is hidden.
const asUndumpable = "SIDEARMOR_SIDEKICK_UNDUMPABLE"

// TestUndumpable: a crash leaves no core file with secrets in it.
func TestUndumpable(t *testing.T) {
	if os.Getenv(asUndumpable) != "" {
		prepare(os.Getenv)
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil || dumpable != 0 {
			t.Errorf("dumpable: %d, %v", dumpable, err)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUndumpable$", "-test.v")
	cmd.Env = append(os.Environ(), asUndumpable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUndumpable") {
		t.Errorf("%v:\n%s", err, out)
	}
}
