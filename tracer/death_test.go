package main

import (
	"bufio"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The first process of the workload dies with its tracer where that is asked for. Else it
// goes on, and what is held fails.
func TestOnTracerDeath(t *testing.T) {
	t.Parallel()
	for _, choice := range []string{"kill", "fail"} {
		if choice == "fail" && onPtrace() {
			continue // the kernel kills it in any case
		}
		cmd := tracer(t, "run", "--on-tracer-death="+choice, "--policies", blockPolicy(t, "/no/such/file"), "--", python, "-c", `
import os
print(os.getpid(), flush=True)
os.read(0, 1)
try: os.open("/dev/null", os.O_WRONLY); print("opened", flush=True)
except OSError as e: print(e.strerror, flush=True)
os.read(0, 1)`)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close() // ends what is left
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		line, err := lines.ReadString('\n')
		pid, convErr := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || convErr != nil {
			t.Fatalf("%q: %v, %v", line, err, convErr)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Process.Wait(); err != nil {
			t.Fatal(err)
		}
		if choice == "kill" {
			if rest, err := lines.ReadString('\n'); err == nil { // its end of the pipe is closed, too
				t.Errorf("it went on: %q", rest)
			}
			continue
		}
		if _, err := in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); err != nil || line != "Function not implemented\n" {
			t.Errorf("%q, %v: want that the open fails", line, err)
		}
		if err := unix.Kill(pid, 0); err != nil {
			t.Errorf("it is gone: %v", err)
		}
	}
}
