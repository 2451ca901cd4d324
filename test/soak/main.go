// Command soak runs a sidekick for long under load, with receivers that fail at
// random, and kills it over and over; then it says what was lost, what came twice
// and how memory went. It looks at the program from outside alone.
//
//	soak -bin DIR [-duration 1h] [-rate 500] [-kill-every 1m] [-fail-every 10s] [-seed N] [-dir DIR]
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
