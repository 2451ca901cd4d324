package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

const usage = `Usage:
  sidekick [-c FILE]              take events and deliver them
  sidekick healthcheck [-c FILE]  exit 0 if the sidekick on this machine answers
  sidekick check [-c FILE] [--events FILE]
                                  check the configuration and show it; show which
                                  output would get what of a file of events
  sidekick version

Flags:
`

// command is what the arguments ask for.
type command struct {
	name   string // serve, healthcheck, check, version or help
	file   string // configuration, "" for none
	events string // for check: events to try it on, "" for none
}

func parse(args []string, stdout io.Writer) (command, error) {
	flags := pflag.NewFlagSet("sidekick", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.StringP("config-file", "c", "", "YAML configuration; variables win over it")
	events := flags.String("events", "", "JSON or NDJSON file of events, for check")
	showVersion := flags.BoolP("version", "v", false, "print the version")
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, usage, flags.FlagUsages())
		return command{name: "help"}, nil
	} else if err != nil {
		return command{}, err
	}
	c := command{name: "serve", file: *file, events: *events}
	if *showVersion {
		c.name = "version"
		return c, nil
	}
	switch rest := flags.Args(); {
	case len(rest) == 0:
	case len(rest) == 1 && (rest[0] == "healthcheck" || rest[0] == "check" || rest[0] == "version" || rest[0] == "serve" || rest[0] == "help"):
		c.name = rest[0]
		if c.name == "help" {
			fmt.Fprint(stdout, usage, flags.FlagUsages())
		}
	default:
		return command{}, fmt.Errorf("unknown command %q, see sidekick --help", rest)
	}
	if c.events != "" && c.name != "check" {
		return command{}, errors.New("--events is for sidekick check")
	}
	return c, nil
}
