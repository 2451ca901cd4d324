package config

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

const mainHelp = `tracer starts a workload, watches what it executes, opens and connects to,
allows or denies it by KubeArmor policies, and reports it.

Usage:
  tracer run [flags] -- CMD [ARGS...]   run CMD under the tracer
  tracer policy check FILE...           say what policies mean
  tracer policy test FILE... -- COMMAND [ARGUMENT...]
                                        run a command, and say which rule decided what
  tracer learn -- COMMAND [ARGUMENT...] run a command, and write the policy of what it does
  tracer doctor                         find out what this host allows
  tracer install DIR                    copy this program to DIR/tracer
  tracer version                        print the version
  tracer help [run|policy|learn|doctor|install]  print help
`

const installHelp = `tracer install copies this program, one file that needs no other, to DIR/tracer.

Usage:
  tracer install DIR
`

const policyHelp = `tracer policy check says what policies mean, rule by rule, what of them never
matches here, and what is not supported. tracer policy test runs a command under
policies, whomever they select, and says at its end of each decision which rule made
it, and what would be so without that rule.

FILE is a policy file, or a directory of *.yaml, *.yml and *.json. Links are looked up
on this machine: run it in the image of the workload.

Usage:
  tracer policy check [--json] [--strict] FILE...
  tracer policy test [--json] [--strict] [--report FILE] FILE... -- COMMAND [ARGUMENT...]

  --json    for programs
  --strict  what is passed over in a policy is an error; for check, all that does less
            than it says
  --report  a file for what test says, instead of standard error

Check ends with 1 if a file is not taken, or with --strict does less than it says. Test
ends as the command does, with 125 if that could not be tried. The variables of "tracer
run" count, but for those of policies and of the sidekick.
`

const doctorHelp = `tracer doctor tries what the tracer needs of this host, and says what follows where
something is missing. It starts no workload and changes nothing. Run it where the
workload will run: as the command of the container, with its user, capabilities and
environment.

Usage:
  tracer doctor [--prove] [--json]

  --prove   make attacks in a scratch directory below TMPDIR, without the tracer
            and under it, and say which were held; alerts go to the sidekick
  --json    for programs

It ends with 1 if no workload can be run under the tracer here, or if an attack
was not held.
`

const runIntro = `tracer run starts CMD and becomes invisible to it: same input, output, terminal
and exit status. Nothing is written to its standard output or error unless
log-level is given without log-file.

Usage:
  tracer run [flags] -- CMD [ARGS...]

Every flag has a variable that stands in for it; the flag wins. KubeArmor's
spelling of the posture flags (defaultFilePosture, ...) is taken too. A variable
that begins with TRACER_ and is not listed here is an error. SIDEKICK_TOKEN, the
token that the sidekick wants, is taken from the workload's environment.

`

// runHelp is the help of "tracer run": the table of settings as users see it.
func runHelp() string {
	var b strings.Builder
	b.WriteString(runIntro)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FLAG\tVARIABLE\tDEFAULT\tMEANING")
	for _, s := range settings() {
		value := s.value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "--%s\t%s\t%s\t%s\n", s.flag, s.variable, value, s.usage)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
