package eks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

const (
	tokenVolume = "sidearmor-token"
	tokenDir    = "/var/run/secrets/kubernetes.io/serviceaccount"
)

type entries = document.Entries

// volumes adds what the containers share.
func (i *injection) volumes() error {
	empty := func(size string) entries {
		return entries{{Key: "emptyDir", Value: entries{{Key: "sizeLimit", Value: size}}}}
	}
	labels := document.Items{entries{{Key: "path", Value: "labels"}, {Key: "fieldRef", Value: entries{{Key: "fieldPath", Value: "metadata.labels"}}}}}
	volumes := []struct {
		name string
		is   entries
	}{
		{workload.Volume, empty("32Mi")},
		{workload.QueueVolume, empty("512Mi")},
		{podinfoVolume, entries{{Key: "downwardAPI", Value: entries{{Key: "items", Value: labels}}}}},
	}
	add := func(name string, is entries) {
		volumes = append(volumes, struct {
			name string
			is   entries
		}{name, is})
	}
	if i.o.PolicyConfigMap != "" {
		add(policiesVolume, entries{{Key: "configMap", Value: entries{{Key: "name", Value: i.o.PolicyConfigMap}}}})
	}
	if i.socket {
		add(workload.SocketVolume, empty("1Mi"))
	}
	if i.token() {
		add(tokenVolume, tokenSources())
	}
	var names []string
	for _, v := range volumes {
		if there := i.get("volumes"); there != nil && slices.ContainsFunc(there.Items, func(n *document.Node) bool { return n.Name() == v.name }) {
			return fmt.Errorf("it has a volume %s that inject did not add", v.name)
		}
		if err := i.doc.Append(i.spec("volumes"), append(entries{{Key: "name", Value: v.name}}, v.is...), document.Match{Key: "name", Value: v.name}); err != nil {
			return err
		}
		names = append(names, v.name)
	}
	i.changed("volumes %s are added; they live as long as the pod", strings.Join(names, ", "))
	return nil
}

// token says whether the sidekick talks to the API server.
func (i *injection) token() bool { return i.o.Token || i.o.ClusterPolicies }

// tokenSources is what automountServiceAccountToken would mount, for the sidekick alone.
func tokenSources() entries {
	source := func(kind string, of ...document.Entry) entries { return entries{{Key: kind, Value: entries(of)}} }
	path := func(name, value string) entries {
		return entries{{Key: "key", Value: name}, {Key: "path", Value: value}}
	}
	return entries{{Key: "projected", Value: entries{{Key: "sources", Value: document.Items{
		source("serviceAccountToken", document.Entry{Key: "path", Value: "token"}, document.Entry{Key: "expirationSeconds", Value: 3600}),
		source("configMap", document.Entry{Key: "name", Value: "kube-root-ca.crt"}, document.Entry{Key: "items", Value: document.Items{path("ca.crt", "ca.crt")}}),
		source("downwardAPI", document.Entry{Key: "items", Value: document.Items{entries{
			{Key: "path", Value: "namespace"}, {Key: "fieldRef", Value: entries{{Key: "fieldPath", Value: "metadata.namespace"}}},
		}}}),
	}}}}}
}

// addContainers adds what installs the tracer, and the sidekick, in front of all
// init containers: these may be traced, too.
func (i *injection) addContainers() error {
	inits := i.spec("initContainers")
	if err := i.doc.Prepare(inits); err != nil {
		return err
	}
	record := &workload.Record{Undo: i.doc.Log(), Images: i.o.Commands.Found()}
	text, err := record.Encode()
	if err != nil {
		return err
	}
	install := entries{
		{Key: "name", Value: workload.Install},
		{Key: "image", Value: i.o.TracerImage},
		{Key: "args", Value: document.Items{"install", workload.Dir}},
		{Key: "env", Value: document.Items{plain(workload.RecordVariable, text)}},
		{Key: "resources", Value: requests("10m", "16Mi", "32Mi")},
		{Key: "securityContext", Value: confined()},
		{Key: "volumeMounts", Value: document.Items{mount(workload.Volume, workload.Dir, false)}},
	}
	for _, c := range []entries{i.sidekick(), install} {
		name := fmt.Sprint(c[0].Value)
		if err := i.doc.Lead(inits, c, document.Match{Key: "name", Value: name}); err != nil {
			return err
		}
	}
	i.changed("init container %s is added: it copies the tracer, one static file, into the shared volume, and ends", workload.Install)
	i.changed("sidecar %s is added: it starts before the application and stops after it, and is started again when it fails", workload.Sidekick)
	return nil
}

func requests(cpu, memory, limit string) entries {
	return entries{
		{Key: "requests", Value: entries{{Key: "cpu", Value: cpu}, {Key: "memory", Value: memory}}},
		{Key: "limits", Value: entries{{Key: "memory", Value: limit}}},
	}
}

// confined is the security context of what needs nothing.
func confined() entries {
	return entries{
		{Key: "runAsNonRoot", Value: true},
		{Key: "runAsUser", Value: workload.User},
		{Key: "runAsGroup", Value: workload.User},
		{Key: "allowPrivilegeEscalation", Value: false},
		{Key: "readOnlyRootFilesystem", Value: true},
		{Key: "capabilities", Value: entries{{Key: "drop", Value: document.Items{"ALL"}}}},
		{Key: "seccompProfile", Value: entries{{Key: "type", Value: "RuntimeDefault"}}},
	}
}

func (i *injection) sidekick() entries {
	env := document.Items{plain("QUEUE_DIR", workload.QueueDir+"/queue")}
	mounts := document.Items{mount(workload.QueueVolume, workload.QueueDir, false)}
	if i.socket {
		env = append(env, plain("LISTENSOCKET", workload.Socket), plain("LISTENSOCKET_MODE", "0666"))
		mounts = append(mounts, mount(workload.SocketVolume, workload.SocketDir, false))
	}
	if i.token() {
		mounts = append(mounts, mount(tokenVolume, tokenDir, true))
	}
	if i.o.ClusterPolicies {
		env = append(env, plain("POLICIES_KUBERNETES", "true"), field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"))
	}
	if i.o.Shared.Secret != "" {
		env = append(env, Setting{Name: "AUTH_TOKEN", Secret: i.o.Shared.Secret, Key: i.o.Shared.Key}.entries())
	}
	for _, s := range i.o.SidekickEnv {
		env = append(env, s.entries())
	}
	probe := func(period, failures int) entries {
		return entries{
			{Key: "exec", Value: entries{{Key: "command", Value: document.Items{"/sidekick", "healthcheck"}}}},
			{Key: "periodSeconds", Value: period},
			{Key: "timeoutSeconds", Value: 3},
			{Key: "failureThreshold", Value: failures},
		}
	}
	is := entries{
		{Key: "name", Value: workload.Sidekick},
		{Key: "image", Value: i.o.SidekickImage},
		{Key: "restartPolicy", Value: "Always"},
		{Key: "env", Value: env},
	}
	if i.o.SidekickSecret != "" {
		is = append(is, document.Entry{Key: "envFrom", Value: document.Items{
			entries{{Key: "secretRef", Value: entries{{Key: "name", Value: i.o.SidekickSecret}}}},
		}})
	}
	return append(is, entries{
		{Key: "startupProbe", Value: probe(1, 60)},
		{Key: "livenessProbe", Value: probe(10, 6)},
		{Key: "resources", Value: requests("50m", fmt.Sprintf("%dMi", workload.SidekickMemory), fmt.Sprintf("%dMi", 2*workload.SidekickMemory))},
		{Key: "securityContext", Value: confined()},
		{Key: "volumeMounts", Value: mounts},
	}...)
}
