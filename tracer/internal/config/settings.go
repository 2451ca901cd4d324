package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// Bounds of the numeric settings.
const (
	MinBufferBytes  = 64 << 10 // below it not even a few large events fit
	MaxBufferBytes  = 1 << 30
	MaxFlushTimeout = time.Minute // ECS on Fargate kills at 120 s at the latest

	MaxPolicyTimeout = 10 * time.Minute
)

// setting is one flag of "tracer run" and the variable that stands for it.
type setting struct {
	flag     string
	variable string
	value    string // default, in the form the user would write
	usage    string

	set func(c *Config, value string, given bool) error
	// identity settings have no set: their variables are read by package
	// identity, where other sources of the same fact are weighed.
}

// settings is the one table of what "tracer run" can be told. Variables that
// only make sense to KubeArmor carry KubeArmor's name; those whose plain name
// could be the workload's own (LOG_LEVEL) begin with TRACER_.
func settings() []setting {
	return append([]setting{
		{"sidekick-url", "SIDEKICK_URL", "http://localhost:2801/", "where events are posted; empty for nowhere", setURL},
		{"sidekick-token-file", "SIDEKICK_TOKEN_FILE", "", "file with the token that the sidekick wants", setTokenFile},
		{"sidekick-ca-file", "SIDEKICK_CA_FILE", "", "PEM file with the authorities to trust for an https sidekick-url; empty for the system's", setFile(func(t *TLS) *string { return &t.CAFile })},
		{"sidekick-cert-file", "SIDEKICK_CERT_FILE", "", "PEM file with the certificate to show to the sidekick", setFile(func(t *TLS) *string { return &t.CertFile })},
		{"sidekick-key-file", "SIDEKICK_KEY_FILE", "", "PEM file with its key", setFile(func(t *TLS) *string { return &t.KeyFile })},
		{"sidekick-policies", "TRACER_SIDEKICK_POLICIES", "false", "take policies from the sidekick too, and follow their changes: true or false", setSidekickPolicies},
		{"policies", "TRACER_POLICIES", "", "policy file, or directory of *.yaml, *.yml and *.json; empty for none", setPolicies},
		{"policies-watch", "TRACER_POLICIES_WATCH", WatchAuto, "whether a directory of policies is watched for changes: true, false, or auto (when it is a volume that is mounted read-only)", setPoliciesWatch},
		{"policy", "TRACER_POLICY", "", "policies themselves: YAML, JSON, or base64 of it; empty for none", setPolicy},
		{"strict", "TRACER_STRICT", "false", "make an error of what KubeArmor passes over in a policy, such as keys that are not known: true or false", setStrict},
		{"on-missing-policy", "TRACER_ON_MISSING_POLICY", MissingBlock, "when it is not known in time which policies are for this container: block (do not start) or run", setOnMissingPolicy},
		{"policy-timeout", "TRACER_POLICY_TIMEOUT", "30s", "how long the start may wait to know them", setPolicyTimeout},
		{"visibility", "TRACER_VISIBILITY", "process,file:write,network,syscalls", "what is logged when no policy matches: process, file (all opens), file:write, network, syscalls (of identity and escape), mapexec, all, or none", setVisibility},
		{"aggregate", "TRACER_AGGREGATE", "false", "join logs of one program that are alike within a second, with a count: true or false; alerts are not joined", setAggregate},
		{"drop-process-resource", "TRACER_DROP_PROCESS_RESOURCE", "false", "leave out program and arguments, where secrets may stand, of the logs of processes, not of alerts: true or false", setDropResource},
		{"hold", "TRACER_HOLD", "auto", "what is held from the start beside that, for policies that come later: process, file, file:write, network, syscalls, capabilities, mapexec, all, or auto", setHold},
		{"opens", "TRACER_OPENS", OpensCarryOut, "files that a rule could deny: carry-out (opened by the tracer) or let-run (faster; a racing thread can get past file rules)", setOpens},
		{"default-file-posture", "DEFAULTFILEPOSTURE", rules.PostureAudit, "what an allow-list does to files and processes that it does not name: audit, block or allow", setPosture(func(p *rules.Posture) *string { return &p.File })},
		{"default-network-posture", "DEFAULTNETWORKPOSTURE", rules.PostureAudit, "the same for network rules", setPosture(func(p *rules.Posture) *string { return &p.Network })},
		{"default-capabilities-posture", "DEFAULTCAPABILITIESPOSTURE", rules.PostureAudit, "the same for capability rules", setPosture(func(p *rules.Posture) *string { return &p.Capabilities })},
		{"format", "TRACER_FORMAT", FormatKubeArmor, "what is posted: kubearmor (batches, for sidekick) or falco (single events, for FalcoSidekick)", setFormat},
		{"engine", "TRACER_ENGINE", EngineAuto, "how system calls are held: auto, notify or ptrace", setEngine},
		{"on-tracer-death", "TRACER_ON_TRACER_DEATH", DeathFail, "when the tracer ends before the workload: fail (held calls fail) or kill (its first process is killed as well)", setOnTracerDeath},
		{"log-file", "TRACER_LOG_FILE", "", "file for the tracer's own log; empty for standard error if log-level is given, else for none", setLogFile},
		{"log-level", "TRACER_LOG_LEVEL", "info", "the tracer's own log: debug, info, warn or error", setLogLevel},
		{"buffer-bytes", "TRACER_BUFFER_BYTES", "16777216", "memory for events that cannot be sent yet, in bytes", setBufferBytes},
		{"flush-timeout", "TRACER_FLUSH_TIMEOUT", "2s", "how long the end may wait for the last events to be sent", setFlushTimeout},
	}, identitySettings()...)
}

func identitySettings() []setting {
	return []setting{
		{"cluster", "CLUSTER_NAME", "", "name of the cluster", nil},
		{"node", "NODE_NAME", "", "name of the node", nil},
		{"namespace", "POD_NAMESPACE", "", "namespace of the pod (NAMESPACE is read too)", nil},
		{"pod", "POD_NAME", "", "name of the pod", nil},
		{"container", "CONTAINER_NAME", "", "name of the container", nil},
		{"image", "CONTAINER_IMAGE", "", "image of the container", nil},
		{"labels", "POD_LABELS", "", "labels of the pod, as key=value,key=value", nil},
		{"labels-file", "LABELS_FILE", "", "labels of the pod as a downward API file", nil},
		{"owner-kind", "OWNER_KIND", "", "kind of the object that owns the pod, e.g. Deployment", nil},
		{"owner-name", "OWNER_NAME", "", "name of that object", nil},
	}
}

// apply takes the flag if it was given, else the variable, else the default.
func (s setting) apply(c *Config, changed bool, value string, env map[string]string) error {
	if s.set == nil {
		if changed {
			c.Identity = append(c.Identity, s.variable+"="+value)
		}
		return nil
	}
	name, given := "--"+s.flag, changed
	if !changed {
		if v, ok := env[s.variable]; ok {
			name, value, given = s.variable, v, true
		}
	}
	if err := s.set(c, value, given); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func setURL(c *Config, value string, given bool) (err error) {
	c.SidekickURL, err = ParseURL(value, given)
	return err
}

func setSidekickPolicies(c *Config, value string, _ bool) error {
	return boolean(&c.SidekickPolicies, value)
}

func setPolicies(c *Config, value string, _ bool) error {
	c.Policies = value
	return nil
}

func setPoliciesWatch(c *Config, value string, _ bool) error {
	return oneOf(&c.PoliciesWatch, value, WatchAuto, WatchAlways, WatchNever)
}

func setPolicy(c *Config, value string, _ bool) error {
	c.Policy = value
	return nil
}

func setStrict(c *Config, value string, _ bool) error { return boolean(&c.Strict, value) }

func setDropResource(c *Config, value string, _ bool) error { return boolean(&c.DropResource, value) }

func setAggregate(c *Config, value string, _ bool) error { return boolean(&c.Aggregate, value) }

func boolean(field *bool, value string) (err error) {
	if *field, err = strconv.ParseBool(value); err != nil {
		return fmt.Errorf("%q: use true or false", value)
	}
	return nil
}

func setOnMissingPolicy(c *Config, value string, _ bool) error {
	return oneOf(&c.OnMissingPolicy, value, MissingBlock, MissingRun)
}

func setOnTracerDeath(c *Config, value string, _ bool) error {
	return oneOf(&c.OnTracerDeath, value, DeathFail, DeathKill)
}

func setPolicyTimeout(c *Config, value string, _ bool) error {
	return duration(&c.PolicyTimeout, value, MaxPolicyTimeout)
}

func setVisibility(c *Config, value string, _ bool) (err error) {
	c.Visibility = 0
	if value == "none" {
		return nil
	}
	if c.Visibility, err = rules.ParseOperations(value); err != nil {
		return fmt.Errorf("%w, or none", err)
	}
	if c.Visibility&rules.Capabilities != 0 {
		c.Visibility |= rules.Syscall // what KubeArmor shows under this name
	}
	return nil
}

func setHold(c *Config, value string, _ bool) (err error) {
	c.Hold = 0
	if value == "auto" {
		return nil
	}
	if c.Hold, err = rules.ParseOperations(value); err != nil {
		return fmt.Errorf("%w, or auto", err)
	}
	return nil
}

func setOpens(c *Config, value string, _ bool) error {
	return oneOf(&c.Opens, value, OpensCarryOut, OpensLetRun)
}

func setPosture(field func(*rules.Posture) *string) func(*Config, string, bool) error {
	return func(c *Config, value string, _ bool) error {
		return oneOf(field(&c.Posture), strings.ToLower(value), rules.PostureAudit, rules.PostureBlock, rules.PostureAllow)
	}
}

func setFormat(c *Config, value string, _ bool) error {
	return oneOf(&c.Format, value, FormatKubeArmor, FormatFalco)
}

func setEngine(c *Config, value string, _ bool) error {
	return oneOf(&c.Engine, value, EngineAuto, EngineNotify, EnginePtrace)
}

func oneOf(field *string, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			*field = a
			return nil
		}
	}
	last := len(allowed) - 1
	return fmt.Errorf("%q: use %s or %s", value, strings.Join(allowed[:last], ", "), allowed[last])
}

func setLogFile(c *Config, value string, _ bool) error {
	c.Log.File = value
	c.Log.Enabled = c.Log.Enabled || value != ""
	return nil
}

func setLogLevel(c *Config, value string, given bool) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[strings.ToLower(value)]
	if !ok {
		return fmt.Errorf("%q: use debug, info, warn or error", value)
	}
	c.Log.Level = level
	c.Log.Enabled = c.Log.Enabled || given
	return nil
}

func setBufferBytes(c *Config, value string, _ bool) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < MinBufferBytes || n > MaxBufferBytes {
		return fmt.Errorf("%q: use a number of bytes from %d to %d", value, MinBufferBytes, MaxBufferBytes)
	}
	c.BufferBytes = n
	return nil
}

func setFlushTimeout(c *Config, value string, _ bool) error {
	return duration(&c.FlushTimeout, value, MaxFlushTimeout)
}

func duration(field *time.Duration, value string, longest time.Duration) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longest {
		return fmt.Errorf("%q: use a duration from 0s to %s, e.g. 2s", value, longest)
	}
	*field = d
	return nil
}
