package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A policy that is changed ten times a second, while the workload opens files without a
// pause, never leaves a moment without it, nor denies what no version denies; and what
// it denied is counted.
func TestSwapsUnderLoad(t *testing.T) {
	const swaps, pause = 50, 100 * time.Millisecond
	s := startSidekick(t, "AUTH_TOKEN="+postToken, "AUTH_TOKEN_ADMIN="+adminToken)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]string{}
	for _, name := range []string{"secret", "free", "even", "odd"} {
		file[name] = filepath.Join(dir, name)
		if err := os.WriteFile(file[name], []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	version := func(i int) string {
		also := file[[]string{"even", "odd"}[i%2]]
		return strings.Replace(blockFile("p", file["secret"]), "    - path: ", "    - path: "+also+"\n    - path: ", 1)
	}
	o := startOpener(t, s)
	admin(t, s, http.MethodPut, "policies/ksp/p", version(0), 201)
	o.until(file["secret"], false)

	stop, done := make(chan struct{}), make(chan string)
	opened := 0
	go func() {
		wrong := ""
		defer func() { done <- wrong }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for name, want := range map[string]string{"secret": "denied\n", "free": "opened\n"} {
				if _, err := fmt.Fprintln(o.in, file[name]); err != nil {
					wrong += err.Error()
					return
				}
				if got, err := o.out.ReadString('\n'); got != want || err != nil {
					wrong += fmt.Sprintf("%s: %q, %v; ", name, got, err)
				}
				opened++
			}
		}
	}()
	for i := range swaps {
		time.Sleep(pause)
		admin(t, s, http.MethodPut, "policies/ksp/p", version(i+1), 200)
	}
	close(stop)
	if wrong := <-done; wrong != "" {
		t.Errorf("wrong: %s", wrong)
	}
	t.Logf("%d opens while the policy changed %d times", opened, swaps)
	o.until(file[[]string{"even", "odd"}[swaps%2]], false)
	o.until(file[[]string{"even", "odd"}[(swaps+1)%2]], true)
	eventually(t, func() (bool, string) {
		text := string(admin(t, s, http.MethodGet, "metrics", "", 200))
		const counted = `sidearmor_policy_decisions_total{mode="enabled",policy="p",policy_namespace="",result="denied"} `
		_, value, found := strings.Cut(text, counted)
		return found && !strings.HasPrefix(value, "0"), text
	})
}
