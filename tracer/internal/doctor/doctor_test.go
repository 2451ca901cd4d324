package doctor

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "wait" {
		if Wait(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func find(t *testing.T, r Report, name string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %q in %+v", name, r.Findings)
	return Finding{}
}

func TestExamine(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v4/id/task" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	r := Examine(t.Context(), Options{
		Version: "v", Self: "/proc/self/exe", Child: []string{"wait"}, Sidekick: server.URL + "/",
		Environ: []string{"ECS_CONTAINER_METADATA_URI_V4=" + server.URL + "/v4/id"},
	})
	if !r.Ready {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{
		"kernel", "user notification", "let a held call run", "give a descriptor", "ptrace", "read a process's memory",
		"sidekick at " + server.URL + "/", "ECS task metadata",
	} {
		if f := find(t, r, name); f.State != Works || f.Effect != "" {
			t.Errorf("%+v", f)
		}
	}
	if os.Getuid() == 0 {
		if f := find(t, r, "look into another user's process"); f.State != Works {
			t.Errorf("%+v", f)
		}
	}
}

// What is missing is told with its consequence, and nothing breaks.
func TestExamineWhereLittleIsThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	r := Examine(t.Context(), Options{Self: "/nonexistent", Sidekick: address, Environ: []string{"ECS_CONTAINER_METADATA_URI_V4=" + address}})
	for name, want := range map[string]State{"ptrace": Unknown, "pidfd_getfd": Unknown, "sidekick at " + address: NotSupported, "ECS task metadata": NotSupported} {
		if f := find(t, r, name); f.State != want || f.Detail == "" || f.Effect == "" {
			t.Errorf("%+v, want %s", f, want)
		}
	}
	if text := r.Text(); !strings.Contains(text, "What follows:\n- ") || !strings.Contains(text, "connection refused") {
		t.Error(text)
	}
}

// A capability that is taken away is seen to be, and said.
func TestMissingCapability(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, to have capabilities that can be given up")
		}
		t.Skip("needs root, to have capabilities that can be given up")
	}
	done := make(chan []Finding)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		var d [2]unix.CapUserData
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if unix.Capget(&head, &d[0]) == nil {
			d[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
			_ = unix.Capset(&head, &d[0])
		}
		done <- capabilities()
	}()
	for _, f := range <-done {
		if want := f.Name != "capability SYS_PTRACE"; (f.State == Works) != want || (f.Effect == "") != want {
			t.Errorf("%+v", f)
		}
	}
}
