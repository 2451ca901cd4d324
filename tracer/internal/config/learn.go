package config

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

const learnHelp = `tracer learn runs a command, denies nothing, and writes the policy that allows what
the command did and denies all else. With --from it reads events that were reported
instead. What is generalised is in docs/learn.md.

Usage:
  tracer learn [flags] -- COMMAND [ARGUMENT...]
  tracer learn [flags] --from EVENTS...

  -o, --output FILE  a file for the policy. Without it the policy goes to standard output,
                     and what COMMAND writes there to standard error
      --from FILE    events as the sidekick stores them, one JSON object a line; - is
                     standard input. It can be given several times
      --merge FILE   a policy that was learned before: what it allows is allowed as well.
                     It can be given several times
      --name NAME    of the policy; without it that of the program
      --selector K=V,...  labels of the containers that the policy is for
      --about LIST   what the policy is about: process, file, network, endpoints, dns,
                     capabilities. Without it all but dns; with --from process, file
                     and network

It ends as COMMAND does, with 125 if the policy could not be made. The variables of
"tracer run" count, but for those of policies and of the sidekick.
`

// parseLearn reads what follows "learn". The variables are those of "run".
func parseLearn(args, environ []string) (Config, error) {
	var l Learning
	flags := pflag.NewFlagSet("learn", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {} // it would print by itself
	flags.StringArrayVar(&l.From, "from", nil, "")
	flags.StringArrayVar(&l.Merge, "merge", nil, "")
	flags.StringVarP(&l.Output, "output", "o", "", "")
	flags.StringVar(&l.Name, "name", "", "")
	flags.StringVar(&l.Selector, "selector", "", "")
	flags.StringVar(&l.About, "about", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return Config{Command: Help, Text: learnHelp}, nil
		}
		return Config{}, fmt.Errorf("learn: %w", err)
	}
	argv := flags.Args()
	switch {
	case len(argv) > 0 && len(l.From) > 0:
		return Config{}, errors.New("learn: either a command, or events by --from")
	case len(argv) == 0 && len(l.From) == 0 && len(l.Merge) == 0:
		return Config{}, errors.New("learn: no command given after \"--\", and no events by --from")
	case len(argv) == 0:
		return Config{Command: Learn, Learn: l}, nil
	}
	c, err := parseRun(append([]string{"--"}, argv...), environ)
	c.Command, c.Learn = Learn, l
	return c, err
}
