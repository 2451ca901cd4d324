// Command strangers runs test suites that others wrote natively and under the
// tracer, and prints a table in Markdown of what came out: a test that passes
// natively and not under the tracer is a fault of the tracer, or is explained in
// docs/transparency.md. The suites are in suites.go.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
