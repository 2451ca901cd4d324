package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/deploy/eks"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// eksFlags are those of `inject eks`, and of the webhook.
type eksFlags struct {
	common
	options                          eks.Options
	slack, discord, logGroup, region string
	secrets                          []string
	compute, shared                  string
}

func (e *eksFlags) register(f *pflag.FlagSet) {
	e.common.register(f)
	e.registerPod(f)
}

// registerPod has the flags that are the same for a file and for a cluster.
func (e *eksFlags) registerPod(f *pflag.FlagSet) {
	f.StringVar(&e.options.PolicyConfigMap, "policy-configmap", "", "policies from a ConfigMap: its `NAME`")
	f.StringVar(&e.slack, "slack-secret", "", "`SECRET/KEY` with the address of Slack's webhook")
	f.StringVar(&e.discord, "discord-secret", "", "`SECRET/KEY` with the address of Discord's webhook")
	f.StringVar(&e.logGroup, "cloudwatch-group", "", "log `GROUP` of CloudWatch for alerts; the service account's role must be allowed to write to it")
	f.StringVar(&e.region, "region", "", "`REGION` of it")
	f.StringArrayVar(&e.secrets, "sidekick-secret", nil, "a secret setting of the sidekick, `NAME=SECRET/KEY`")
	f.StringVar(&e.options.SidekickSecret, "sidekick-env-from", "", "`SECRET` whose keys are settings of the sidekick, such as SLACK_WEBHOOKURL")
	f.StringVar(&e.shared, "token-secret", "", "`SECRET/KEY` with a token by which tracer and sidekick know each other")
	f.StringVar(&e.options.Cluster, "cluster", "", "`NAME` of the cluster, for events")
	f.StringVar(&e.options.Arch, "arch", "amd64", "architecture of the images, `amd64 or arm64`")
	f.StringVar(&e.compute, "compute", "fargate", "where the pods run: `fargate or ec2`")
	f.BoolVar(&e.options.TraceProbes, "trace-probes", false, "run exec probes and lifecycle hooks under the tracer, too")
	f.BoolVar(&e.options.ClusterPolicies, "cluster-policies", false, "the sidekick follows the KubeArmor policies of the cluster; the service account needs the rights of rbac.yaml")
	f.BoolVar(&e.options.Token, "sidekick-api-token", false, "give the sidekick, and no other container, a token for the API server")
}

func runEKS(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var e eksFlags
	f := pflag.NewFlagSet("eks", pflag.ContinueOnError)
	file := f.StringP("filename", "f", "", "`FILE` with manifests, - for standard input")
	e.register(f)
	name, err := parse(f, args, stdout, "eks -f FILE")
	if err != nil {
		return err
	}
	if *file != "" && name != "" {
		return fmt.Errorf("%s and %s: one file at a time: %w", *file, name, errUsage)
	}
	if name += *file; name == "" {
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
		before, err := eks.Remove(text)
		if err != nil {
			return named(name, err)
		}
		return e.show(name, text, &outcome{text: before, changes: []string{"everything that inject added is taken away"}}, stdout, stderr)
	}
	res, err := eks.Inject(ctx, text, e.options)
	if err != nil {
		return named(name, err)
	}
	return e.show(name, text, &outcome{res.Text, res.Changes, res.Notes, res.Costs}, stdout, stderr)
}

// complete makes options of the flags.
func (e *eksFlags) complete() error {
	o := &e.options
	o.TracerImage, o.SidekickImage, o.Only, o.Skip = e.tracer, e.sidekick, e.only, e.skip
	switch e.compute {
	case "fargate", "ec2":
		o.Nodes = e.compute == "ec2"
	default:
		return fmt.Errorf("--compute %s is neither fargate nor ec2: %w", e.compute, errUsage)
	}
	if o.Arch != "amd64" && o.Arch != "arm64" {
		return fmt.Errorf("--arch %s is neither amd64 nor arm64: %w", o.Arch, errUsage)
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
func (e *eksFlags) outputs() error {
	o := &e.options
	var err error
	for flag, settings := range map[string]*[]eks.Setting{"--tracer-env": &o.TracerEnv, "--sidekick-env": &o.SidekickEnv} {
		from := e.tracerEnv
		if flag == "--sidekick-env" {
			from = e.sideEnv
		}
		for _, s := range from {
			name, value, err := setting(flag, s)
			if err != nil {
				return err
			}
			*settings = append(*settings, eks.Setting{Name: name, Value: value})
		}
	}
	if e.region != "" {
		o.SidekickEnv = append(o.SidekickEnv, eks.Setting{Name: "AWS_REGION", Value: e.region})
	}
	if e.logGroup != "" {
		o.SidekickEnv = append(o.SidekickEnv, eks.Setting{Name: "AWS_CLOUDWATCHLOGS_LOGGROUP", Value: e.logGroup})
	}
	secrets := e.secrets
	if e.slack != "" {
		secrets = append(secrets, "SLACK_WEBHOOKURL="+e.slack)
	}
	if e.discord != "" {
		secrets = append(secrets, "DISCORD_WEBHOOKURL="+e.discord)
	}
	for _, s := range secrets {
		name, value, err := setting("--sidekick-secret", s)
		if err != nil {
			return err
		}
		secret, err := secretKey(name, value)
		if err != nil {
			return err
		}
		o.SidekickEnv = append(o.SidekickEnv, secret)
	}
	if e.shared != "" {
		if o.Shared, err = secretKey("--token-secret", e.shared); err != nil {
			return err
		}
	}
	return nil
}

// secretKey is a setting that comes from SECRET/KEY.
func secretKey(name, value string) (eks.Setting, error) {
	secret, key, ok := strings.Cut(value, "/")
	if !ok || secret == "" || key == "" || strings.Contains(value, "://") {
		// The value itself is not repeated: it may be the secret.
		return eks.Setting{}, fmt.Errorf("the secret for %s: the name of a Secret and its key are wanted, as in alerts/slack-webhookurl: %w", name, errUsage)
	}
	return eks.Setting{Name: name, Secret: secret, Key: key}, nil
}
