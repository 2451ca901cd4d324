package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// containerOf runs the tracer as process 1 of a pid namespace of its own, and gives
// its number outside.
func containerOf(t *testing.T, c *collector, args ...string) (pid string) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := tracer(t, append(append([]string{"run"}, args...), "--", "/bin/sh", "-c", `echo > "$1"; sleep 1000`, "sh", ready)...)
	cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}, cmd.Args...)
	cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, "the workload runs", func() bool { _, err := os.Stat(ready); return err == nil })
	number := strconv.Itoa(cmd.Process.Pid)
	text, err := os.ReadFile("/proc/" + number + "/task/" + number + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// await waits for a condition.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// enter runs a program in the container from outside.
func enter(t *testing.T, pid string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"-t", pid, "-p", "-m", "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // without the terminal of the test
	in, err := cmd.StdinPipe()                           // its end is the program's
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		skip(t, err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// eventually collects events until one is what is looked for.
func (c *collector) eventually(t *testing.T, what string, is func(e *schema.Alert) bool) (found schema.Alert) {
	t.Helper()
	await(t, what, func() bool {
		for _, e := range c.records(t) {
			if is(&e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// Who comes in from outside is told of, with what it starts and executes.
func TestEnteredProcessesAreTold(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	pid := containerOf(t, c, "--visibility", "process")
	enter(t, pid, "/bin/sh", "-c", "sleep 987 & exec cat")
	var sleep, cat schema.Alert
	c.eventually(t, "sleep and cat", func(e *schema.Alert) bool {
		switch {
		case e.EventData["Entered"] != "outside":
		case strings.HasSuffix(e.Resource, "sleep 987"):
			sleep = *e
		case strings.HasSuffix(e.Resource, "cat"):
			cat = *e
		case strings.Contains(e.Resource, "sleep 1000"):
			t.Errorf("the workload's own: %+v", e)
		}
		return sleep.PID != 0 && cat.PID != 0
	})
	if id := sleep.ExecEvent.ExecID; id == "0" || id != cat.ExecEvent.ExecID {
		t.Errorf("one tree: %+v, %+v", sleep.ExecEvent, cat.ExecEvent)
	}
	if sleep.Operation != "Process" || sleep.Result != "Passed" || sleep.PID <= 1 || sleep.ParentProcessName == "" || sleep.UID != 0 {
		t.Errorf("%+v", sleep)
	}
}

// The preset exec is about those with a terminal: it tells of them, or ends them.
func TestPresetExec(t *testing.T) {
	t.Parallel()
	policy := func(action string) string {
		return policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: entered}\nspec:\n  severity: 8\n  presets: [{name: exec, action: "+action+"}]\n")
	}
	terminal := []string{python, "-c", `import pty, sys; sys.exit(pty.spawn(["/bin/sleep", "600"]))`}
	for action, result := range map[string]string{"Audit": "Passed", "Block": "Permission denied"} {
		c := newCollector(t)
		pid := containerOf(t, c, "--visibility", "none", "--policies", policy(action))
		enter(t, pid, "/bin/sleep", "601") // without a terminal
		with := enter(t, pid, terminal...)
		e := c.eventually(t, "an alert of "+action, func(e *schema.Alert) bool { return strings.HasSuffix(e.Resource, "sleep 600") })
		if e.PolicyName != "entered" || e.Action != action || e.Result != result || e.Severity != "8" || e.Enforcer != "PRESET-ExecPreset" || e.TTY == "" {
			t.Errorf("%s: %+v", action, e)
		}
		if action == "Block" {
			if err := with.Wait(); err == nil {
				t.Error("what has a terminal ended by itself")
			}
		}
		processes, err := exec.CommandContext(t.Context(), "nsenter", "-t", pid, "-p", "-m", "--", "ps", "-eo", "args").Output()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(processes, []byte("sleep 601")) || bytes.Contains(processes, []byte("/bin/sleep 600")) != (action == "Audit") {
			t.Errorf("%s: left are\n%s", action, processes)
		}
	}
}
