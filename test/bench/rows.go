package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Ways to run a program. Whatever is visible is delivered to a sidekick on the
// same machine.
var (
	native     = arm{name: "native"}
	floor      = arm{name: "floor", floor: "notify"}
	ptrace     = arm{name: "floor by ptrace", floor: "ptrace"}
	everything = arm{name: "all visible", tracer: []string{"--visibility", "all"}}
	away       = arm{name: "all visible, sidekick away", tracer: []string{"--visibility", "all", "--sidekick-url", "http://127.0.0.1:9/"}}
	defaults   = arm{name: "tracer", tracer: []string{}}
	writers    = arm{name: "writers visible", tracer: []string{"--visibility", "file:write"}}
	blocks     = arm{name: "200 Block rules", tracer: []string{"--visibility", "none"}, policy: "all"}
	file       = arm{name: "file"}

	// The same by ptrace, and another program that does no less by it.
	byPtrace         = arm{name: "ptrace, all visible", tracer: []string{"--engine=ptrace", "--visibility", "all"}}
	byPtraceBlocks   = arm{name: "ptrace, 200 Block rules", tracer: []string{"--engine=ptrace", "--visibility", "none"}, policy: "all"}
	byPtraceDefaults = arm{name: "ptrace", tracer: []string{"--engine=ptrace"}}
	strace           = arm{name: "strace", before: []string{"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=openat,connect,execve"}}
	// Nothing is held.
	unheld         = arm{name: "notify, nothing held", tracer: []string{"--engine=notify", "--visibility", "none"}}
	byPtraceUnheld = arm{name: "ptrace, nothing held", tracer: []string{"--engine=ptrace", "--visibility", "none"}}
	execBlocks     = arm{name: "100 Block rules for execs", tracer: []string{}, policy: "exec"}
)

// rows is what is measured.
func rows() []row {
	return slices.Concat(calls(), tasks(), programs(), servers(), starts(), sizes())
}

// of says how many events a run makes when everything is visible.
func of(n int) map[string]int { return map[string]int{everything.name: n, byPtrace.name: n} }

// calls are single held calls.
func calls() []row {
	perCall := []string{"µs"}
	adds := []goal{
		{arm: everything.name, of: floor.name, added: true, bound: 1.3},
		{arm: blocks.name, of: floor.name, added: true, bound: 2},
		{arm: byPtrace.name, of: ptrace.name, added: true, bound: 1.2},
		{arm: byPtrace.name, of: strace.name, added: true, bound: 0.6},
	}
	arms := []arm{native, floor, everything, blocks, ptrace, strace, byPtrace, byPtraceBlocks}
	return []row{
		{name: "open+close", needs: "strace", values: perCall, arms: arms, goals: adds, load: workLoad("open", 30000), events: of(30000)},
		{name: "connect, UDP", needs: "strace", values: perCall, arms: arms, goals: adds, load: workLoad("connect", 20000), events: of(20000)},
		{
			name: "spawn of /bin/true", values: perCall,
			arms: []arm{native, floor, ptrace, defaults, execBlocks, everything, blocks},
			goals: []goal{
				{arm: defaults.name, of: native.name, bound: 1.1},
				{arm: execBlocks.name, of: native.name, bound: 1.5},
			},
			load:   workLoad("exec", 400),
			events: map[string]int{defaults.name: 400, execBlocks.name: 400, everything.name: 1200},
		},
		{
			name: "4 threads open+close", values: []string{"a second"},
			arms:  []arm{floor, everything, blocks},
			goals: []goal{{arm: everything.name, of: floor.name, least: true, bound: 1}},
			load:  threadsLoad(4, 15000), events: of(60000),
		},
	}
}

// tasks are what tracers are told of by the kernel although nothing is held.
func tasks() []row {
	perTask := []string{"µs"}
	arms := []arm{native, unheld, byPtraceUnheld}
	return []row{
		{name: "a signal, nothing held", needs: "cc", values: perTask, arms: arms, load: tasksLoad("signal", 20000)},
		{name: "a thread, nothing held", needs: "cc", values: perTask, arms: arms, load: tasksLoad("thread", 5000)},
		{name: "spawn of /bin/true, nothing held", values: perTask, arms: arms, load: workLoad("exec", 400)},
	}
}

// programs are commands from start to end.
func programs() []row {
	time := []string{"ms"}
	arms := []arm{native, floor, defaults, everything}
	either := []goal{
		{arm: defaults.name, of: native.name, bound: 1.15},
		{arm: defaults.name, of: floor.name, bound: 1.05},
	}
	return []row{
		{
			name: "grep -r, 10,000 files", needs: "grep", values: time, arms: []arm{native, floor, everything, writers},
			goals: []goal{
				{arm: everything.name, of: floor.name, bound: 1.2},
				{arm: writers.name, of: native.name, bound: 1.03},
			},
			load: grepLoad, events: of(10000),
		},
		{name: "python3, twenty imports", needs: "python3", values: time, arms: arms, goals: either, either: true, times: 3, load: pythonLoad},
		{name: "gcc, 50 files", needs: "gcc", values: time, arms: arms, goals: either, either: true, load: gccLoad},
		{name: "node", needs: "node", values: time, arms: arms, goals: either, either: true, times: 3, load: nodeLoad},
		{name: "go build, 20 packages", needs: "go", values: time, arms: arms, goals: either, either: true, load: goLoad},
	}
}

// servers serve requests in which nothing is held.
func servers() []row {
	values := []string{"requests/s", "ms p99"}
	arms := []arm{native, defaults, byPtraceDefaults}
	goals := []goal{
		{arm: byPtraceDefaults.name, of: native.name, least: true, bound: 0.97},
		{arm: defaults.name, of: native.name, least: true, bound: 0.97},
		{arm: defaults.name, value: 1, of: native.name, bound: 1.1},
	}
	return []row{
		{name: "nginx return 200", needs: "nginx wrk", values: values, arms: arms, goals: goals, load: nginxLoad},
		{name: "redis, get", needs: "redis-server redis-benchmark", values: values, arms: arms, goals: goals, load: redisLoad},
		{name: "pgbench -S", needs: "pgbench setpriv", values: values, arms: arms, goals: goals, load: postgresLoad},
	}
}

// starts are what the tracer does before and after the workload.
func starts() []row {
	return []row{
		{
			name: "before the first instruction (to the first output of echo)", values: []string{"ms"},
			arms: []arm{native, floor, defaults}, times: 5,
			goals: []goal{{arm: defaults.name, added: true, bound: 5}},
			load:  firstOutputLoad,
		},
		{
			name: "/bin/true, from start to exit", values: []string{"ms"},
			arms: []arm{native, floor, defaults}, times: 5,
			goals: []goal{{arm: defaults.name, bound: 8}},
			load:  commandLoad("/bin/true"),
		},
	}
}

// sizes are of memory and of files.
func sizes() []row {
	resident := []string{"MB resident", "MB at most"}
	return []row{
		{
			name: "tracer, idle", values: resident, arms: []arm{defaults}, runs: 3,
			goals: []goal{{arm: defaults.name, bound: 15}},
			load:  residentLoad("echo ready; exec sleep 600"),
		},
		{
			name: "tracer, after 1,000,000 events", values: resident, arms: []arm{everything}, runs: 1,
			goals:  []goal{{arm: everything.name, bound: 25}},
			load:   residentLoad(`"$WORK" open 1000000; echo ready; exec sleep 600`),
			events: of(1000000),
		},
		{
			name: "tracer, after 30,000 events", values: resident, arms: []arm{everything, away}, runs: 1,
			load: residentLoad(`"$WORK" open 30000; echo ready; exec sleep 600`),
		},
		{
			name: "tracer, 10,000 live processes", values: resident, arms: []arm{defaults}, runs: 1,
			goals:  []goal{{arm: defaults.name, bound: 40}},
			load:   residentLoad("i=0; while [ $i -lt 10000 ]; do sleep 600 & i=$((i+1)); done; echo ready; wait"),
			events: map[string]int{defaults.name: 10000},
		},
		{
			name: "added by 1,000 threads", needs: "cc", values: []string{"MB resident"}, arms: []arm{defaults, byPtraceDefaults, blocks, byPtraceBlocks, unheld, byPtraceUnheld}, runs: 3,
			goals: []goal{{arm: byPtraceDefaults.name, bound: 2}, {arm: byPtraceBlocks.name, bound: 2}},
			load:  threadsGrowth(1000), events: map[string]int{defaults.name: 1000, byPtraceDefaults.name: 1000},
		},
		{
			name: "bin/tracer", values: []string{"MB"}, arms: []arm{file}, runs: 1,
			goals: []goal{{arm: file.name, bound: 9}},
			load:  sizeLoad("tracer"),
		},
		{name: "bin/sidekick", values: []string{"MB"}, arms: []arm{file}, runs: 1, load: sizeLoad("sidekick")},
	}
}

// writePolicies writes the rules that arms name. None names a file of a workload.
func (b *bench) writePolicies() error {
	const head = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: bench}\nspec:\n  action: Block\n"
	const network = "  network: {matchProtocols: [{protocol: icmp}]}\n"
	for name, text := range map[string]string{
		"all":  head + network + manyPaths("process") + manyPaths("file"),
		"exec": head + manyPaths("process"),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name+".yaml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func manyPaths(section string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "  %s:\n    matchPaths:\n", section)
	for i := range 100 {
		fmt.Fprintf(&s, "      - path: /opt/app-%d/data\n", i)
	}
	return s.String()
}
