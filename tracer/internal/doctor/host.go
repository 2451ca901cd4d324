package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/launch"
)

// patience bounds each attempt that asks somebody.
const patience = 3 * time.Second

// kernel tells what is known without an attempt.
func kernel() []Finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return []Finding{attempt("kernel", fmt.Errorf("%w: %w", errCannotTell, err), "")}
	}
	found := []Finding{{Name: "kernel", State: Works, Detail: unix.ByteSliceToString(u.Release[:]) + " " + runtime.GOARCH}}
	seccomp := Finding{Name: "seccomp filters above this one", State: Unknown}
	if n := status("Seccomp_filters"); n != "" {
		seccomp.State, seccomp.Detail = Works, n
	}
	nnp := Finding{Name: "setuid programs elevate", State: Works}
	if status("NoNewPrivs") == "1" || !launch.Can(unix.CAP_SYS_ADMIN) {
		nnp.State, nnp.Detail = NotSupported, "no_new_privs is set, or will be: a filter without SYS_ADMIN needs it"
		nnp.Effect = "Programs such as sudo, su and ping with file capabilities run without gaining anything."
	}
	return append(found, seccomp, nnp)
}

// status is a line of this thread's status in procfs, "" where there is none.
func status(key string) string {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// capabilities tells of those that change what the tracer can do.
func capabilities() []Finding {
	var found []Finding
	for _, c := range []struct {
		name   string
		number int
		effect string
	}{
		{"SYS_PTRACE", unix.CAP_SYS_PTRACE, "A process that changes its user without an exec cannot be looked into: what a rule could deny it is denied. chdir can fail with EINTR."},
		{"SETUID", unix.CAP_SETUID, "Opens of another user's processes cannot be made with that user's rights: they fail where a rule could deny them."},
		{"SETGID", unix.CAP_SETGID, "As SETUID, for groups."},
		{"KILL", unix.CAP_KILL, "A program of another user that must be stopped by a signal cannot be."},
	} {
		f := Finding{Name: "capability " + c.name, State: Works}
		if !launch.Can(c.number) {
			f.State, f.Effect = NotSupported, c.effect
		}
		found = append(found, f)
	}
	return found
}

// around tells of what is beside the process: limits, Landlock, ECS, the sidekick.
func around(ctx context.Context, o Options) []Finding {
	found := []Finding{landlock(), limit("memory limit", "memory.max"), limit("CPU limit", "cpu.max"), yama()}
	if f, ok := metadata(ctx, o.Environ); ok {
		found = append(found, f)
	}
	if o.Sidekick != "" {
		found = append(found, attempt("sidekick at "+o.Sidekick, reach(ctx, o.Sidekick),
			"Events wait in the tracer's buffer and are lost when it is full. Policies from the sidekick do not come."))
	}
	return found
}

// reach connects to an address, unix:///PATH or of a server, and says nothing there.
func reach(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	network, to := "tcp", u.Host
	switch {
	case u.Scheme == "unix":
		network, to = "unix", u.Path
	case u.Port() == "" && u.Scheme == "https":
		to = net.JoinHostPort(u.Hostname(), "443")
	case u.Port() == "":
		to = net.JoinHostPort(u.Hostname(), "80")
	}
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, network, to)
	if err != nil {
		return err
	}
	return conn.Close()
}

func landlock() Finding {
	const askVersion = 1
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, askVersion)
	if errno != 0 {
		return Finding{Name: "Landlock", State: NotSupported, Detail: errno.Error(), Effect: "None for the tracer: workloads cannot confine themselves by it."}
	}
	return Finding{Name: "Landlock", State: Works, Detail: fmt.Sprintf("ABI %d", version)}
}

// limit reads a file of this process's cgroup, version 2.
func limit(name, file string) Finding {
	text, err := os.ReadFile("/sys/fs/cgroup/" + file)
	if err != nil {
		return Finding{Name: name, State: Unknown, Detail: err.Error()}
	}
	return Finding{Name: name, State: Works, Detail: string(bytes.TrimSpace(text))}
}

func yama() Finding {
	text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return Finding{Name: "Yama", State: Works, Detail: "absent: no further limit on ptrace"}
	}
	return Finding{Name: "Yama", State: Works, Detail: "ptrace_scope " + string(bytes.TrimSpace(text))}
}

// metadata asks the task metadata endpoint, where the environment names one.
func metadata(ctx context.Context, environ []string) (Finding, bool) {
	for _, v := range environ {
		endpoint, ok := strings.CutPrefix(v, "ECS_CONTAINER_METADATA_URI_V4=")
		if !ok || endpoint == "" {
			continue
		}
		const effect = "Cluster, task and labels are not known: policies with a selector may select nothing, and the start waits for --policy-timeout."
		client := http.Client{Timeout: patience, Transport: &http.Transport{}} // no proxy: the address is link-local
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/task", http.NoBody)
		if err != nil {
			return attempt("ECS task metadata", err, effect), true
		}
		res, err := client.Do(req)
		if err != nil {
			return attempt("ECS task metadata", err, effect), true
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return Finding{"ECS task metadata", NotSupported, res.Status, effect}, true
		}
		return Finding{Name: "ECS task metadata", State: Works}, true
	}
	return Finding{}, false
}
