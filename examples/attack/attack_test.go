package attack

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what is sure to come. The attacks themselves take some seconds.
const patience = 5 * time.Minute

// Each attack succeeds without the tracer, is blocked under it, and tells Slack.
func TestAttack(t *testing.T) {
	for _, program := range []string{"../../bin/tracer", "../../bin/sidekick", "unshare", "ip", "curl", "/usr/bin/python3"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") != "" {
			t.Fatal(err)
		} else if err != nil {
			t.Skipf("%v: \"make deps-test build\" installs and builds it", err)
		}
	}
	if os.Geteuid() != 0 && exec.Command("unshare", "--user", "--map-root-user", "--net", "true").Run() != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("neither root nor user namespaces")
		}
		t.Skip("neither root nor user namespaces: no network of its own can be made")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	saved := t.TempDir()
	cmd := exec.CommandContext(ctx, "./run.sh", "../../bin")
	cmd.Env = append(os.Environ(), "SAVE="+saved)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	rest := out.String()
	for _, want := range []string{
		"dropped program    succeeded  mining as", "reverse shell      succeeded  shell of", "stolen credentials succeeded  {",
		"dropped program    blocked", "reverse shell      blocked", "stolen credentials blocked", "Blocked: ",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is missing, or in the wrong place, in:\n%s", want, &out)
		}
		rest = after
	}
	files, err := filepath.Glob(filepath.Join(saved, "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("Slack got %q, %v", files, err)
	}
	var messages strings.Builder
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages.Write(body)
	}
	for _, want := range []string{
		"/.cache", "`no-dropped-binaries`", "bash tried to connect to 203.0.113.9:4444", "`no-reverse-shells`",
		"curl tried to connect to 169.254.170.2:80", "`no-stolen-credentials`", "shop-7d5b9c6f4-x2x8k",
	} {
		if !strings.Contains(messages.String(), want) {
			t.Errorf("Slack was not told %q:\n%s", want, &messages)
		}
	}
}
