package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

type prepare = func(ctx context.Context, b *bench, dir string) (*load, error)

// command is a command under an arm, not started.
func (b *bench) command(ctx context.Context, a *arm, dir string, command ...string) *exec.Cmd {
	argv := b.argv(a, command...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = b.environ(), dir
	return cmd
}

// output runs cmd and returns what it printed; what it complained of is in the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// timed runs a command from start to end: milliseconds.
func (b *bench) timed(ctx context.Context, a *arm, dir string, command ...string) ([]float64, error) {
	cmd := b.command(ctx, a, dir, command...)
	begin := time.Now()
	_, err := output(cmd)
	return []float64{milliseconds(time.Since(begin))}, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// commandLoad is a command that needs nothing prepared.
func commandLoad(command ...string) prepare {
	return func(_ context.Context, b *bench, dir string) (*load, error) {
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) { return b.timed(ctx, a, dir, command...) }}, nil
	}
}

var (
	perOp     = regexp.MustCompile(`us_per_op=([0-9.]+)`)
	perSecond = regexp.MustCompile(`ops_per_s=([0-9.]+)`)
)

// workLoad is the floor's program work, which measures itself.
func workLoad(mode string, times int) prepare { return selfTimed(perOp, mode, strconv.Itoa(times)) }

func threadsLoad(threads, times int) prepare {
	return selfTimed(perSecond, "open", strconv.Itoa(times), strconv.Itoa(threads))
}

func selfTimed(figure *regexp.Regexp, args ...string) prepare {
	return func(_ context.Context, b *bench, dir string) (*load, error) {
		command := append([]string{filepath.Join(b.floor, "work")}, args...)
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
			out, err := output(b.command(ctx, a, dir, command...))
			if err != nil {
				return nil, err
			}
			return found(out, figure)
		}}, nil
	}
}

// found is the number that each pattern captures in a text.
func found(out []byte, patterns ...*regexp.Regexp) (values []float64, err error) {
	for _, p := range patterns {
		m := p.FindSubmatch(out)
		if m == nil {
			return nil, fmt.Errorf("no %v in %q", p, out)
		}
		x, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return nil, err
		}
		values = append(values, x)
	}
	return values, nil
}

// firstOutputLoad is a program that prints at once: its first instruction comes
// as long before as it does natively.
func firstOutputLoad(_ context.Context, b *bench, dir string) (*load, error) {
	return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
		cmd := b.command(ctx, a, dir, "/bin/echo", "x")
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		_, err = io.ReadFull(out, make([]byte, 1))
		took := time.Since(begin)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", cmd.Args, err)
		}
		return []float64{milliseconds(took)}, cmd.Wait()
	}}, nil
}

// sizeLoad is the size of a program's file.
func sizeLoad(name string) prepare {
	return func(_ context.Context, b *bench, _ string) (*load, error) {
		return &load{run: func(context.Context, *arm) ([]float64, error) {
			info, err := os.Stat(filepath.Join(b.bin, name))
			if err != nil {
				return nil, err
			}
			return []float64{float64(info.Size()) / 1e6}, nil
		}}, nil
	}
}

// residentLoad is the tracer's memory while a shell script runs that has said
// "ready": now, and at most.
func residentLoad(script string) prepare {
	return func(_ context.Context, b *bench, dir string) (*load, error) {
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
			cmd := b.command(ctx, a, dir, "/bin/sh", "-c", script)
			cmd.Env = append(cmd.Env, "WORK="+filepath.Join(b.floor, "work"))
			out, err := cmd.StdoutPipe()
			if err != nil {
				return nil, err
			}
			if err := startGroup(cmd); err != nil {
				return nil, err
			}
			defer endGroup(cmd)
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if lines.Text() == "ready" {
					time.Sleep(200 * time.Millisecond)
					settle(cmd.Process.Pid, b.side.cmd.Process.Pid)
					return resident(cmd.Process.Pid)
				}
			}
			return nil, fmt.Errorf("%v ended early", cmd.Args)
		}}, nil
	}
}

// resident is the memory that a process holds, and has held at most, in MB.
func resident(pid int) ([]float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	now, err := found(b, regexp.MustCompile(`VmRSS:\s+([0-9]+) kB`), regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`))
	if err != nil {
		return nil, err
	}
	return []float64{now[0] * 1.024e-3, now[1] * 1.024e-3}, nil
}

// interpreter is the program behind a command that may be a script which chooses it.
func interpreter(ctx context.Context, command string, args ...string) (string, error) {
	out, err := output(exec.CommandContext(ctx, command, args...))
	return strings.TrimSpace(string(out)), err
}
