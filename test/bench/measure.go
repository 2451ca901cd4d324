package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// workloads are what the floor's work program can do, and how often it does it
// in one run: long enough to outlast the start.
var workloads = []struct {
	mode  string
	count int
}{{"open", 30000}, {"exec", 400}, {"connect", 20000}}

// runner is one way to run the work program.
type runner struct {
	name string
	argv []string
	env  []string
}

// patience bounds one command, which takes seconds.
const patience = 2 * time.Minute

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin", "where tracer and sidekick are")
	floor := flags.String("floor", "", "where work, notify and ptrace are")
	rounds := flags.Int("rounds", 7, "runs of each command; medians are printed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := measure(context.Background(), stdout, *bin, *floor, *rounds); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// measure runs everything and writes the tables.
func measure(ctx context.Context, w io.Writer, bin, floor string, rounds int) error {
	if floor == "" {
		return errors.New("-floor is needed: the directory of work, notify and ptrace")
	}
	side, stop, err := startSidekick(ctx, bin)
	if err != nil {
		return err
	}
	defer stop()
	policies, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(policies)
	if err := os.WriteFile(filepath.Join(policies, "p.yaml"), []byte(manyRules()), 0o600); err != nil {
		return err
	}
	tracer := filepath.Join(bin, "tracer")
	url := []string{"SIDEKICK_URL=" + side.url}
	runners := []runner{
		{name: "native"},
		{name: "floor: notify", argv: []string{filepath.Join(floor, "notify")}},
		{name: "floor: ptrace", argv: []string{filepath.Join(floor, "ptrace")}},
		{name: "tracer, everything reported", argv: []string{tracer, "run", "--visibility", "all", "--"}, env: url},
		{name: "tracer, 200 rules, alerts only", argv: []string{tracer, "run", "--policies", policies, "--visibility", "none", "--"}, env: url},
	}
	if err := measureCalls(ctx, w, runners, filepath.Join(floor, "work"), rounds); err != nil {
		return err
	}
	if err := measureStart(ctx, w, runners, rounds); err != nil {
		return err
	}
	return measureSizes(ctx, w, bin, floor, side)
}

// measureCalls times each kind of call under each runner, in turn, so that the
// machine's drift meets all of them.
func measureCalls(ctx context.Context, w io.Writer, runners []runner, work string, rounds int) error {
	fmt.Fprintf(w, "| call | runner | µs per call | added | × native | added ÷ floor's |\n|---|---|---|---|---|---|\n")
	for _, load := range workloads {
		times := make([][]float64, len(runners))
		for range rounds {
			for i, r := range runners {
				us, err := r.run(ctx, work, load.mode, strconv.Itoa(load.count))
				if err != nil {
					return err
				}
				times[i] = append(times[i], us)
			}
		}
		native, base := median(times[0]), median(times[1])-median(times[0])
		for i, r := range runners {
			us := median(times[i])
			fmt.Fprintf(w, "| %s | %s | %.1f (%.1f–%.1f) | %.1f | %.2f | %s |\n", load.mode, r.name, us, slices.Min(times[i]), slices.Max(times[i]), us-native, us/native, ratio(us-native, base, native))
		}
	}
	return nil
}

// ratio is added ÷ base, unless the base is lost in the noise of the native call.
func ratio(added, base, native float64) string {
	if base < native/10 {
		return "–"
	}
	return strconv.FormatFloat(added/base, 'f', 1, 64)
}

var perOp = regexp.MustCompile(`us_per_op=([0-9.]+)`)

func (r runner) run(ctx context.Context, argv ...string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	full := append(slices.Clone(r.argv), argv...)
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Env = append(os.Environ(), r.env...)
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%v: %w", full, err)
	}
	m := perOp.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%v: no us_per_op in %q", full, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// measureStart times a program that does nothing.
func measureStart(ctx context.Context, w io.Writer, runners []runner, rounds int) error {
	fmt.Fprintf(w, "\n| start and end of /bin/true | ms |\n|---|---|\n")
	times := make([][]float64, len(runners))
	for range 5 * rounds {
		for i, r := range runners {
			full := append(slices.Clone(r.argv), "/bin/true")
			cmd := exec.CommandContext(ctx, full[0], full[1:]...)
			cmd.Env = append(os.Environ(), r.env...)
			start := time.Now()
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%v: %w", full, err)
			}
			times[i] = append(times[i], float64(time.Since(start).Microseconds())/1000)
		}
	}
	for i, r := range runners {
		fmt.Fprintf(w, "| %s | %.1f |\n", r.name, median(times[i]))
	}
	return nil
}

func measureSizes(ctx context.Context, w io.Writer, bin, floor string, side *sidekick) error {
	fmt.Fprintf(w, "\n| | MB |\n|---|---|\n")
	for _, name := range []string{"tracer", "sidekick"} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| bin/%s | %.1f |\n", name, float64(info.Size())/1e6)
	}
	for _, c := range []struct {
		what string
		env  []string
		argv []string
	}{
		{"tracer resident at most, idle workload", []string{"SIDEKICK_URL=" + side.url}, []string{"sleep", "1"}},
		{"tracer resident at most, 30,000 opens reported", []string{"SIDEKICK_URL=" + side.url}, []string{filepath.Join(floor, "work"), "open", "30000"}},
		{"tracer resident at most, 30,000 opens, sidekick away", []string{"SIDEKICK_URL=http://127.0.0.1:9/"}, []string{filepath.Join(floor, "work"), "open", "30000"}},
	} {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "tracer"), append([]string{"run", "--"}, c.argv...)...)
		cmd.Env = append(os.Environ(), c.env...)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w", cmd.Args, err)
		}
		fmt.Fprintf(w, "| %s | %.1f |\n", c.what, maxResident(cmd))
	}
	fmt.Fprintf(w, "| sidekick resident after this run | %.1f |\n", side.resident())
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// manyRules is a policy that names none of the workload's files.
func manyRules() string {
	var b strings.Builder
	b.WriteString("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: bench}\nspec:\n  action: Block\n  network: {matchProtocols: [{protocol: icmp}]}\n")
	for _, section := range []string{"process", "file"} {
		fmt.Fprintf(&b, "  %s:\n    matchPaths:\n", section)
		for i := range 100 {
			fmt.Fprintf(&b, "      - path: /opt/app-%d/data\n", i)
		}
	}
	return b.String()
}

// sidekick is a running sidekick without outputs.
type sidekick struct {
	url string
	cmd *exec.Cmd
}

func startSidekick(ctx context.Context, bin string) (*sidekick, func(), error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "bench-queue")
	if err != nil {
		return nil, nil, err
	}
	s := &sidekick{url: "http://" + address + "/", cmd: exec.CommandContext(ctx, filepath.Join(bin, "sidekick"))}
	s.cmd.Env = append(os.Environ(), "LISTENPORT="+port, "QUEUE_DIR="+dir)
	stop := func() {
		_ = s.cmd.Process.Kill() // nothing of it is kept
		_ = s.cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, nil, err
	}
	for range 500 {
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "tcp", address); err == nil {
			conn.Close()
			return s, stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return nil, nil, errors.New("the sidekick does not start")
}

// resident is the memory that the sidekick holds now, in MB.
func (s *sidekick) resident() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1000
		}
	}
	return 0
}
