package wording

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

func alert() *schema.Event {
	return &schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{
		Record: schema.Record{
			Origin: schema.Origin{
				ClusterName: "c", HostName: "h", NodeID: "n", NamespaceName: "shop", PodName: "web-1", Labels: "app=web, tier=<b>",
				ContainerName: "web", ContainerID: "4771", ContainerImage: "nginx", Owner: &schema.Owner{Name: "web"},
			},
			UpdatedTime: "2026-11-23T18:13:11.933280Z", Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile, Source: "cat <x>",
			ProcessName: "/usr/bin/cat", ParentProcessName: "/bin/sh", Resource: "/etc/<shadow>", Result: schema.ResultPermissionDenied,
			Cwd: "/srv/", TTY: "pts0", UID: 7, PID: 17, UserName: "bob", EventData: map[string]string{"Flags": "<O_RDONLY>"},
		},
		PolicyName: "p<q>", Severity: "9", Tags: "A,B", Message: "hands <off>", Enforcer: "SideArmor", Action: schema.ActionBlock,
	}}
}

func upper(s string) string { return strings.NewReplacer("<", "(", ">", ")").Replace(s) }

func TestExecute(t *testing.T) {
	log := &schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Operation: schema.OperationProcess}}}
	for text, want := range map[string]string{
		`<!here> *{{.Outcome}}* {{.Headline}} in {{.Namespace}}/{{.Pod}}`:                                    `<!here> *Blocked* cat tried to access /etc/(shadow) in shop/web-1`,
		`{{.Action}} {{.Policy}} {{.Severity}} {{.Priority}} {{.Message}} {{.Enforcer}} {{.Kind}} {{.Type}}`: `Block p(q) 9 Alert hands (off) SideArmor alert MatchedPolicy`,
		`{{range .Tags}}[{{.}}]{{end}}{{.Labels.app}} {{.Labels.tier}} {{.Labels.none}}{{.Data.Flags}}`:      `[A][B]web (b) (O_RDONLY)`,
		`{{.Time.Format "15:04:05"}} {{.UID}} {{.PID}} {{.User}} {{.Cwd}} {{.TTY}} {{.Blocked}}`:             `18:13:11 7 17 bob /srv/ pts0 true`,
		`{{.Cluster}} {{.Host}} {{.Node}} {{.Owner}} {{.Container}} {{.ContainerID}} {{.Image}}`:             `c h n web web 4771 nginx`,
		`{{.Operation}} {{.Source}} {{.Process}} {{.Parent}} {{.Resource}} {{.Result}}`:                      `File cat (x) /usr/bin/cat /bin/sh /etc/(shadow) Permission denied`,
		`{{if eq .Action "Block"}}yes{{else}}no{{end}}{{if gt .Severity 8}}!{{end}}`:                         `yes!`,
		" \n ": "",
	} {
		tmpl, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tmpl.Execute(alert(), upper); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
		for _, e := range []*schema.Event{log, {}} {
			if _, err := tmpl.Execute(e, upper); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{{.Nope}}`: `can't evaluate field Nope`,
		`{{if eq .Action "Audit"}}{{.Nope}}{{end}}`:     `can't evaluate field Nope`,
		`{{if eq .Kind "log"}}{{.Process.Name}}{{end}}`: `can't evaluate field Name`,
		`{{.Pod`:        `unclosed action`,
		`{{nope .Pod}}`: `function "nope" not defined`,
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	tmpl, err := Parse(`{{index .Tags 5}}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Execute(alert(), upper); err == nil || !strings.Contains(err.Error(), "out of range") {
		t.Errorf("error %v", err)
	}
}

// No field may be printed without passing escape, but where a template asks for it.
func TestEverythingIsEscaped(t *testing.T) {
	mark := func(string) string { return "E" }
	all := reflect.TypeFor[Fields]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		for text, escaped := range map[string]bool{"{{." + name + "}}": true, "{{raw ." + name + "}}": false, "{{." + name + " | raw}}": false} {
			tmpl, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Execute(alert(), mark)
			if err != nil || got == "" || (got == "E") != escaped {
				t.Errorf("%s: %q, %v", text, got, err)
			}
		}
	}
}
