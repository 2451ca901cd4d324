package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startGroup starts a command as the leader of a process group.
func startGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// endGroup ends a command that startGroup has started, with what it has started.
func endGroup(cmd *exec.Cmd) {
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	_ = cmd.Wait()
}

// service is one kind of server: one process for each arm, all of which wait for
// requests while one is measured.
type service struct {
	// command tells how to start a server in a directory, and where it listens then.
	command func(ctx context.Context, dir string) (argv []string, network, address string, err error)
	// measure is one run of a client.
	measure func(ctx context.Context, dir, address string) ([]float64, error)

	bench   *bench
	dir     string
	running map[string]*server
}

type server struct {
	cmd          *exec.Cmd
	dir, address string
}

func (s *service) load(b *bench, dir string) *load {
	s.bench, s.dir, s.running = b, dir, map[string]*server{}
	return &load{run: s.run, stop: s.stop}
}

func (s *service) run(ctx context.Context, a *arm) ([]float64, error) {
	r := s.running[a.name]
	if r == nil {
		var err error
		if r, err = s.start(ctx, a); err != nil {
			return nil, err
		}
	}
	return s.measure(ctx, r.dir, r.address)
}

func (s *service) start(ctx context.Context, a *arm) (*server, error) {
	dir := filepath.Join(s.dir, strconv.Itoa(len(s.running)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	argv, network, address, err := s.command(ctx, dir)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := s.bench.command(context.WithoutCancel(ctx), a, dir, argv...) // it outlives this run
	cmd.Stdout, cmd.Stderr = log, log
	if err := startGroup(cmd); err != nil {
		return nil, err
	}
	r := &server{cmd: cmd, dir: dir, address: address}
	s.running[a.name] = r
	if err := reachable(ctx, network, address); err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%v: %w: %s", cmd.Args, err, text)
	}
	return r, nil
}

// stop ends the servers: all of them end by SIGINT.
func (s *service) stop() {
	for _, r := range s.running {
		_ = r.cmd.Process.Signal(unix.SIGINT)
		late := time.AfterFunc(5*time.Second, func() { _ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL) })
		_ = r.cmd.Wait()
		late.Stop()
	}
}

func nginxLoad(_ context.Context, b *bench, dir string) (*load, error) {
	s := service{command: nginx, measure: wrk}
	return s.load(b, dir), nil
}

func nginx(ctx context.Context, dir string) (argv []string, network, address string, err error) {
	if address, err = freeAddress(ctx); err != nil {
		return nil, "", "", err
	}
	var text strings.Builder
	text.WriteString("daemon off; worker_processes 1; pid pid; error_log stderr;\n")
	if os.Getuid() == 0 {
		text.WriteString("user root;\n")
	}
	text.WriteString("events { worker_connections 256; }\nhttp {\n  access_log off; keepalive_requests 1000000000;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "  %s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	fmt.Fprintf(&text, "  server { listen %s; location / { return 200 \"hello\"; } }\n}\n", address)
	conf := filepath.Join(dir, "nginx.conf")
	return []string{"nginx", "-p", dir, "-c", conf}, "tcp", address, os.WriteFile(conf, []byte(text.String()), 0o644)
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkP99  = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
)

func wrk(ctx context.Context, _, address string) ([]float64, error) {
	out, err := output(exec.CommandContext(ctx, "wrk", "-t1", "-c16", "-d2s", "--latency", "http://"+address+"/"))
	if err != nil {
		return nil, err
	}
	values, err := found(out, wrkRate, wrkP99)
	if err != nil {
		return nil, err
	}
	values[1] *= map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3}[string(wrkP99.FindSubmatch(out)[2])]
	return values, nil
}

func redisLoad(_ context.Context, b *bench, dir string) (*load, error) {
	s := service{
		command: func(_ context.Context, dir string) (argv []string, network, address string, err error) {
			address = filepath.Join(dir, "socket")
			return []string{"redis-server", "--port", "0", "--unixsocket", address, "--save", "", "--appendonly", "no", "--dir", dir}, "unix", address, nil
		},
		measure: redisBenchmark,
	}
	return s.load(b, dir), nil
}

func redisBenchmark(ctx context.Context, _, address string) ([]float64, error) {
	out, err := output(exec.CommandContext(ctx, "redis-benchmark", "-s", address, "-t", "get", "-c", "16", "-n", "150000", "--csv"))
	if err != nil {
		return nil, err
	}
	// "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
	const rate, p99, columns = 1, 6, 8
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `"`, ""), ",")
		if len(f) != columns || f[0] != "GET" {
			continue
		}
		x, err := strconv.ParseFloat(f[rate], 64)
		if err != nil {
			return nil, err
		}
		y, err := strconv.ParseFloat(f[p99], 64)
		return []float64{x, y}, err
	}
	return nil, fmt.Errorf("redis-benchmark: no GET in %q", out)
}

func postgresLoad(_ context.Context, b *bench, dir string) (*load, error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return nil, errors.Join(err, errors.New("there is no /usr/lib/postgresql/*/bin"))
	}
	bin := bins[len(bins)-1]
	s := service{
		command: func(ctx context.Context, dir string) (argv []string, network, address string, err error) {
			argv, err = postgres(ctx, bin, dir)
			return argv, "unix", filepath.Join(dir, ".s.PGSQL.5432"), err
		},
		measure: pgbench,
	}
	return s.load(b, dir), nil
}

// postgres makes a database. It does not run as root.
func postgres(ctx context.Context, bin, dir string) ([]string, error) {
	const nobody = 65534
	var as []string
	if os.Getuid() == 0 {
		as = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := append(slices.Clone(as), filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-N", "--locale=C", "-E", "UTF8")
	cmd := exec.CommandContext(ctx, initdb[0], initdb[1:]...)
	cmd.Dir = dir
	if _, err := output(cmd); err != nil {
		return nil, err
	}
	return append(as, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "", "-F"), nil
}

var pgRate = regexp.MustCompile(`tps = ([0-9.]+)`)

func pgbench(ctx context.Context, dir, _ string) ([]float64, error) {
	args := []string{"-h", dir, "-U", "bench"}
	if _, err := os.Stat(filepath.Join(dir, "filled")); err != nil {
		if err := fill(ctx, dir, args); err != nil {
			return nil, err
		}
	}
	logs, err := os.MkdirTemp(dir, "latencies")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(logs)
	out, err := output(exec.CommandContext(ctx, "pgbench", append(args, "-n", "-S", "-M", "prepared", "-c", "4", "-T", "2", "-l", "--log-prefix", filepath.Join(logs, "log"), "postgres")...))
	if err != nil {
		return nil, err
	}
	rate, err := found(out, pgRate)
	if err != nil {
		return nil, err
	}
	p99, err := percentile(logs, 0.99)
	return append(rate, p99), err
}

// fill makes pgbench's tables, once the server takes queries.
func fill(ctx context.Context, dir string, args []string) (err error) {
	for range 50 {
		if _, err = output(exec.CommandContext(ctx, "pgbench", append(args, "-i", "-q", "-s", "1", "postgres")...)); err == nil {
			return os.WriteFile(filepath.Join(dir, "filled"), nil, 0o644)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// percentile is of the latencies in pgbench's logs, in milliseconds.
func percentile(logs string, p float64) (float64, error) {
	names, err := filepath.Glob(filepath.Join(logs, "*"))
	if err != nil {
		return 0, err
	}
	var all []float64
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			const latency = 2 // client, transaction, microseconds, ...
			if fields := strings.Fields(lines.Text()); len(fields) > latency {
				if us, err := strconv.ParseFloat(fields[latency], 64); err == nil {
					all = append(all, us/1000)
				}
			}
		}
	}
	if len(all) == 0 {
		return 0, errors.New("pgbench has logged nothing")
	}
	slices.Sort(all)
	return all[int(float64(len(all)-1)*p)], nil
}
