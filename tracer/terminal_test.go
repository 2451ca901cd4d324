package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lines collects output and lets a test wait for a part of it.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	seen int // how far await has come
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until want has come after what was awaited before, and gives what
// is between them.
func (l *lines) await(t *testing.T, want string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		text := l.String()
		if i := strings.Index(text[l.seen:], want); i >= 0 {
			l.seen += i + len(want)
			return text[l.seen-len(want)-i : l.seen-len(want)]
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("no %q in %q (of %q)", want, text[l.seen:], text)
		}
	}
}

// terminal is an interactive shell on a pseudo-terminal.
type terminal struct {
	*lines
	master *os.File
	shell  *exec.Cmd
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		skip(t, err)
	}
	// Not blocking, so that closing it ends the read below.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{&lines{more: make(chan struct{}, 1)}, master, exec.Command(bash, "--norc", "--noprofile", "-i")}
	term.shell.Env = append(os.Environ(), asTracer+"=1", "SIDEKICK_URL=", "PS1=prompt> ", "TERM=dumb", "HISTFILE=")
	term.shell.Stdin, term.shell.Stdout, term.shell.Stderr = slave, slave, slave
	term.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := startUnignoring(term.shell); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return // EIO: the terminal's last user has gone
			}
			_, _ = term.Write(buf[:n])
		}
	})
	t.Cleanup(func() {
		_ = term.shell.Process.Kill() // it may have ended
		_ = term.shell.Wait()
		master.Close()
		done.Wait()
	})
	term.await(t, "prompt> ")
	return term
}

// startUnignoring starts a program that ignores none of the signals that this one was
// perhaps told to ignore, as in the background of a script or under nohup: a shell
// could not take them back.
func startUnignoring(cmd *exec.Cmd) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(c)
	return cmd.Start()
}

func (term *terminal) enter(t *testing.T, text string) {
	t.Helper()
	if _, err := term.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptFromTheTerminalArrivesOnce(t *testing.T) {
	term := openTerminal(t)
	// The quotes keep the echo of the command line from looking like output. A shell
	// can lose a signal while it starts a program, as sleep; one that comes just before
	// it waits for input is seen when the waiting ends.
	term.enter(t, os.Args[0]+` run -- bash -c 'trap "n=x\$n; echo int-\$n" INT; trap "echo count-\$n" USR1; trap "exit 9" TERM; echo tra""cer=$PPID.; while :; do read -t 0.1 line; done'`+"\n")
	term.await(t, "tracer=")
	pid, err := strconv.Atoi(term.await(t, "."))
	if err != nil {
		t.Fatal(err)
	}
	send := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"x", "xx"} {
		term.enter(t, "\x03")
		term.await(t, "int-"+n+"\r")
		send(syscall.SIGUSR1) // signals pass the tracer in order: a second copy would come before it
		term.await(t, "count-"+n+"\r")
	}
	send(syscall.SIGTERM)
	term.await(t, "prompt> ")
	term.enter(t, "echo status=$?\n")
	term.await(t, "status=9")
}

func TestJobControl(t *testing.T) {
	term := openTerminal(t)
	term.enter(t, os.Args[0]+` run -- sh -c 'echo rea""dy; read line; echo "go""t $line"; exit 3'`+"\n")
	term.await(t, "ready")
	term.enter(t, "\x1a")
	term.await(t, "Stopped")
	term.await(t, "prompt> ")
	term.enter(t, "jobs\n")
	term.await(t, "Stopped")
	term.await(t, "prompt> ")
	term.enter(t, "fg\n")
	term.await(t, "run --")
	term.enter(t, "hello\n")
	term.await(t, "got hello")
	term.await(t, "prompt> ")
	term.enter(t, "echo status=$?\n")
	term.await(t, "status=3")
}

// A shell as the workload takes the terminal for its own jobs.
func TestShellAsTheWorkload(t *testing.T) {
	term := openTerminal(t)
	term.enter(t, "PS1='inner> ' "+os.Args[0]+" run -- bash --norc --noprofile -i\n")
	term.await(t, "inner> ")
	// What it says shows that the terminal is its own by now.
	term.enter(t, `sh -c 'echo sle""eping; exec sleep 100'`+"\n")
	term.await(t, "sleeping")
	term.enter(t, "\x1a")
	term.await(t, "Stopped")
	term.await(t, "inner> ")
	term.enter(t, "kill %1; wait; tty; stty size >/dev/null && echo still-a-t''ty\n")
	term.await(t, "/dev/pts/")
	term.await(t, "still-a-tty")
	term.enter(t, "suspend\n")
	term.await(t, "Stopped")
	term.await(t, "prompt> ")
	term.enter(t, "fg\n")
	term.await(t, "inner> ")
	term.enter(t, "exit 4\n")
	term.await(t, "prompt> ")
	term.enter(t, "echo status=$?\n")
	term.await(t, "status=4")
}
