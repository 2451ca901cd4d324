// Command bench measures what the tracer costs a workload, beside the cheapest
// supervisor that can be written (the floor), in one run, and prints a table in
// Markdown. It asserts nothing.
//
//	bench -bin DIR -floor DIR [-rounds N]
//
// The floor's directory holds three programs: work (open|exec|connect COUNT,
// prints us_per_op=X), and notify and ptrace, which run a command under a
// supervisor that looks at nothing.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	bin := flag.String("bin", "bin", "where tracer and sidekick are")
	floor := flag.String("floor", "", "where work, notify and ptrace are")
	rounds := flag.Int("rounds", 7, "runs of each command; medians are printed")
	flag.Parse()
	if err := measure(os.Stdout, *bin, *floor, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
