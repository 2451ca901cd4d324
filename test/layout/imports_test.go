package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sidearmor/sidearmor/"

// rule says what packages may import of ours. Names are relative to the module.
type rule struct {
	packages string   // separated by spaces
	allow    []string // path.Match patterns
	why      string
}

// rules is the whole list of packages: one that is not in it may not exist.
var rules = []rule{
	{"schema", nil, "what both programs share stands on nothing else of ours"},
	{"schema/falco", []string{"schema"}, "Falco's own types are heavy; they stay out of schema and so out of the tracer"},
	{"schema/policy", nil, "a policy document is data"},
	{"schema/policydir", []string{"schema/policy"}, "files of policies are read and followed in one way"},
	{"schema/policystream", []string{"schema/policy"}, "what the two programs say to each other about policies"},
	{"schema/observed", []string{"schema", "schema/policy", "schema/rules"}, "an event as rules see it; it decides nothing"},
	{"schema/secret", nil, "used from everywhere"},

	{"tracer", []string{"tracer/internal/*", "tracer/internal/*/*", "schema", "schema/*"}, "wiring"},
	{"tracer/internal/config", []string{"schema", "schema/*"}, "configuration is validated before anything exists to be configured"},
	{"tracer/internal/syscalls", []string{"schema/rules"}, "one table; everything about calls comes from it"},
	{"tracer/internal/filter", []string{"tracer/internal/syscalls", "schema/rules"}, "the filter is the table plus what is wanted"},
	{"tracer/internal/interrupt", nil, "calls threads back; knows nothing of what they wait for"},
	{"tracer/internal/thread", nil, "makes threads; knows nothing of what they do"},
	{"tracer/internal/launch", []string{"tracer/internal/filter", "tracer/internal/interrupt"}, "starts the workload, decides nothing"},
	{"tracer/internal/engine", []string{"tracer/internal/syscalls"}, "holds calls, does not understand them"},
	{"tracer/internal/engine/notify tracer/internal/engine/ptrace", []string{"tracer/internal/engine", "tracer/internal/syscalls", "schema/rules", "tracer/internal/interrupt", "tracer/internal/thread"}, "an engine knows the kernel's interface, not files, processes or policies"},
	{"tracer/internal/doctor", []string{"tracer/internal/engine/notify", "tracer/internal/launch"}, "tries what the engines need, starts no workload"},
	{"tracer/internal/process", nil, "facts about processes"},
	{"tracer/internal/process/processtest", []string{"tracer/internal/process"}, "processes for tests to look at"},
	{"tracer/internal/paths", []string{"tracer/internal/process"}, "resolves by way of a process"},
	{"schema/rules", []string{"schema/policy"}, "decides from its arguments alone"},
	{
		"tracer/internal/supervise",
		[]string{
			"schema", "tracer/internal/syscalls", "tracer/internal/engine", "tracer/internal/process", "tracer/internal/interrupt", "tracer/internal/thread",
			"tracer/internal/paths", "schema/rules",
		},
		"joins the parts; it sends nothing and loads nothing",
	},
	{"tracer/internal/peer", []string{"schema/secret", "schema/policystream"}, "the way to the sidekick; not what is said on it"},
	{"tracer/internal/emit", []string{"schema", "schema/secret", "tracer/internal/peer"}, "carries events, does not make them"},
	{"tracer/internal/explain", []string{"schema/policy", "schema/rules"}, "says what policies mean; it enforces nothing"},
	{"tracer/internal/trial", []string{"schema/policy", "schema/rules", "tracer/internal/explain"}, "says which rule decided; it runs nothing"},
	{"tracer/internal/learn", []string{"schema", "schema/observed", "schema/policy", "schema/rules"}, "makes a policy of what has happened; it runs nothing"},
	{"tracer/internal/identity", []string{"schema", "schema/policy"}, "who this container is"},
	{"tracer/internal/policies", []string{"schema/policy", "schema/policydir", "schema/policystream", "schema/rules", "tracer/internal/peer"}, "documents of all sources become the rules in force"},

	{"sidekick", []string{"sidekick/internal/*", "sidekick/internal/policies/*", "outputs", "outputs/awsconfig", "outputs/catalog", "schema", "schema/*"}, "wiring; single outputs come by the catalog"},
	{"sidekick/internal/access", []string{"schema/secret"}, "who may come in; not what they bring"},
	{"sidekick/internal/enrich", []string{"schema"}, "adds to one event"},
	{"sidekick/internal/loglimit", nil, "how often the log says the same"},
	{"sidekick/internal/digest", []string{"schema"}, "makes one message of similar events; it delivers nothing"},
	{"sidekick/internal/feed", []string{"schema"}, "what happened, to who listens; it delivers nothing"},
	{"sidekick/internal/api", []string{"schema/*", "sidekick/internal/loglimit"}, "who may use a route; not what it does"},
	{"sidekick/internal/ingest", []string{"schema", "schema/*", "sidekick/internal/enrich", "sidekick/internal/api", "sidekick/internal/loglimit"}, "takes events and hands them to what it is given"},
	{"sidekick/internal/filter", []string{"schema"}, "decides on one event"},
	{"sidekick/internal/config", []string{"schema", "schema/*", "outputs", "outputs/awsconfig", "sidekick/internal/enrich", "sidekick/internal/filter"}, "what is configured is checked, filters and templates too"},
	{"sidekick/internal/kubearmor", []string{"schema"}, "turns messages into events and back; it carries neither"},
	{"sidekick/internal/grpcapi", []string{"schema", "sidekick/internal/kubearmor", "sidekick/internal/feed", "sidekick/internal/loglimit"}, "shows events to who asks; it does not store and does not take"},
	{"sidekick/internal/pull", []string{"schema", "sidekick/internal/kubearmor"}, "takes events and hands them on; it does not store"},
	{
		"sidekick/internal/queue sidekick/internal/dispatch " +
			"sidekick/internal/ui",
		[]string{"schema", "schema/*", "outputs", "sidekick/internal/api", "sidekick/internal/digest", "sidekick/internal/feed", "sidekick/internal/loglimit"},
		"the parts of the sidekick meet in sidekick/run.go only",
	},

	{"sidekick/internal/policygrpc", []string{"schema/policy", "schema/policystream", "sidekick/internal/policies"}, "policies over gRPC; what is in force is decided in the hub"},
	{"sidekick/internal/policyapi", []string{"schema/policy", "schema/policystream", "sidekick/internal/api", "sidekick/internal/policies"}, "policies over HTTP; what is in force is decided in the hub"},
	{"sidekick/internal/policies", []string{"schema/policy", "schema/policydir", "schema/rules"}, "policies of all sources become one state; events are not its business"},
	{"sidekick/internal/logtest", nil, "a log for tests to look at"},
	{"sidekick/internal/policies/policiestest", []string{"sidekick/internal/policies", "sidekick/internal/logtest"}, "follows any source, for its tests"},
	{"sidekick/internal/policies/aws", []string{"sidekick/internal/policies", "outputs/awsconfig"}, "one source of policies; it knows no tracer"},
	{"sidekick/internal/policies/kubernetes", []string{"sidekick/internal/policies", "schema/policy"}, "one source of policies; it knows no tracer"},

	{"sidekick/internal/simulate", []string{"schema", "schema/observed", "schema/policy", "schema/rules"}, "decides as the tracer does, about what has been"},

	{"outputs", []string{"schema", "schema/secret"}, "the contract"},
	{"outputs/catalog", []string{"outputs", "outputs/*"}, "the list of kinds"},
	{"outputs/outputtest", []string{"outputs", "schema", "schema/secret"}, "tests any output, knows none"},
	{
		"outputs/slack outputs/discord outputs/cloudwatch outputs/webhook outputs/falcosidekick outputs/stdout " +
			"outputs/teams outputs/pagerduty outputs/alertmanager outputs/syslog outputs/kafka outputs/nats outputs/s3 " +
			"outputs/loki outputs/elasticsearch outputs/otlp outputs/sqs outputs/sns outputs/kinesis outputs/firehose " +
			"outputs/eventbridge outputs/lambda outputs/securityhub outputs/mattermost outputs/rocketchat outputs/googlechat " +
			"outputs/telegram outputs/opsgenie outputs/splunk outputs/datadog outputs/fluent outputs/smtp",
		[]string{"outputs", "outputs/awsconfig", "outputs/internal/*", "schema", "schema/secret"},
		"an output knows no other output",
	},
	{
		"outputs/internal/clip outputs/internal/httppost outputs/internal/summary outputs/internal/wording outputs/internal/markup outputs/internal/tlsclient outputs/internal/awsbatch outputs/internal/ocsf outputs/internal/chat",
		[]string{"outputs", "outputs/awsconfig", "outputs/internal/*", "schema", "schema/secret"},
		"what several outputs need",
	},
	{"outputs/awsconfig", []string{"outputs", "outputs/internal/*"}, "how AWS is used, by outputs and by what takes policies from there"},
	{"outputs/internal/chat/chattest", []string{"outputs", "outputs/outputtest", "schema"}, "tests any chat output, knows none"},

	{"deploy/internal/document", nil, "changes texts, whatever they are about"},
	{"deploy/internal/image", nil, "reads images, whatever they are for"},
	{"deploy/internal/workload", []string{"deploy/internal/document", "deploy/internal/image", "schema/policy"}, "what is the same on ECS and on EKS"},
	{"deploy/ecs", []string{"deploy/internal/*", "schema", "schema/*"}, "templates and their patching"},
	{"deploy/eks", []string{"deploy/internal/*", "schema", "schema/*"}, "templates and their patching"},
	{"deploy/images", nil, "makes images of programs that are built; it does not look into them"},
	{"deploy/release", nil, "packs programs that are built; it does not look into them"},
	{"deploy/inject", []string{"deploy/ecs", "deploy/eks", "deploy/internal/image", "deploy/internal/workload"}, "the program around the two"},

	{"examples/attack examples/attack/picture", nil, "a test of built programs, and a picture of what they sent"},
	{"examples/demo", []string{"schema", "schema/*"}, "programs that show how to use it from outside"},
	{"test/layout test/learn test/containers test/e2e test/bench test/observability test/soak test/differential test/kernels test/kube test/strangers", []string{"schema", "schema/*"}, "tests of built programs use them as users do"},
}

type listed struct {
	ImportPath, Name          string
	Imports                   []string
	TestImports, XTestImports []string
	Error                     *struct{ Err string }
}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) < 2 {
		t.Fatalf("only %d packages found", len(packages))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		r := ruleFor(name)
		if r == nil {
			t.Errorf("package %s is not in the layout: add it to the design and to the rules, or put its code where it belongs", name)
			continue
		}
		for _, imported := range ours(p.Imports) {
			if !r.permits(imported) {
				t.Errorf("%s imports %s, which the layout does not allow (%s)", name, imported, r.why)
			}
		}
		for _, imported := range ours(slices.Concat(p.Imports, p.TestImports, p.XTestImports)) {
			if crosses(name, imported) {
				t.Errorf("%s imports %s: the two programs share only schema", name, imported)
			}
		}
	}
}

// The rules must be able to refuse.
func TestRulesRefuse(t *testing.T) {
	for _, arrow := range [][2]string{
		{"schema", "schema/falco"},
		{"schema/policy", "schema"},
		{"schema/rules", "schema"},
		{"tracer/internal/engine/notify", "tracer/internal/supervise"},
		{"tracer/internal/supervise", "tracer/internal/emit"},
		{"sidekick", "outputs/slack"},
		{"sidekick/internal/ingest", "outputs"},
		{"sidekick/internal/dispatch", "sidekick/internal/queue"},
		{"outputs/slack", "outputs/discord"},
		{"outputs", "outputs/slack"},
	} {
		if r := ruleFor(arrow[0]); r == nil || r.permits(arrow[1]) {
			t.Errorf("%s -> %s is allowed", arrow[0], arrow[1])
		}
	}
	for _, stray := range []string{"common", "schema/extra", "tracer/internal/helpers", "outputs/http"} {
		if ruleFor(stray) != nil {
			t.Errorf("package %s is allowed", stray)
		}
	}
	if !crosses("sidekick/internal/queue", "tracer/internal/emit") || !crosses("tracer", "sidekick") || crosses("tracer", "schema") {
		t.Error("imports between the programs are not recognised")
	}
}

func ruleFor(name string) *rule {
	for i := range rules {
		if slices.Contains(strings.Fields(rules[i].packages), name) {
			return &rules[i]
		}
	}
	return nil
}

func (r *rule) permits(name string) bool {
	return slices.ContainsFunc(r.allow, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return err == nil && ok
	})
}

func crosses(from, to string) bool {
	return program(from) != "" && program(to) != "" && program(from) != program(to)
}

func program(name string) string {
	top, _, _ := strings.Cut(name, "/")
	if top == "tracer" || top == "sidekick" {
		return top
	}
	return ""
}

func ours(imports []string) []string {
	var names []string
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module); ok {
			names = append(names, name)
		}
	}
	return names
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Imports,TestImports,XTestImports,Error", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// The sidekick's image is scratch, which has no root certificates: without its
// own the sidekick could reach no service over TLS.
func TestSidekickCarriesRootCertificates(t *testing.T) {
	const roots = "golang.org/x/crypto/x509roots/fallback"
	for _, p := range list(t) {
		if p.ImportPath == module+"sidekick" && slices.Contains(p.Imports, roots) {
			return
		}
	}
	t.Errorf("sidekick does not import %s", roots)
}
