// Package config turns the tracer's command line and environment into one
// checked Config. It opens no file and starts nothing.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Command is what the tracer was asked to do.
type Command string

// The commands.
const (
	Run     Command = "run"     // run a workload under the tracer
	Install Command = "install" // copy the tracer's own file into a directory
	Check   Command = "policy"  // say what policies mean
	Test    Command = "policy test"
	Learn   Command = "learn"   // run a workload, or read events, and write the policy of it
	Doctor  Command = "doctor"  // find out what the host allows
	Version Command = "version" // print the version
	Help    Command = "help"    // print Config.Text
)

// Values of Config.Engine.
const (
	EngineAuto   = "auto"
	EngineNotify = "notify"
	EnginePtrace = "ptrace"
)

// Values of Config.Format.
const (
	FormatKubeArmor = "kubearmor"
	FormatFalco     = "falco"
)

// Values of Config.PoliciesWatch.
const (
	WatchAuto   = "auto" // a directory that others can change and this container cannot
	WatchAlways = "true"
	WatchNever  = "false"
)

// Values of Config.OnMissingPolicy.
const (
	MissingBlock = "block" // do not start the workload
	MissingRun   = "run"   // start it; policies apply once they are known
)

// Values of Config.Opens.
const (
	OpensCarryOut = "carry-out" // the tracer opens files in the workload's place
	OpensLetRun   = "let-run"   // the kernel opens them, after the check: another thread can change the path in between
)

// What happens when the tracer ends before the workload.
const (
	DeathFail = "fail" // held calls fail
	DeathKill = "kill" // its first process is killed as well
)

// Config is everything the tracer was told. Only the fields of its Command are
// set, and those are valid.
type Config struct {
	Command Command

	Argv   []string // run: the workload and its arguments, at least one
	Dir    string   // install: the target directory
	Files  []string // policy check, policy test: files and directories, at least one
	JSON   bool     // policy check, policy test, doctor: the output is JSON
	Report string   // policy test: file for the output; "" for standard error
	Wait   bool     // doctor: be the process that the doctor examines
	Prove  bool     // doctor: make attacks, and say which were held
	Attack string   // doctor: be those attacks, on what is in this directory
	Port   string   // doctor: and on who listens there
	Learn  Learning // learn: what policy is made
	Text   string   // help: what to print on standard output

	SidekickURL      URL             // where events go; URL.IsZero means nowhere
	Token            secret.String   // shown to the sidekick
	TokenFile        string          // file that holds the token; "" for none
	TLS              TLS             // how an https SidekickURL is trusted
	SidekickPolicies bool            // policies are taken from the sidekick too
	Policies         string          // policy file or directory; "" for none
	PoliciesWatch    string          // WatchAuto, WatchAlways or WatchNever
	Policy           string          // policies themselves, as text or base64 of it; "" for none
	DropResource     bool            // logs of processes have no Resource
	Aggregate        bool            // logs that are alike are joined
	Strict           bool            // what KubeArmor passes over in a policy is an error
	OnMissingPolicy  string          // MissingBlock or MissingRun
	PolicyTimeout    time.Duration   // how long the start may wait for policies; 0 is not at all
	Visibility       rules.Operation // what is reported as logs; see Visible
	Hold             rules.Operation // what is held from the start beside what is needed then; 0 is auto
	Opens            string          // OpensCarryOut or OpensLetRun
	Posture          rules.Posture   // what happens to accesses that an allow-list does not name; processes use that of files
	Format           string          // FormatKubeArmor or FormatFalco
	Engine           string          // EngineAuto, EngineNotify or EnginePtrace
	OnTracerDeath    string          // DeathFail or DeathKill
	Log              Log             // the tracer's own log
	BufferBytes      int             // bound on the events kept in memory while they cannot be sent
	FlushTimeout     time.Duration   // how long the end may wait for the last events to be sent; 0 is not at all

	// Identity holds what the identity flags said, each as the environment
	// variable ("POD_NAME=web-1") that it stands in for. Put before the
	// environment, where the first one counts, it makes a flag win.
	Identity []string
}

// Learning is what "tracer learn" was asked for beside Argv, which is empty where
// events are read.
type Learning struct {
	From     []string // files of events; "-" is standard input
	Merge    []string // policies that are merged with what is learned
	Output   string   // file for the policy; "" for standard output
	Name     string   // of the policy; "" for one after the command
	Selector string   // labels, as key=value,key=value
	About    string   // what the policy is about; "" for what is usual
}

// TLS names files. The zero value is the system's authorities and no certificate.
type TLS struct {
	CAFile            string // authorities to trust instead of the system's
	CertFile, KeyFile string // shown to the sidekick
}

// Visible is what is reported when no policy matches: nothing where nobody would
// take it. It does not switch policies off.
func (c *Config) Visible() rules.Operation {
	if c.SidekickURL.IsZero() {
		return 0
	}
	return c.Visibility
}

// Log says where the tracer's own log goes. The workload's standard error is
// written to only if the log was asked for without naming a file.
type Log struct {
	Enabled bool
	File    string // "" is standard error
	Level   slog.Level
}

// UsageError is a command line or an environment that makes no sense. The
// program prints it with its hint on standard error and exits with 2.
type UsageError struct {
	Hint string // which help to read
	Err  error
}

func (e *UsageError) Error() string { return fmt.Sprintf("%v (%s)", e.Err, e.Hint) }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Parse reads the command line, without the program's name, and the
// environment ("NAME=value"). A flag wins over its variable. Every error is a
// *UsageError that names the flag or the variable, and holds no secret.
func Parse(args, environ []string) (Config, error) {
	if len(args) == 0 {
		return Config{}, &UsageError{Hint: hint(""), Err: errors.New("no command given")}
	}
	name, rest := args[0], args[1:]
	var c Config
	var err error
	switch name {
	case string(Run):
		c, err = parseRun(rest, environ)
	case string(Install):
		c, err = parseInstall(rest)
	case string(Check):
		c, err = parsePolicy(rest, environ)
	case string(Learn):
		c, err = parseLearn(rest, environ)
	case string(Doctor):
		c, err = parseDoctor(rest, environ)
	case string(Version), "--version":
		c, err = Config{Command: Version}, noMore(rest)
	case string(Help), "--help", "-h":
		c, err = parseHelp(rest)
	default:
		name, err = "", fmt.Errorf("unknown command %q", name)
	}
	if err != nil {
		return Config{}, &UsageError{Hint: hint(name), Err: err}
	}
	return c, nil
}

func hint(command string) string {
	switch Command(command) {
	case Run, Install, Check, Learn, Doctor:
		return fmt.Sprintf("see \"tracer help %s\"", command)
	}
	return "see \"tracer help\""
}

// parsePolicy reads what follows "policy".
func parsePolicy(args, environ []string) (Config, error) {
	var c Config
	flags := pflag.NewFlagSet("policy", pflag.ContinueOnError)
	flags.Usage = func() {} // it would print by itself
	flags.BoolVar(&c.JSON, "json", false, "")
	flags.BoolVar(&c.Strict, "strict", false, "")
	flags.StringVar(&c.Report, "report", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return Config{Command: Help, Text: policyHelp}, nil
		}
		return Config{}, fmt.Errorf("policy: %w", err)
	}
	what := flags.Args()
	switch {
	case len(what) == 0 || what[0] != "check" && what[0] != "test":
		return Config{}, errors.New("policy: \"check\" and \"test\" are what it can do")
	case len(what) == 1 || what[0] == "test" && flags.ArgsLenAtDash() == 1:
		return Config{}, fmt.Errorf("policy %s: no file given", what[0])
	case what[0] == "test":
		return parseTest(c, what[1:], flags.ArgsLenAtDash()-1, environ)
	case flags.Changed("report"):
		return Config{}, errors.New("policy check: --report is for policy test")
	}
	c.Command, c.Files = Check, what[1:]
	return c, nil
}

// parseTest reads files, and behind "--" a command. The variables are those of "run".
func parseTest(c Config, what []string, dash int, environ []string) (Config, error) {
	if dash < 0 || dash == len(what) {
		return Config{}, errors.New("policy test: no command given after \"--\"")
	}
	run, err := parseRun(append([]string{"--"}, what[dash:]...), environ)
	run.Command, run.Files, run.JSON, run.Strict, run.Report = Test, what[:dash], c.JSON, c.Strict, c.Report
	return run, err
}

// parseDoctor reads what follows "doctor". The variables are those of "run": what
// would stop it is told here.
func parseDoctor(args, environ []string) (Config, error) {
	var asJSON, wait, prove bool
	var attack, port string
	flags := pflag.NewFlagSet("doctor", pflag.ContinueOnError)
	flags.Usage = func() {} // it would print by itself
	flags.BoolVar(&asJSON, "json", false, "")
	flags.BoolVar(&prove, "prove", false, "")
	// Not for users, see package doctor.
	flags.BoolVar(&wait, "wait", false, "")
	flags.StringVar(&attack, "attack", "", "")
	flags.StringVar(&port, "port", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return Config{Command: Help, Text: doctorHelp}, nil
		}
		return Config{}, fmt.Errorf("doctor: %w", err)
	}
	c, err := parseRun([]string{"--", "none"}, environ)
	c.Command, c.Argv, c.JSON, c.Wait, c.Prove, c.Attack, c.Port = Doctor, nil, asJSON, wait, prove, attack, port
	return c, errors.Join(err, noMore(flags.Args()))
}

func noMore(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

func parseInstall(args []string) (Config, error) {
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		return Config{Command: Help, Text: installHelp}, nil
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	} else if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		return Config{}, fmt.Errorf("install: unknown flag %q", args[0])
	}
	if len(args) == 0 || args[0] == "" {
		return Config{}, errors.New("install: no directory given")
	}
	return Config{Command: Install, Dir: args[0]}, noMore(args[1:])
}

func parseHelp(args []string) (Config, error) {
	text := mainHelp
	if len(args) > 0 {
		switch args[0] {
		case string(Run):
			text = runHelp()
		case string(Install):
			text = installHelp
		case string(Check):
			text = policyHelp
		case string(Learn):
			text = learnHelp
		case string(Doctor):
			text = doctorHelp
		default:
			return Config{}, fmt.Errorf("help: unknown topic %q", args[0])
		}
		args = args[1:]
	}
	return Config{Command: Help, Text: text}, noMore(args)
}

// parseRun reads the flags up to the workload's own command line, which begins
// after "--" or at the first argument that is no flag.
func parseRun(args, environ []string) (Config, error) {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {} // it would print by itself
	flags.SetNormalizeFunc(kubeArmorFlags)
	given := map[string]*string{}
	all := settings()
	for _, s := range all {
		given[s.flag] = flags.String(s.flag, s.value, s.usage)
		if s.value == "false" {
			flags.Lookup(s.flag).NoOptDefVal = "true" // --strict alone
		}
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return Config{Command: Help, Text: runHelp()}, nil
		}
		return Config{}, fmt.Errorf("run: %w", err)
	}
	if err := unknownVariables(environ); err != nil {
		return Config{}, err
	}
	c := Config{Command: Run, Argv: flags.Args()}
	env := lookup(environ)
	for _, s := range all {
		if err := s.apply(&c, flags.Changed(s.flag), *given[s.flag], env); err != nil {
			return Config{}, err
		}
	}
	if err := errors.Join(c.setToken(env), c.checkTLS(), c.checkSidekickPolicies()); err != nil {
		return Config{}, err
	}
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return Config{}, errors.New("run: no command given after \"--\"")
	}
	return c, nil
}

// kubeArmorFlags lets KubeArmor's spelling of a flag stand for ours.
func kubeArmorFlags(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "dropResourceFromProcessLogs":
		name = "drop-process-resource"
	case "defaultFilePosture":
		name = "default-file-posture"
	case "defaultNetworkPosture":
		name = "default-network-posture"
	case "defaultCapabilitiesPosture":
		name = "default-capabilities-posture"
	}
	return pflag.NormalizedName(name)
}
