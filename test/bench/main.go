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

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
