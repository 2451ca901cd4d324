package ocsf

import (
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

func (f *finding) kubearmor(e *schema.Event) {
	r, s := summary.Record(e), summary.Of(e)
	f.Info.Title, f.Message = s.Headline, s.Outcome.String()+": "+s.Headline
	f.Info.Desc = s.Message
	f.Unmapped = unmapped(r)
	if a := e.Alert; a != nil {
		f.Info.Analytic = rule(a.PolicyName)
		if a.PolicyName != "" {
			f.Policy = &named{Name: a.PolicyName}
		}
		tags := a.ATags
		if len(tags) == 0 {
			tags = strings.Split(a.Tags, ",")
		}
		f.tag(tags)
		set(f.Unmapped, "severity", a.Severity)
		set(f.Unmapped, "enforcer", a.Enforcer)
		set(f.Unmapped, "action", a.Action)
	}
	if ev := evidenceOf(r); ev != (evidence{}) {
		f.Evidences = []evidence{ev}
	}
	if r.PodName != "" {
		kind := "Pod"
		if r.Owner != nil && (r.Owner.Ref == "Service" || r.Owner.Ref == "Task") {
			kind = "Task"
		}
		res := resource{Type: kind, Name: r.PodName, Namespace: r.NamespaceName}
		if r.Labels != "" {
			res.Labels = strings.Split(r.Labels, ",")
		}
		f.Resources = []resource{res}
	}
}

// unmapped is what the class has no attribute for.
func unmapped(r *schema.Record) map[string]any {
	m := map[string]any{}
	for key, value := range map[string]string{
		"cluster": r.ClusterName, "node": r.NodeID, "type": r.Type, "operation": r.Operation, "resource": r.Resource,
		"source": r.Source, "data": r.Data, "result": r.Result, "cwd": r.Cwd, "tty": r.TTY,
	} {
		set(m, key, value)
	}
	if r.Owner != nil {
		set(m, "owner", strings.TrimSpace(r.Owner.Ref+" "+r.Owner.Name))
	}
	return m
}

func set(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// evidenceOf says who did what. KubeArmor gives an execution the new binary as its
// ProcessName: who asked for it is the parent.
func evidenceOf(r *schema.Record) evidence {
	var ev evidence
	p := processOf(r.ProcessName, int64(r.PID))
	parent := processOf(r.ParentProcessName, int64(r.PPID))
	if p != nil {
		p.User = &user{Name: r.UserName, UID: strconv.Itoa(int(r.UID))}
		p.Parent = parent
	}
	switch r.Operation {
	case schema.OperationProcess:
		if p != nil {
			p.Command, ev.Process = r.Resource, p
		}
		if parent != nil {
			ev.Actor = &actor{Process: parent}
		}
	default:
		if p != nil {
			p.Command, ev.Actor = r.Source, &actor{Process: p}
		}
	}
	switch r.Operation {
	case schema.OperationFile:
		ev.File = fileOf(r.Resource)
	case schema.OperationNetwork:
		ev.Connection, ev.Target = network(r)
	}
	ev.Container = containerOf(r.ContainerName, r.ContainerID, r.ContainerImage)
	if r.HostName != "" {
		ev.Device = &device{Hostname: r.HostName}
	}
	return ev
}

// processOf is nil for a process without an id: the schema wants one.
func processOf(name string, pid int64) *process {
	if pid <= 0 {
		return nil
	}
	p := &process{PID: pid, File: fileOf(name)}
	if p.File != nil {
		p.Name, p.File.TypeID = p.File.Name, 1
	}
	return p
}

func fileOf(name string) *file {
	if name == "" {
		return nil
	}
	return &file{Name: path.Base(name), Path: name}
}

func network(r *schema.Record) (*connection, *endpoint) {
	where, protocol := summary.Endpoint(r)
	if where == "" {
		return nil, nil
	}
	to := &endpoint{Name: where}
	if host, port, err := net.SplitHostPort(where); err == nil {
		where = host
		to.Port, _ = strconv.Atoi(port)
	}
	if net.ParseIP(where) != nil {
		to.IP, to.Name = where, ""
	}
	return &connection{Protocol: strings.ToLower(protocol)}, to
}

func containerOf(name, id, reference string) *container {
	if name == "" && id == "" {
		return nil
	}
	c := &container{Name: name, UID: id}
	if reference != "" {
		_, digest, ok := strings.Cut(reference, "@")
		if !ok {
			digest = reference
		}
		c.Image = &image{Name: reference, UID: digest}
	}
	return c
}
