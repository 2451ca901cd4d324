package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/schema/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// defaults is what "tracer run" does unless told otherwise.
func defaults() Config {
	u, _ := ParseURL("http://localhost:2801/", false)
	return Config{
		Command: Run, Argv: []string{"cmd"}, SidekickURL: u,
		PoliciesWatch: WatchAuto, OnMissingPolicy: MissingBlock, PolicyTimeout: 30 * time.Second,
		Visibility: rules.Process | rules.FileWrite | rules.Network | rules.Syscall, Opens: OpensCarryOut,
		Posture: rules.Posture{File: "audit", Network: "audit", Capabilities: "audit"},
		Format:  FormatKubeArmor, Engine: EngineAuto, OnTracerDeath: DeathFail, Log: Log{Level: slog.LevelInfo},
		BufferBytes: 16 << 20, FlushTimeout: 2 * time.Second,
	}
}

func sameURL(a, b URL) bool { return a.Reveal() == b.Reveal() && a.Given() == b.Given() }

func sameSecret(a, b secret.String) bool { return a.Reveal() == b.Reveal() }

func compare() []cmp.Option { return []cmp.Option{cmp.Comparer(sameURL), cmp.Comparer(sameSecret)} }

func mustURL(t *testing.T, s string) URL {
	t.Helper()
	u, err := ParseURL(s, true)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseRun(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		change  func(*Config)
	}{
		{name: "nothing", args: []string{"--", "cmd"}},
		{name: "no dashes needed", args: []string{"cmd", "--engine=x", "--", "-h"}, change: func(c *Config) { c.Argv = []string{"cmd", "--engine=x", "--", "-h"} }},
		{name: "flags of the command", args: []string{"--engine=notify", "--", "cmd", "--engine=ptrace", "-x"}, change: func(c *Config) {
			c.Engine, c.Argv = EngineNotify, []string{"cmd", "--engine=ptrace", "-x"}
		}},
		{name: "url flag", args: []string{"--sidekick-url", "http://sidekick:1", "--", "cmd"}, change: func(c *Config) { c.SidekickURL = mustURL(t, "http://sidekick:1/") }},
		{name: "the default url, but given", args: []string{"--", "cmd"}, environ: []string{"SIDEKICK_URL=http://localhost:2801/"}, change: func(c *Config) { c.SidekickURL = mustURL(t, "http://localhost:2801/") }},
		{name: "no sidekick", args: []string{"--sidekick-url=", "--", "cmd"}, environ: []string{"SIDEKICK_URL=http://x/"}, change: func(c *Config) { c.SidekickURL = mustURL(t, "") }},
		{name: "flag over variable", args: []string{"--engine", "ptrace", "--", "cmd"}, environ: []string{"TRACER_ENGINE=nonsense"}, change: func(c *Config) { c.Engine = EnginePtrace }},
		{name: "visibility", args: []string{"--visibility=file, network", "--", "cmd"}, change: func(c *Config) { c.Visibility = rules.File | rules.Network }},
		{name: "visibility none", args: []string{"--", "cmd"}, environ: []string{"TRACER_VISIBILITY=none"}, change: func(c *Config) { c.Visibility = 0 }},
		{name: "writers only", args: []string{"--visibility=file:write", "--", "cmd"}, change: func(c *Config) { c.Visibility = rules.FileWrite }},
		{name: "visibility all", args: []string{"--visibility=all", "--", "cmd"}, change: func(c *Config) { c.Visibility = rules.All }},
		{name: "hold", args: []string{"--hold=process,network", "--", "cmd"}, environ: []string{"TRACER_HOLD=auto"}, change: func(c *Config) { c.Hold = rules.Process | rules.Network }},
		{name: "hold auto", args: []string{"--", "cmd"}, environ: []string{"TRACER_HOLD=auto"}},
		{name: "opens", args: []string{"--", "cmd"}, environ: []string{"TRACER_OPENS=let-run"}, change: func(c *Config) { c.Opens = OpensLetRun }},
		{name: "missing policies", args: []string{"--on-missing-policy=run", "--", "cmd"}, environ: []string{"TRACER_POLICY_TIMEOUT=1m30s", "TRACER_ON_MISSING_POLICY=block"}, change: func(c *Config) {
			c.OnMissingPolicy, c.PolicyTimeout = MissingRun, 90*time.Second
		}},
		{name: "postures, KubeArmor's flags", args: []string{"--defaultFilePosture", "block", "--defaultNetworkPosture=allow", "--defaultCapabilitiesPosture=block", "--", "cmd"}, change: func(c *Config) {
			c.Posture = rules.Posture{File: "block", Network: "allow", Capabilities: "block"}
		}},
		{name: "postures, KubeArmor's variables", args: []string{"--", "cmd"}, environ: []string{"DEFAULTFILEPOSTURE=block", "DEFAULTNETWORKPOSTURE=Block", "DEFAULTCAPABILITIESPOSTURE=allow"}, change: func(c *Config) {
			c.Posture = rules.Posture{File: "block", Network: "block", Capabilities: "allow"}
		}},
		{name: "log to a file", args: []string{"--log-file=/tmp/l", "--", "cmd"}, change: func(c *Config) { c.Log = Log{Enabled: true, File: "/tmp/l", Level: slog.LevelInfo} }},
		{name: "log to standard error", args: []string{"--", "cmd"}, environ: []string{"TRACER_LOG_LEVEL=debug"}, change: func(c *Config) { c.Log = Log{Enabled: true, Level: slog.LevelDebug} }},
		{name: "numbers", args: []string{"--buffer-bytes=65536", "--flush-timeout=0", "--", "cmd"}, change: func(c *Config) { c.BufferBytes, c.FlushTimeout = 65536, 0 }},
		{name: "identity", args: []string{"--pod=p", "--cluster=", "--", "cmd"}, environ: []string{"POD_NAME=q"}, change: func(c *Config) { c.Identity = []string{"CLUSTER_NAME=", "POD_NAME=p"} }},
		{name: "the rest", args: []string{"--policies=/p", "--format", "falco", "--", "cmd"}, change: func(c *Config) { c.Policies, c.Format = "/p", FormatFalco }},
		{name: "strict", args: []string{"--strict", "--", "cmd"}, environ: []string{"TRACER_STRICT=false"}, change: func(c *Config) { c.Strict = true }},
		{name: "watching", args: []string{"--policies-watch=true", "--", "cmd"}, environ: []string{"TRACER_POLICIES_WATCH=false"}, change: func(c *Config) { c.PoliciesWatch = WatchAlways }},
		{name: "policies in a parameter", args: []string{"--", "cmd"}, environ: []string{"TRACER_POLICY=kind: x\n"}, change: func(c *Config) { c.Policy = "kind: x\n" }},
		{name: "token", args: []string{"--", "cmd"}, environ: []string{"SIDEKICK_TOKEN=t0ken\n"}, change: func(c *Config) { c.Token = secret.New("t0ken") }},
		{name: "unix socket", args: []string{"--", "cmd"}, environ: []string{"SIDEKICK_URL=unix:///run/s"}, change: func(c *Config) { c.SidekickURL = mustURL(t, "unix:///run/s") }},
		{name: "TLS", args: []string{"--sidekick-ca-file=/ca", "--", "cmd"}, environ: []string{"SIDEKICK_URL=https://h/", "SIDEKICK_CERT_FILE=/c", "SIDEKICK_KEY_FILE=/k"}, change: func(c *Config) {
			c.SidekickURL, c.TLS = mustURL(t, "https://h/"), TLS{CAFile: "/ca", CertFile: "/c", KeyFile: "/k"}
		}},
		{name: "token file", args: []string{"--sidekick-token-file=/t", "--", "cmd"}, environ: []string{"SIDEKICK_TOKEN=", "SIDEKICK_TOKEN_FILE=/u"}, change: func(c *Config) { c.TokenFile = "/t" }},
		{name: "the first of two variables", args: []string{"--", "cmd"}, environ: []string{"TRACER_ENGINE=notify", "TRACER_ENGINE=nonsense"}, change: func(c *Config) { c.Engine = EngineNotify }},
		{name: "the workload's own variables", args: []string{"--", "cmd"}, environ: []string{"LOG_LEVEL=chatty", "ENGINE=v8", "FORMAT=?", "VISIBILITY=public", "TRACERT=1", "=x", "odd"}},
		{
			name: "a service called tracer", args: []string{"--", "cmd"},
			environ: []string{
				"TRACER_SERVICE_HOST=10.0.0.1", "TRACER_SERVICE_PORT=80", "TRACER_SERVICE_PORT_HTTP=80", "TRACER_PORT=tcp://10.0.0.1:80",
				"TRACER_PORT_80_TCP=tcp://10.0.0.1:80", "TRACER_PORT_80_TCP_PROTO=tcp", "TRACER_PORT_80_TCP_PORT=80", "TRACER_PORT_80_TCP_ADDR=10.0.0.1", "TRACER_UI_SERVICE_HOST=10.0.0.2",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := defaults()
			if c.change != nil {
				c.change(&want)
			}
			got, err := Parse(append([]string{"run"}, c.args...), c.environ)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compare()...); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParsePolicyCheck(t *testing.T) {
	for _, c := range []struct {
		args []string
		want Config
	}{
		{[]string{"check", "a.yaml"}, Config{Command: Check, Files: []string{"a.yaml"}}},
		{[]string{"check", "--json", "a", "b", "--strict"}, Config{Command: Check, Files: []string{"a", "b"}, JSON: true, Strict: true}},
		{[]string{"check", "--", "--json"}, Config{Command: Check, Files: []string{"--json"}}},
		{[]string{"check", "--help"}, Config{Command: Help, Text: policyHelp}},
	} {
		got, err := Parse(append([]string{"policy"}, c.args...), nil)
		if diff := cmp.Diff(c.want, got, compare()...); err != nil || diff != "" {
			t.Errorf("%v: %v\n%s", c.args, err, diff)
		}
	}
	for want, args := range map[string][]string{
		"no file given": {"check"}, `"check" and "test" are what`: {"chekc", "a"}, "unknown flag": {"check", "--jsn", "a"},
		"policy test: no file given": {"test", "--", "true"}, "no command given after": {"test", "a.yaml"}, "no command given after ": {"test", "a.yaml", "--"},
		"--report is for policy test": {"check", "--report", "r", "a"},
	} {
		if _, err := Parse(append([]string{"policy"}, args...), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tracer help policy") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestParseLearn(t *testing.T) {
	run := defaults()
	run.Command, run.Argv, run.Engine = Learn, []string{"sh", "-c", "true"}, EnginePtrace
	run.Learn = Learning{Merge: []string{"a", "b"}, Output: "o", Name: "n", Selector: "a=b", About: "file"}
	for _, c := range []struct {
		args []string
		want Config
	}{
		{[]string{"--merge=a", "--merge", "b", "-o", "o", "--name=n", "--selector=a=b", "--about=file", "--", "sh", "-c", "true"}, run},
		{[]string{"--from", "a", "--from=-"}, Config{Command: Learn, Learn: Learning{From: []string{"a", "-"}}}},
		{[]string{"--help"}, Config{Command: Help, Text: learnHelp}},
	} {
		got, err := Parse(append([]string{"learn"}, c.args...), []string{"TRACER_ENGINE=ptrace"})
		if diff := cmp.Diff(c.want, got, compare()...); err != nil || diff != "" {
			t.Errorf("%v: %v\n%s", c.args, err, diff)
		}
	}
	for want, args := range map[string][]string{
		"no command given": {}, "no command given after": {"--"}, "either a command, or events": {"--from=a", "--", "true"}, "unknown flag": {"--form=a"},
	} {
		if _, err := Parse(append([]string{"learn"}, args...), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tracer help learn") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestParsePolicyTest(t *testing.T) {
	want := defaults()
	want.Command, want.Files, want.JSON, want.Strict, want.Report = Test, []string{"a.yaml", "b"}, true, true, "r"
	want.Argv, want.Posture.File = []string{"sh", "-c", "true"}, "block"
	got, err := Parse([]string{"policy", "test", "--json", "--report=r", "a.yaml", "b", "--strict", "--", "sh", "-c", "true"}, []string{"DEFAULTFILEPOSTURE=block"})
	if diff := cmp.Diff(want, got, compare()...); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		args    []string
		environ []string
		want    string
	}{
		{nil, nil, "no command given (see \"tracer help\")"},
		{[]string{"start"}, nil, `unknown command "start"`},
		{[]string{"run"}, nil, "run: no command given"},
		{[]string{"run", "--"}, nil, "run: no command given"},
		{[]string{"run", "--", ""}, nil, "run: no command given"},
		{[]string{"run", "--enginee=x", "--", "cmd"}, nil, "unknown flag: --enginee"},
		{[]string{"run", "-x", "--", "cmd"}, nil, "unknown shorthand flag"},
		{[]string{"run", "--engine"}, nil, "--engine"},
		{[]string{"run", "--engine=gdb", "--", "cmd"}, nil, `--engine: "gdb": use auto, notify or ptrace (see "tracer help run")`},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_ENGINE=gdb"}, `TRACER_ENGINE: "gdb": use`},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_ENGIN=auto", "TRACER_X=1"}, "unknown variable TRACER_ENGIN\nunknown variable TRACER_X"},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_=1"}, "unknown variable TRACER_ "},
		{[]string{"run", "--format=xml", "--", "cmd"}, nil, "--format"},
		{[]string{"run", "--visibility=", "--", "cmd"}, nil, "--visibility"},
		{[]string{"run", "--visibility=file:writ", "--", "cmd"}, nil, `--visibility: "file:writ": use process, file, file:write, network, network:accept, network:send, network:dns, syscalls, capabilities and mapexec, separated by commas, or all, or none`},
		{[]string{"run", "--hold=none", "--", "cmd"}, nil, `--hold: "none": use`},
		{[]string{"run", "--opens=let", "--", "cmd"}, nil, `--opens: "let": use carry-out or let-run`},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_ON_MISSING_POLICY=allow"}, `TRACER_ON_MISSING_POLICY: "allow": use block or run`},
		{[]string{"run", "--strict=very", "--", "cmd"}, nil, `--strict: "very": use true or false`},
		{[]string{"run", "--policies-watch=yes", "--", "cmd"}, nil, `--policies-watch: "yes": use auto, true or false`},
		{[]string{"run", "--policy-timeout=1h", "--", "cmd"}, nil, "--policy-timeout: \"1h\": use a duration from 0s to 10m0s"},
		{[]string{"run", "--visibility=file,none", "--", "cmd"}, nil, `--visibility: "none"`},
		{[]string{"run", "--", "cmd"}, []string{"DEFAULTFILEPOSTURE=deny"}, `DEFAULTFILEPOSTURE: "deny"`},
		{[]string{"run", "--defaultNetworkPosture=deny", "--", "cmd"}, nil, `--default-network-posture: "deny"`},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_LOG_LEVEL=loud"}, "TRACER_LOG_LEVEL"},
		{[]string{"run", "--", "cmd"}, []string{"TRACER_BUFFER_BYTES=16MiB"}, "TRACER_BUFFER_BYTES"},
		{[]string{"run", "--buffer-bytes=1", "--", "cmd"}, nil, "--buffer-bytes"},
		{[]string{"run", "--buffer-bytes=9999999999999999999", "--", "cmd"}, nil, "--buffer-bytes"},
		{[]string{"run", "--flush-timeout=-1s", "--", "cmd"}, nil, "--flush-timeout"},
		{[]string{"run", "--flush-timeout=2", "--", "cmd"}, nil, "--flush-timeout"},
		{[]string{"run", "--flush-timeout=2h", "--", "cmd"}, nil, "--flush-timeout"},
		{[]string{"run", "--", "cmd"}, []string{"SIDEKICK_URL=localhost:2801"}, "SIDEKICK_URL: not a valid URL"},
		{[]string{"run", "--", "cmd"}, []string{"SIDEKICK_URL=http://u:canary@h:port/"}, "SIDEKICK_URL: not a valid URL"},
		{[]string{"run", "--sidekick-url=http://u:canary@", "--", "cmd"}, nil, "--sidekick-url: not a valid URL: it names no host"},
		{[]string{"run", "--sidekick-url=ftp://u:canary@h/", "--", "cmd"}, nil, "--sidekick-url: not a valid URL: it must begin"},
		{[]string{"run", "--", "cmd"}, []string{"SIDEKICK_TOKEN=canary", "SIDEKICK_TOKEN_FILE=/t"}, "SIDEKICK_TOKEN and --sidekick-token-file"},
		{[]string{"run", "--", "cmd"}, []string{"SIDEKICK_TOKEN=canary canary"}, "SIDEKICK_TOKEN: one token"},
		{[]string{"run", "--", "cmd"}, []string{"SIDEKICK_CA_FILE=/ca"}, "need an https --sidekick-url"},
		{[]string{"run", "--sidekick-url=https://h/", "--sidekick-key-file=/k", "--", "cmd"}, nil, "--sidekick-cert-file (SIDEKICK_CERT_FILE) and"},
		{[]string{"run", "--sidekick-url=unix://canary@/s", "--", "cmd"}, nil, "--sidekick-url: not a valid URL"},
		{[]string{"run", "--sidekick-url=unix:s", "--", "cmd"}, nil, "--sidekick-url: not a valid URL"},
		{[]string{"run", "--sidekick-url=unix://", "--", "cmd"}, nil, "--sidekick-url: not a valid URL"},
		{[]string{"install"}, nil, "install: no directory given (see \"tracer help install\")"},
		{[]string{"install", "/a", "/b"}, nil, `unexpected argument "/b"`},
		{[]string{"install", "--force", "/a"}, nil, `unknown flag "--force"`},
		{[]string{"version", "x"}, nil, `unexpected argument "x"`},
		{[]string{"help", "me"}, nil, `unknown topic "me"`},
		{[]string{"help", "run", "me"}, nil, `unexpected argument "me"`},
	} {
		_, err := Parse(c.args, c.environ)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q %q: error %v, want %q", c.args, c.environ, err, c.want)
		}
	}
}

func TestParseOthers(t *testing.T) {
	for _, c := range []struct {
		args []string
		want Config
	}{
		{[]string{"version"}, Config{Command: Version}},
		{[]string{"--version"}, Config{Command: Version}},
		{[]string{"install", "/shared"}, Config{Command: Install, Dir: "/shared"}},
		{[]string{"install", "--", "-odd"}, Config{Command: Install, Dir: "-odd"}},
		{[]string{"install", "--help"}, Config{Command: Help, Text: installHelp}},
		{[]string{"help"}, Config{Command: Help, Text: mainHelp}},
		{[]string{"-h"}, Config{Command: Help, Text: mainHelp}},
		{[]string{"help", "install"}, Config{Command: Help, Text: installHelp}},
		{[]string{"help", "run"}, Config{Command: Help, Text: runHelp()}},
		{[]string{"run", "--help"}, Config{Command: Help, Text: runHelp()}},
		{[]string{"run", "--engine=auto", "-h", "--", "cmd"}, Config{Command: Help, Text: runHelp()}},
	} {
		// Only run looks at the environment.
		got, err := Parse(c.args, []string{"TRACER_X=1"})
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		if diff := cmp.Diff(c.want, got, compare()...); diff != "" {
			t.Errorf("%q: %s", c.args, diff)
		}
	}
}

func TestRunHelp(t *testing.T) {
	const golden = "testdata/help-run.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(runHelp()), 0o644); err != nil { //nolint:gosec // it is no secret
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), runHelp()); diff != "" {
		t.Errorf("the help has changed; -update accepts it\n%s", diff)
	}
}

func TestURLHidesSecrets(t *testing.T) {
	const text = "http://canary:canary@host:1/path?token=canary#canary"
	c, err := Parse([]string{"run", "--sidekick-url", text, "--", "cmd"}, []string{"SIDEKICK_TOKEN=canary"})
	if err != nil {
		t.Fatal(err)
	}
	if c.SidekickURL.Reveal() != text {
		t.Errorf("revealed %q", c.SidekickURL.Reveal())
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "url", c.SidekickURL, "config", c)
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	hidden := struct{ c Config }{c}
	printed := log.String() + string(encoded) + c.SidekickURL.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, &c) + fmt.Sprintf(verb, hidden) + fmt.Sprintf(verb, c.SidekickURL)
	}
	if strings.Contains(printed, "canary") || strings.Contains(printed, fmt.Sprintf("%x", "canary")) {
		t.Errorf("a secret was printed: %s", printed)
	}
	if c.SidekickURL.String() != "http://host:1/path" {
		t.Errorf("printed as %q", c.SidekickURL)
	}
}

func TestWorkloadEnviron(t *testing.T) {
	for _, c := range []struct{ environ, want []string }{
		{[]string{"A=1", "SIDEKICK_URL=http://localhost:2801/", "B=2"}, []string{"A=1", "SIDEKICK_URL=http://localhost:2801/", "B=2"}},
		{[]string{"A=1", "SIDEKICK_URL=http://u:p@h/", "B=2"}, []string{"A=1", "B=2"}},
		{[]string{"SIDEKICK_URL=http://h/?token=t", "SIDEKICK_URL=http://h/", "MY_SIDEKICK_URL=http://u:p@h/"}, []string{"MY_SIDEKICK_URL=http://u:p@h/"}},
		{[]string{"SIDEKICK_URL=u:p@h"}, []string{}},
		{[]string{"SIDEKICK_TOKEN=t", "SIDEKICK_TOKEN_FILE=/t", "SIDEKICK_TOKEN=u"}, []string{"SIDEKICK_TOKEN_FILE=/t"}},
	} {
		if diff := cmp.Diff(c.want, WorkloadEnviron(c.environ)); diff != "" {
			t.Errorf("%q: %s", c.environ, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("run\x00--engine=auto\x00--\x00cmd", "SIDEKICK_URL=http://u:p@h/")
	f.Add("install\x00/d", "TRACER_X=1")
	f.Fuzz(func(t *testing.T, args, environ string) {
		c, err := Parse(strings.Split(args, "\x00"), strings.Split(environ, "\x00"))
		var usage *UsageError
		if err != nil && !errors.As(err, &usage) {
			t.Errorf("error %v", err)
		}
		if err == nil && c.Command == Run && (len(c.Argv) == 0 || c.BufferBytes < MinBufferBytes) {
			t.Errorf("config %+v", c)
		}
	})
}
