// Command bench measures what the tracer costs a workload, beside the workload
// without it (native) and under the cheapest supervisor that can be written (the
// floor), in one run, and prints a table in Markdown with the goals beside the
// figures. It asserts nothing. What it measures is listed in rows.go.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
