package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs/alertmanager"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// program finds Alertmanager under the names that Debian and its makers give it.
func program(t *testing.T) string {
	for _, name := range []string{"prometheus-alertmanager", "alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "" {
		t.Skip("Alertmanager is not installed (package prometheus-alertmanager)")
	}
	t.Fatal("Alertmanager is not installed (package prometheus-alertmanager)")
	return ""
}

// start runs an Alertmanager of its own and gives its address.
func start(t *testing.T) string {
	t.Helper()
	path, dir := program(t), t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(path, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	base := "http://" + address
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(base + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return base
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Alertmanager does not answer: %v", err)
		}
	}
}

type stored struct {
	Labels, Annotations map[string]string
	Status              struct{ State string }
}

func read(t *testing.T, base string) []stored {
	t.Helper()
	resp, err := http.Get(base + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list []stored
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestReal delivers every event to two real servers and reads back what they
// hold: every alert, active, as it was sent.
func TestReal(t *testing.T) {
	a, b := start(t), start(t)
	o := outputtest.New(t, alertmanager.Kind(), outputtest.Settings{"hostport": a + "," + b, "expiresafter": "600"})
	want := map[string]posted{}
	for _, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
		_, alert := send(t, c.Event, nil)
		want[fmt.Sprint(alert.Labels)] = alert
		for range 2 { // a delivery that is repeated is no second alert
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
	for _, base := range []string{a, b} {
		got := read(t, base)
		if len(got) != len(want) {
			t.Errorf("%d alerts, want %d", len(got), len(want))
		}
		for _, g := range got {
			w, ok := want[fmt.Sprint(g.Labels)]
			if !ok {
				t.Errorf("labels %v were not sent", g.Labels)
				continue
			}
			if diff := cmp.Diff(w.Annotations, g.Annotations); diff != "" || g.Status.State != "active" {
				t.Errorf("state %s, annotations (-sent +held):\n%s", g.Status.State, diff)
			}
		}
	}
}
