package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// letterUsage is how to call sidekick deadletters.
const letterUsage = `  sidekick deadletters list [--output NAME] [--limit N] [--json]
  sidekick deadletters show NUMBER|ID
  sidekick deadletters replay NUMBER|ID...|--output NAME|--all
  sidekick deadletters delete NUMBER|ID...|--output NAME|--all
`

const usage = `Usage:
  sidekick [-c FILE]              take events and deliver them
  sidekick healthcheck [-c FILE]  exit 0 if the sidekick on this machine answers
  sidekick check [-c FILE] [--events FILE]
                                  check the configuration and show it; show which
                                  output would get what of a file of events
  sidekick test [-c FILE] [OUTPUT]
                                  send a sample event to one output or to all, and
                                  show what each answers
  sidekick policy simulate FILE... [--since 1h] [--events FILE|-] [--posture block]
                          [--limit N] [--json]
                                  what policies would have done to events of the
                                  past: those that the sidekick holds, or of a file
` + letterUsage + `                                  see what outputs refused for good, deliver it
                                  again, or remove it
  sidekick help config [OUTPUT]   show all settings, or those of one output
  sidekick version

Flags:
`

// command is what the arguments ask for.
type command struct {
	name    string         // serve, healthcheck, check, test, policy, deadletters, version, help or help config
	file    string         // configuration, "" for none
	events  string         // for check: events to try it on, "" for none
	output  string         // for test and help config: the only one, "" for all
	letters *letterCommand // for deadletters
	policy  simulation     // for policy
}

func parse(args []string, stdout io.Writer) (command, error) {
	flags := pflag.NewFlagSet("sidekick", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.StringP("config-file", "c", "", "YAML configuration; variables win over it")
	events := flags.String("events", "", "JSON or NDJSON file of events, for check and policy simulate")
	since := flags.String("since", "", "how far to look back, or a time as 2006-01-02T15:04:05Z; 1h without it, for policy simulate")
	posture := flags.String("posture", rules.PostureAudit, "audit, block or allow what an allow list does not name, for policy simulate")
	letters := letterFlags(flags)
	showVersion := flags.BoolP("version", "v", false, "print the version")
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, usage, flags.FlagUsages())
		return command{name: "help"}, nil
	} else if err != nil {
		return command{}, err
	}
	c := command{name: "serve", file: *file, events: *events, letters: letters}
	if *showVersion {
		c.name = "version"
		return c, nil
	}
	c.policy = simulation{events: *events, since: *since, posture: *posture, limit: letters.limit, json: letters.json}
	if err := c.named(flags); err != nil {
		return command{}, err
	}
	if c.name == "help" {
		fmt.Fprint(stdout, usage, flags.FlagUsages())
	}
	return c, misplaced(c.name, flags)
}

// misplaced says which flag is not for the command.
func misplaced(name string, flags *pflag.FlagSet) (err error) {
	takers := map[string][]string{
		"events": {"check", "policy"}, "posture": {"policy"}, "since": {"policy"}, "all": {"deadletters"}, "output": {"deadletters"},
		"limit": {"deadletters", "policy"}, "json": {"deadletters", "policy"},
	}
	flags.Visit(func(f *pflag.Flag) {
		if allowed, ok := takers[f.Name]; ok && !slices.Contains(allowed, name) {
			err = fmt.Errorf("--%s is for sidekick %s", f.Name, strings.Join(allowed, " and "))
		}
	})
	return err
}

// named takes in the name of a command, and what follows it.
func (c *command) named(flags *pflag.FlagSet) error {
	rest := flags.Args()
	if len(rest) == 0 {
		return nil
	}
	unknown := fmt.Errorf("unknown command %q, see sidekick --help", rest)
	switch rest[0] {
	case "deadletters":
		if err := c.letters.arguments(rest[1:], flags); err != nil {
			return err
		}
	case "policy":
		if err := c.policy.arguments(rest[1:]); err != nil {
			return err
		}
	case "test":
		if len(rest) > 2 {
			return unknown
		}
		c.output = strings.Join(rest[1:], "")
	case "help":
		if len(rest) > 3 || len(rest) > 1 && rest[1] != "config" {
			return unknown
		}
		if len(rest) > 1 {
			c.name, c.output = "help config", strings.Join(rest[2:], "")
			return nil
		}
	case "healthcheck", "check", "version", "serve":
		if len(rest) > 1 {
			return unknown
		}
	default:
		return unknown
	}
	c.name = rest[0]
	return nil
}
