package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tasksSource is a program whose threads and signals nobody holds.
//
//go:embed testdata/tasks.c
var tasksSource string

// compileTasks builds it.
func compileTasks(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "tasks")
	cmd := exec.CommandContext(ctx, "cc", "-O2", "-pthread", "-x", "c", "-o", program, "-")
	cmd.Stdin = strings.NewReader(tasksSource)
	_, err := output(cmd)
	return program, err
}

// tasksLoad measures itself.
func tasksLoad(mode string, times int) prepare {
	return func(ctx context.Context, b *bench, dir string) (*load, error) {
		program, err := compileTasks(ctx, dir)
		if err != nil {
			return nil, err
		}
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
			out, err := output(b.command(ctx, a, dir, program, mode, strconv.Itoa(times)))
			if err != nil {
				return nil, err
			}
			return found(out, perOp)
		}}, nil
	}
}

// threadsGrowth is what so many threads, which live on, add to the tracer's memory, in MB.
func threadsGrowth(threads int) prepare {
	return func(ctx context.Context, b *bench, dir string) (*load, error) {
		program, err := compileTasks(ctx, dir)
		if err != nil {
			return nil, err
		}
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
			return b.growth(b.command(ctx, a, dir, program, "threads", strconv.Itoa(threads)))
		}}, nil
	}
}

// growth is what a command's tracer has more when the command says "grown" than when it
// says "ready".
func (b *bench) growth(cmd *exec.Cmd) ([]float64, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := startGroup(cmd); err != nil {
		return nil, err
	}
	defer endGroup(cmd)
	var before []float64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		time.Sleep(200 * time.Millisecond)
		settle(cmd.Process.Pid, b.side.cmd.Process.Pid)
		now, err := resident(cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		if lines.Text() == "grown" {
			return []float64{now[0] - before[0]}, nil
		}
		before = now
		if _, err := in.Write([]byte{'\n'}); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%v ended early", cmd.Args)
}
