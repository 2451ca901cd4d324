// Package kubearmor turns alerts and logs into the messages of KubeArmor's gRPC
// service, and such messages into events. It sends and receives nothing.
package kubearmor

import (
	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/protobuf/proto"

	"github.com/sidearmor/sidearmor/schema"
)

// Values of RequestMessage.Filter (KubeArmor feeder/logServer.go). For any other
// KubeArmor ends the stream at once, and without an error.
const (
	FilterAll    = "all"    // of WatchAlerts and of WatchLogs
	FilterPolicy = "policy" // of WatchAlerts
	FilterSystem = "system" // of WatchLogs
)

// harmless is the size of a message that is within schema's limits whatever it
// holds: in JSON a byte takes at most six, and keys take less than 2 KiB.
const harmless = (schema.MaxEventBytes - 2048) / 6

// AlertMessage gives a as KubeArmor sends it. OID has no place there.
func AlertMessage(a *schema.Alert) *pb.Alert {
	m := &pb.Alert{
		Timestamp: a.Timestamp, UpdatedTime: a.UpdatedTime,
		ClusterName: a.ClusterName, HostName: a.HostName,
		NamespaceName: a.NamespaceName, Owner: ownerMessage(a.Owner), PodName: a.PodName, Labels: a.Labels,
		ContainerID: a.ContainerID, ContainerName: a.ContainerName, ContainerImage: a.ContainerImage,
		HostPPID: a.HostPPID, HostPID: a.HostPID, PPID: a.PPID, PID: a.PID, UID: a.UID,
		ParentProcessName: a.ParentProcessName, ProcessName: a.ProcessName,
		PolicyName: a.PolicyName, Severity: a.Severity, Tags: a.Tags, ATags: a.ATags, Message: a.Message,
		Type: a.Type, Source: a.Source, Operation: a.Operation, Resource: a.Resource, Data: a.Data,
		Enforcer: a.Enforcer, Action: a.Action, Result: a.Result, Cwd: a.Cwd, TTY: a.TTY,
		MaxAlertsPerSec: a.MaxAlertsPerSec, DroppingAlertsInterval: a.DroppingAlertsInterval,
		ExecEvent: execMessage(a.ExecEvent), KubeArmorVersion: a.KubeArmorVersion,
	}
	m.ProtoReflect().SetUnknown(appendNewer(nil, firstNewerOfAlert, &a.Record))
	return m
}

// LogMessage gives l as KubeArmor sends it. OID has no place there.
func LogMessage(l *schema.Log) *pb.Log {
	m := &pb.Log{
		Timestamp: l.Timestamp, UpdatedTime: l.UpdatedTime,
		ClusterName: l.ClusterName, HostName: l.HostName,
		NamespaceName: l.NamespaceName, Owner: ownerMessage(l.Owner), PodName: l.PodName, Labels: l.Labels,
		ContainerID: l.ContainerID, ContainerName: l.ContainerName, ContainerImage: l.ContainerImage,
		HostPPID: l.HostPPID, HostPID: l.HostPID, PPID: l.PPID, PID: l.PID, UID: l.UID,
		ParentProcessName: l.ParentProcessName, ProcessName: l.ProcessName,
		Type: l.Type, Source: l.Source, Operation: l.Operation, Resource: l.Resource, Data: l.Data,
		Result: l.Result, Cwd: l.Cwd, TTY: l.TTY, ExecEvent: execMessage(l.ExecEvent),
	}
	m.ProtoReflect().SetUnknown(appendNewer(nil, firstNewerOfLog, &l.Record))
	return m
}

// AlertEvent gives what KubeArmor sent on its stream of alerts. What would be
// refused of a poster for its size is shortened: it cannot be asked for again. ID
// and Received of the event are zero.
func AlertEvent(m *pb.Alert) schema.Event {
	a := &schema.Alert{
		Record: schema.Record{
			Origin: schema.Origin{
				ClusterName: m.ClusterName, HostName: m.HostName,
				NamespaceName: m.NamespaceName, Owner: owner(m.Owner), PodName: m.PodName, Labels: m.Labels,
				ContainerID: m.ContainerID, ContainerName: m.ContainerName, ContainerImage: m.ContainerImage,
			},
			Timestamp: m.Timestamp, UpdatedTime: m.UpdatedTime,
			HostPPID: m.HostPPID, HostPID: m.HostPID, PPID: m.PPID, PID: m.PID, UID: m.UID,
			ParentProcessName: m.ParentProcessName, ProcessName: m.ProcessName,
			Type: m.Type, Source: m.Source, Operation: m.Operation, Resource: m.Resource, Data: m.Data,
			Result: m.Result, Cwd: m.Cwd, TTY: m.TTY, ExecEvent: exec(m.ExecEvent),
		},
		PolicyName: m.PolicyName, Severity: m.Severity, Tags: m.Tags, ATags: m.ATags, Message: m.Message,
		Enforcer: m.Enforcer, Action: m.Action, KubeArmorVersion: m.KubeArmorVersion,
		MaxAlertsPerSec: m.MaxAlertsPerSec, DroppingAlertsInterval: m.DroppingAlertsInterval,
	}
	readNewer(m.ProtoReflect().GetUnknown(), firstNewerOfAlert, &a.Record)
	e := schema.Event{Kind: schema.KindAlert, Alert: a}
	bound(&e, m, max(len(a.ATags), len(a.EventData)))
	return e
}

// LogEvent gives what KubeArmor sent on its stream of logs, as AlertEvent does.
func LogEvent(m *pb.Log) schema.Event {
	l := &schema.Log{Record: schema.Record{
		Origin: schema.Origin{
			ClusterName: m.ClusterName, HostName: m.HostName,
			NamespaceName: m.NamespaceName, Owner: owner(m.Owner), PodName: m.PodName, Labels: m.Labels,
			ContainerID: m.ContainerID, ContainerName: m.ContainerName, ContainerImage: m.ContainerImage,
		},
		Timestamp: m.Timestamp, UpdatedTime: m.UpdatedTime,
		HostPPID: m.HostPPID, HostPID: m.HostPID, PPID: m.PPID, PID: m.PID, UID: m.UID,
		ParentProcessName: m.ParentProcessName, ProcessName: m.ProcessName,
		Type: m.Type, Source: m.Source, Operation: m.Operation, Resource: m.Resource, Data: m.Data,
		Result: m.Result, Cwd: m.Cwd, TTY: m.TTY, ExecEvent: exec(m.ExecEvent),
	}}
	readNewer(m.ProtoReflect().GetUnknown(), firstNewerOfLog, &l.Record)
	e := schema.Event{Kind: schema.KindLog, Log: l}
	bound(&e, m, len(l.EventData))
	return e
}

// bound shortens e where a poster's event like it would be refused.
func bound(e *schema.Event, m proto.Message, entries int) {
	if entries <= schema.MaxEntries && proto.Size(m) <= harmless {
		return
	}
	body, err := e.Body()
	if err == nil {
		_, err = schema.Decode(body)
	}
	if err != nil {
		e.Clip()
	}
}

func ownerMessage(o *schema.Owner) *pb.Podowner {
	if o == nil {
		return nil
	}
	return &pb.Podowner{Ref: o.Ref, Name: o.Name, Namespace: o.Namespace}
}

func owner(m *pb.Podowner) *schema.Owner {
	if m == nil {
		return nil
	}
	return &schema.Owner{Ref: m.Ref, Name: m.Name, Namespace: m.Namespace}
}

func execMessage(e *schema.ExecEvent) *pb.ExecEvent {
	if e == nil {
		return nil
	}
	return &pb.ExecEvent{ExecID: e.ExecID, ExecutableName: e.ExecutableName}
}

func exec(m *pb.ExecEvent) *schema.ExecEvent {
	if m == nil {
		return nil
	}
	return &schema.ExecEvent{ExecID: m.ExecID, ExecutableName: m.ExecutableName}
}
