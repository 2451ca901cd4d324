package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/deploy/ecs"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// ecsFlags are those of `inject ecs`.
type ecsFlags struct {
	common
	options                          ecs.Options
	slack, discord, logGroup, region string
	secrets                          []string
}

func (e *ecsFlags) register(f *pflag.FlagSet) {
	e.common.register(f)
	f.StringVar(&e.options.PolicyParameter, "policy-parameter", "", "policies from a Systems Manager parameter or a secret: its `ARN` or name")
	f.StringVar(&e.slack, "slack-secret", "", "`ARN` of the secret or parameter with the address of Slack's webhook")
	f.StringVar(&e.discord, "discord-secret", "", "`ARN` of the secret or parameter with the address of Discord's webhook")
	f.StringVar(&e.logGroup, "cloudwatch-group", "", "log `GROUP` of CloudWatch for alerts; the task role must be allowed to write to it")
	f.StringVar(&e.region, "region", "", "`REGION` of it, where the task does not set AWS_REGION")
	f.StringArrayVar(&e.secrets, "sidekick-secret", nil, "a secret setting of the sidekick, `NAME=ARN`")
	f.StringVar(&e.options.LaunchType, "launch-type", "", "`TYPE` FARGATE, EC2, MANAGED_INSTANCES or EXTERNAL (default: what requiresCompatibilities says)")
	f.BoolVar(&e.options.TraceHealthChecks, "trace-health-checks", false, "run health checks under the tracer, too")
	f.BoolVar(&e.options.WaitHealthy, "wait-healthy", false, "start the workload only when the sidekick answers: some 5 s later, and never if it does not")
	f.IntVar(&e.options.SidekickMemory, "sidekick-memory", 2*workload.SidekickMemory, "`MIB` that the sidekick may take; 0 for no share of its own")
	f.IntVar(&e.options.SidekickCPU, "sidekick-cpu", 0, "CPU `UNITS` of the sidekick; 0 for no share of its own")
	f.StringVar(&e.options.TaskCPU, "task-cpu", "", "another `CPU` size for the task")
	f.StringVar(&e.options.TaskMemory, "task-memory", "", "another `MEMORY` size for the task")
}

func runECS(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var e ecsFlags
	f := pflag.NewFlagSet("ecs", pflag.ContinueOnError)
	e.register(f)
	name, err := parse(f, args, stdout, "ecs FILE")
	if err != nil {
		return err
	}
	if name == "" {
		return fmt.Errorf("which file? %w", errUsage)
	}
	if err := e.complete(); err != nil {
		return err
	}
	text, err := readInput(name, stdin)
	if err != nil {
		return err
	}
	if e.remove {
		before, err := ecs.Remove(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return e.show(name, text, &outcome{text: before, changes: []string{"everything that inject added is taken away"}}, stdout, stderr)
	}
	res, err := ecs.Inject(ctx, text, e.options)
	if err != nil {
		return named(name, err)
	}
	return e.show(name, text, &outcome{res.Text, res.Changes, res.Notes, res.Costs}, stdout, stderr)
}

// named puts the file's name in front of each line of an error.
func named(name string, err error) error {
	return fmt.Errorf("%s: %w", name, err)
}

var launchTypes = []string{"FARGATE", "EC2", "MANAGED_INSTANCES", "EXTERNAL"}

// complete makes options of the flags.
func (e *ecsFlags) complete() error {
	o := &e.options
	o.TracerImage, o.SidekickImage, o.Only, o.Skip = e.tracer, e.sidekick, e.only, e.skip
	o.LaunchType = strings.ToUpper(o.LaunchType)
	if o.LaunchType != "" && !slices.Contains(launchTypes, o.LaunchType) {
		return fmt.Errorf("--launch-type %s is not one of %s: %w", o.LaunchType, strings.Join(launchTypes, ", "), errUsage)
	}
	if o.SidekickMemory < 0 || o.SidekickMemory > 0 && o.SidekickMemory < workload.SidekickMemory {
		return fmt.Errorf("--sidekick-memory %d: at least %d, or 0: %w", o.SidekickMemory, workload.SidekickMemory, errUsage)
	}
	if len(e.policies) > 0 && o.PolicyParameter != "" {
		return fmt.Errorf("--policies and --policy-parameter are two ways to say the same: %w", errUsage)
	}
	var err error
	if o.Commands, err = e.commands(); err != nil {
		return err
	}
	if o.Policies, err = workload.Policies(e.policies); err != nil {
		return err
	}
	return e.outputs()
}

// outputs makes settings of the flags about where alerts go.
func (e *ecsFlags) outputs() error {
	o := &e.options
	for _, s := range e.tracerEnv {
		name, value, err := setting("--tracer-env", s)
		if err != nil {
			return err
		}
		o.TracerEnv = append(o.TracerEnv, ecs.Pair{Name: name, Value: value})
	}
	for _, s := range e.sideEnv {
		name, value, err := setting("--sidekick-env", s)
		if err != nil {
			return err
		}
		o.SidekickEnv = append(o.SidekickEnv, ecs.Pair{Name: name, Value: value})
	}
	if e.region != "" {
		o.SidekickEnv = append(o.SidekickEnv, ecs.Pair{Name: "AWS_REGION", Value: e.region})
	}
	if e.logGroup != "" {
		o.SidekickEnv = append(o.SidekickEnv, ecs.Pair{Name: "AWS_CLOUDWATCHLOGS_LOGGROUP", Value: e.logGroup})
	}
	if e.slack != "" {
		e.secrets = append(e.secrets, "SLACK_WEBHOOKURL="+e.slack)
	}
	if e.discord != "" {
		e.secrets = append(e.secrets, "DISCORD_WEBHOOKURL="+e.discord)
	}
	for _, s := range e.secrets {
		name, value, err := setting("--sidekick-secret", s)
		if err != nil {
			return err
		}
		if strings.Contains(value, "://") {
			// The value itself is not repeated: it is one.
			return fmt.Errorf("the secret for %s: the ARN or the name of a secret or a parameter is wanted, not the secret itself: %w", name, errUsage)
		}
		o.SidekickSecrets = append(o.SidekickSecrets, ecs.Pair{Name: name, Value: value})
	}
	return nil
}
