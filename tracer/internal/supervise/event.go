package supervise

import (
	"strings"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// enforcer is the Enforcer of our alerts. KubeArmor's clients take any text.
const enforcer = "SideArmor"

// updatedTime is KubeArmor's layout of UpdatedTime.
const updatedTime = "2006-01-02T15:04:05.000000Z"

// record begins the report of a call: who made it, and when. What is not known
// stays empty: a report with gaps is better than none.
func (s *Supervisor) record(p *process.Process, c *engine.Call) *schema.Record {
	now := s.Now().UTC()
	uid, _ := p.UID(c.TID)
	p.MarkCwd(c.TID) // chdir is not followed: the name may be an old one
	cwd, _ := p.Cwd(c.TID)
	tty, _ := p.TTY()
	name, _ := p.Comm()
	r := &schema.Record{
		Origin:      s.Origin(),
		Timestamp:   now.Unix(),
		UpdatedTime: now.Format(updatedTime),
		PID:         int32(p.PID()),
		UID:         int32(uid),
		ProcessName: exe(p),
		Cwd:         directory(cwd),
		TTY:         tty,
		ExecEvent:   &schema.ExecEvent{ExecID: "0", ExecutableName: name},
	}
	// There is no host above this container that could be looked at: its pids
	// are the only ones.
	if parent, err := p.Parent(); err == nil && parent != nil {
		r.PPID, r.ParentProcessName = int32(parent.PID()), exe(parent)
	}
	r.HostPID, r.HostPPID = r.PID, r.PPID
	return r
}

// commandLine is the program of p and its arguments, "" when they are not known.
func commandLine(p *process.Process) string {
	line, _ := p.CommandLine()
	return line
}

// directory ends a directory's name by a slash, as KubeArmor's Cwd does.
func directory(name string) string {
	if name == "/" || name == "" {
		return name
	}
	return name + "/"
}

// reported says whether a call of a class is told of: every alert is, and every
// other call of a class that is visible.
func (s *Supervisor) reported(v rules.Verdict, class rules.Operation) bool {
	return v.Alert || s.Visible&class != 0
}

// report sends what happened: an alert where a policy matched, a log elsewhere.
func (s *Supervisor) report(r *schema.Record, v rules.Verdict, result string) {
	r.Result = result
	r.EventData = schema.EventData(r.Operation, r.Resource, r.Data)
	if !v.Alert {
		r.Type = schema.TypeContainerLog
		s.Emit(schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: *r}})
		return
	}
	r.Type = schema.TypeMatchedPolicy
	s.Emit(schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{
		Record:     *r,
		PolicyName: v.PolicyName,
		Severity:   v.Severity,
		Tags:       strings.Join(v.Tags, ","),
		ATags:      v.Tags,
		Message:    v.Message,
		Enforcer:   enforcer,
		Action:     v.Action,
	}})
}
