package supervise

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// enforcer is the Enforcer of our alerts. KubeArmor's clients take any text.
const enforcer = "SideArmor"

// KubeArmor's layout of UpdatedTime, in two parts.
const (
	updatedSecond = "2006-01-02T15:04:05"
	updatedMicros = ".000000Z"
)

// recorder brings reports into KubeArmor's form. Its event is the next one's as
// well, and the texts that many events share are made once.
type recorder struct {
	log   schema.Log
	alert schema.Alert
	exec  schema.ExecEvent

	second     int64
	secondText string
	cwd        string
	directory  string // cwd, as it is told
	data       map[dataKey]string
	words      map[string]map[string]string // EventData, by Data
}

// dataKey is what makes the Data of a call.
type dataKey struct {
	call  syscalls.ID
	dirfd uint64
	fd    uint64
	flags uint64
}

// maxShared bounds the texts that are kept because events share them.
const maxShared = 256

// event is an alert where a policy matched, a log elsewhere.
func (f *recorder) event(r *report, origin *schema.Origin) schema.Event {
	v := &r.verdict
	if !v.Alert {
		f.record(&f.log.Record, r, origin)
		f.log.Type = schema.TypeContainerLog
		return schema.Event{Kind: schema.KindLog, Log: &f.log}
	}
	f.alert = schema.Alert{
		PolicyName: v.PolicyName,
		Severity:   v.Severity,
		Tags:       strings.Join(v.Tags, ","),
		ATags:      v.Tags,
		Message:    v.Message,
		Enforcer:   cmp.Or(v.Enforcer, enforcer),
		Action:     v.Action,
	}
	f.record(&f.alert.Record, r, origin)
	f.alert.Type = schema.TypeMatchedPolicy
	return schema.Event{Kind: schema.KindAlert, Alert: &f.alert}
}

// record fills e with the report.
func (f *recorder) record(e *schema.Record, r *report, origin *schema.Origin) {
	f.exec = schema.ExecEvent{ExecID: cmp.Or(r.execID, "0"), ExecutableName: r.who.Comm}
	*e = schema.Record{
		Origin:            *origin,
		Timestamp:         r.at.Unix(),
		UpdatedTime:       f.updatedTime(r.at),
		PID:               int32(r.who.PID),
		PPID:              int32(r.who.PPID),
		UID:               int32(r.uid),
		ParentProcessName: r.who.Parent,
		ProcessName:       r.who.Exe,
		Operation:         r.op.String(),
		Source:            r.who.CommandLine,
		Resource:          r.resource,
		Result:            r.result,
		Cwd:               f.cwdOf(r),
		TTY:               r.who.TTY,
		OID:               int32(r.owner),
		ExecEvent:         &f.exec,
	}
	e.HostPID, e.HostPPID = e.PID, e.PPID
	if r.spec.Op == rules.Process {
		e.ProcessName = r.program
		e.Source = r.who.Parent // for exec KubeArmor names the parent, without arguments
		e.Resource = joinCommand(r.program, r.args)
		f.exec.ExecutableName = comm(r.program)
	}
	if r.to.family != "" {
		e.Resource, e.Data = r.to.describe(r.protocol, r.spec.ID)
	}
	if e.Data == "" {
		e.Data = f.dataOf(r)
	}
	if r.count > 1 {
		e.Data += " count=" + strconv.Itoa(r.count)
	}
	e.EventData = f.eventData(e, r)
}

func (f *recorder) updatedTime(at time.Time) string {
	at = at.UTC()
	if s := at.Unix(); s != f.second || f.secondText == "" {
		f.second, f.secondText = s, at.Format(updatedSecond)
	}
	text := make([]byte, 0, len(updatedSecond)+len(updatedMicros))
	return string(at.AppendFormat(append(text, f.secondText...), updatedMicros))
}

// cwdOf ends a directory's name by a slash, as KubeArmor's Cwd does.
func (f *recorder) cwdOf(r *report) string {
	if r.cwd == "/" || r.cwd == "" {
		return r.cwd
	}
	if r.cwd != f.cwd {
		f.cwd, f.directory = r.cwd, r.cwd+"/"
	}
	return f.directory
}

func (f *recorder) dataOf(r *report) string {
	if r.data != "" {
		return r.data
	}
	if r.spec.Op&(rules.Syscall|rules.MapExec) != 0 || r.spec.Op == rules.FileWrite && r.spec.ID != syscalls.Creat {
		return r.spec.Data(&r.callArg, r.flags) + r.detail // of each another one
	}
	key := dataKey{call: r.spec.ID, flags: r.flags}
	if r.spec.Dirfd != syscalls.None {
		key.dirfd = r.callArg[r.spec.Dirfd]
	}
	if r.spec.FD != syscalls.None {
		key.fd = r.callArg[r.spec.FD]
	}
	text, ok := f.data[key]
	if !ok {
		if f.data == nil || len(f.data) >= maxShared {
			f.data = map[dataKey]string{}
		}
		text = r.spec.Data(&r.callArg, r.flags)
		f.data[key] = text
	}
	return text
}

func (f *recorder) eventData(e *schema.Record, r *report) map[string]string {
	if e.Operation == schema.OperationNetwork || r.detail != "" || r.data != "" || r.count > 1 { // of each another one
		return schema.EventData(e.Operation, e.Resource, e.Data)
	}
	words, ok := f.words[e.Data]
	if !ok {
		if f.words == nil || len(f.words) >= maxShared {
			f.words = map[string]map[string]string{}
		}
		words = schema.EventData(e.Operation, e.Resource, e.Data)
		f.words[e.Data] = words
	}
	return words
}
