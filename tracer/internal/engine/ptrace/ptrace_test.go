package ptrace_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/engine/ptrace"
	"github.com/sidearmor/sidearmor/tracer/internal/filter"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

// tracee builds the program whose calls are held.
var tracee = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tracee")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "tracee")
	return program, exec.Command("cc", "-O2", "-pthread", "-o", program, "testdata/tracee.c").Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := tracee(); err == nil {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// answers answers the opens of one file, and lets all else run.
type answers struct {
	file   string
	answer func(c *engine.Call) engine.Answer

	mu   sync.Mutex
	told []engine.Outcome // of the answers
}

func (h *answers) Worker() engine.Worker { return h }

func (h *answers) Handle(c *engine.Call) (engine.Answer, func(engine.Outcome)) {
	if c.Spec.ID != syscalls.Openat && c.Spec.ID != syscalls.Open || !c.Hold.Valid() {
		return engine.Continue(), nil
	}
	path := make([]byte, len(h.file)+1)
	remote := []unix.RemoteIovec{{Base: uintptr(c.Args[c.Spec.Path]), Len: len(path)}}
	local := []unix.Iovec{{Base: &path[0], Len: uint64(len(path))}}
	if _, err := unix.ProcessVMReadv(c.TID, local, remote, 0); err != nil || string(path) != h.file+"\x00" {
		return engine.Continue(), nil
	}
	a := h.answer(c)
	return a, func(o engine.Outcome) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, o)
	}
}

type result struct {
	pid    int
	code   int
	out    string
	stops  int // by job control, of any thread
	errors []error
}

// trace runs the program with an engine, on a thread that ends with it.
func trace(t *testing.T, h *answers, what string) result {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	r := traceOn(t, t.Context(), h, "exec >"+out+"; exec", what)
	for _, err := range r.errors {
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	r.out = string(text)
	return r
}

// traceOn has a shell run the program by command.
func traceOn(t *testing.T, ctx context.Context, h *answers, command, what string) result {
	t.Helper()
	program, err := tracee()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	prog, err := filter.Program(filter.Options{Hold: rules.Process | rules.File, Trace: true})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine, and what it traces with it
		done <- traceHere(ctx, h, launch.Command{
			Path: "/bin/sh", Args: []string{"sh", "-c", command + " " + program + " " + what + " " + h.file},
			Env: os.Environ(), Filter: prog, Traced: true, NoNewPrivs: true,
		})
	}()
	return <-done
}

func traceHere(ctx context.Context, h *answers, cmd launch.Command) (r result) {
	child, err := launch.Start(cmd)
	if err != nil {
		return result{errors: []error{err}}
	}
	r.pid = child.PID
	log := slog.New(slog.DiscardHandler)
	reaper := launch.NewReaper(child.PID, child.Parent, log)
	threads := thread.NewMaker()
	defer threads.Close()
	e, err := ptrace.New(child.PID, ptrace.Options{
		Specs: syscalls.Table(), Log: log, Threads: threads, Stopped: func(int) { r.stops++ },
		// Of this thread's children alone: others belong to the test.
		Wait: func(tid, options int) (int, unix.WaitStatus, error) {
			var status unix.WaitStatus
			got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOTHREAD|options, nil)
			if err == nil && got == child.PID && !status.Stopped() {
				if r.code = status.ExitStatus(); status.Signaled() {
					r.code = 128 + int(status.Signal())
				}
			}
			return got, status, err
		},
	})
	if err != nil {
		return result{errors: []error{err}}
	}
	released := make(chan error, 1)
	go func() { released <- child.Release() }()
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute) // a test that hangs says where
	defer cancel()
	began := reaper.Begin()
	r.errors = append(r.errors, began, e.Run(ctx, h), <-released, ctx.Err())
	return r
}

// aFile makes a file and opens it.
func aFile(t *testing.T) (name string, open func() int) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name, func() int {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		return fd
	}
}

func with(a engine.Answer) func(*engine.Call) engine.Answer {
	return func(*engine.Call) engine.Answer { return a }
}

func TestAnswers(t *testing.T) {
	file, open := aFile(t)
	for name, c := range map[string]struct {
		answer func(*engine.Call) engine.Answer
		out    string
		told   engine.Outcome
	}{
		"continue":         {with(engine.Continue()), "open: 3\nread: 4\nclose on exec: 1\n", engine.Outcome{Sent: true}},
		"follow":           {with(engine.Continue().Follow()), "open: 3\nread: 4\nclose on exec: 1\n", engine.Outcome{Sent: true, Known: true, Result: 3, Held: true}},
		"zero":             {with(engine.Answer{}), "open: error 13\n", engine.Outcome{Sent: true, Known: true, Errno: unix.EACCES}},
		"fail":             {with(engine.Fail(unix.EXDEV)), "open: error 18\n", engine.Outcome{Sent: true, Known: true, Errno: unix.EXDEV}},
		"return":           {with(engine.Return(4242)), "open: 4242\nread: error 9\nclose on exec: error 9\n", engine.Outcome{Sent: true, Known: true, Result: 4242}},
		"install":          {func(*engine.Call) engine.Answer { return engine.Install(open(), false) }, "open: 3\nread: 4\nclose on exec: 0\n", engine.Outcome{Sent: true, Known: true, Result: 3}},
		"install, on exec": {func(*engine.Call) engine.Answer { return engine.Install(open(), true) }, "open: 3\nread: 4\nclose on exec: 1\n", engine.Outcome{Sent: true, Known: true, Result: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &answers{file: file, answer: c.answer}
			if r := trace(t, h, "open"); r.out != c.out || r.code != 5 {
				t.Errorf("%+v, want %q", r, c.out)
			}
			if len(h.told) != 1 || h.told[0] != c.told {
				t.Errorf("told %+v, want %+v", h.told, c.told)
			}
		})
	}
}

// An answer that is left to another thread comes all the same, whatever it is.
func TestAnswersOfAnotherThread(t *testing.T) {
	file, open := aFile(t)
	for want, answer := range map[string]func() engine.Answer{
		"open: 3\nread: 4\nclose on exec: 1\n": func() engine.Answer { return engine.Install(open(), true) },
		"open: error 18\n":                     func() engine.Answer { return engine.Fail(unix.EXDEV) },
	} {
		h := &answers{file: file, answer: func(c *engine.Call) engine.Answer {
			if !c.Hold.MayWait() {
				return engine.Defer()
			}
			return answer()
		}}
		if r := trace(t, h, "open"); r.out != want || r.code != 5 {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	h := &answers{file: file, answer: func(c *engine.Call) engine.Answer {
		if !c.Hold.MayWait() {
			return engine.Defer()
		}
		return engine.Continue()
	}}
	if r := trace(t, h, "threads"); r.out != "threads: 300\n" {
		t.Errorf("%+v", r)
	}
}

// What the kernel tells of a process beside its calls changes nothing for it.
func TestProcesses(t *testing.T) {
	file, open := aFile(t)
	const opened = "open: 3\nread: 4\nclose on exec: 1\n"
	for what, want := range map[string]string{
		"fork": "child: 3\nexit: 7\n" + opened, "vfork": "child: 3\nexit: 7\nopen: ", "clone": "child: 3\nexit: 7\nopen: ",
		"threads": "threads: 300\n", "turns": "turns: 40\n", "exec": opened,
		"signals": "queued value: 1\nqueued value: 2\nqueued value: 3\n" + opened,
		"stop":    "stopped by: 19\ngoes on: 1\nchild: 3\nexit: 7\n",
	} {
		for name, answer := range map[string]func(*engine.Call) engine.Answer{
			"continue": with(engine.Continue()), "follow": with(engine.Continue().Follow()),
			"install": func(*engine.Call) engine.Answer { return engine.Install(open(), true) },
		} {
			t.Run(what+"/"+name, func(t *testing.T) {
				r := trace(t, &answers{file: file, answer: answer}, what)
				if !strings.HasPrefix(r.out, want) || r.code != 5 {
					t.Errorf("%+v, want %q", r, want)
				}
				if stopped := r.stops > 0; stopped != (what == "stop") {
					t.Errorf("%d stops by job control", r.stops)
				}
			})
		}
	}
}

// A caller that is killed while its call is held is waited for, and its answer is
// nobody's: no descriptor is left of it.
func TestKilledWhileStopped(t *testing.T) {
	file, open := aFile(t)
	for name, answer := range map[string]func() engine.Answer{
		"continue": engine.Continue, "follow": func() engine.Answer { return engine.Continue().Follow() },
		"fail": func() engine.Answer { return engine.Fail(unix.EXDEV) }, "defer": engine.Defer,
		"install": func() engine.Answer { return engine.Install(open(), true) },
	} {
		t.Run(name, func(t *testing.T) {
			before := descriptors(t)
			h := &answers{file: file, answer: func(c *engine.Call) engine.Answer {
				if err := unix.Kill(c.TID, unix.SIGKILL); err != nil {
					t.Error(err)
				}
				if a := answer(); !a.Defers() || !c.Hold.MayWait() {
					return a
				}
				return engine.Install(open(), true)
			}}
			if r := trace(t, h, "open"); r.out != "" || r.code != 128+9 {
				t.Errorf("%+v", r)
			}
			for _, o := range h.told {
				if o.Known && o.Errno == 0 {
					t.Errorf("told of a success: %+v", o)
				}
			}
			if after := descriptors(t); after > before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A run that is to end leaves nothing behind that runs.
func TestEndOfTheContext(t *testing.T) {
	file, _ := aFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &answers{file: file, answer: func(*engine.Call) engine.Answer {
		cancel()
		return engine.Continue()
	}}
	r := traceOn(t, ctx, h, "exec", "stay")
	if r.errors[1] != nil {
		t.Error(r.errors[1])
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(r.pid, &status, unix.WALL, nil); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("it ended with %v, %v", status, err)
	}
}
