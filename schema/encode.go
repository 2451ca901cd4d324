package schema

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes a as KubeArmor's gRPC clients print it (karmor logs --json,
// kubearmor-relay): PascalCase keys, byte for byte, "<", ">" and "&" escaped as
// encoding/json does there too. OID is not part of this spelling.
func (a *Alert) MarshalJSON() ([]byte, error) {
	return marshal(&alertJSON{
		Timestamp:              a.Timestamp,
		UpdatedTime:            a.UpdatedTime,
		ClusterName:            a.ClusterName,
		HostName:               a.HostName,
		NamespaceName:          a.NamespaceName,
		Owner:                  (*ownerJSON)(a.Owner),
		PodName:                a.PodName,
		Labels:                 a.Labels,
		ContainerID:            a.ContainerID,
		ContainerName:          a.ContainerName,
		ContainerImage:         a.ContainerImage,
		HostPPID:               a.HostPPID,
		HostPID:                a.HostPID,
		PPID:                   a.PPID,
		PID:                    a.PID,
		UID:                    a.UID,
		ParentProcessName:      a.ParentProcessName,
		ProcessName:            a.ProcessName,
		PolicyName:             a.PolicyName,
		Severity:               a.Severity,
		Tags:                   a.Tags,
		ATags:                  a.ATags,
		Message:                a.Message,
		Type:                   a.Type,
		Source:                 a.Source,
		Operation:              a.Operation,
		Resource:               a.Resource,
		Data:                   a.Data,
		EventData:              a.EventData,
		Enforcer:               a.Enforcer,
		Action:                 a.Action,
		Result:                 a.Result,
		Cwd:                    a.Cwd,
		TTY:                    a.TTY,
		MaxAlertsPerSec:        a.MaxAlertsPerSec,
		DroppingAlertsInterval: a.DroppingAlertsInterval,
		ExecEvent:              (*execEventJSON)(a.ExecEvent),
		KubeArmorVersion:       a.KubeArmorVersion,
		NodeID:                 a.NodeID,
		ProcessHash:            a.ProcessHash,
		ParentHash:             a.ParentHash,
		ResourceHash:           a.ResourceHash,
		HashAlgo:               a.HashAlgo,
		UserName:               a.UserName,
	})
}

// MarshalJSON writes l as KubeArmor's gRPC clients print it; see
// [Alert.MarshalJSON].
func (l *Log) MarshalJSON() ([]byte, error) {
	return marshal(&logJSON{
		Timestamp:         l.Timestamp,
		UpdatedTime:       l.UpdatedTime,
		ClusterName:       l.ClusterName,
		HostName:          l.HostName,
		NamespaceName:     l.NamespaceName,
		Owner:             (*ownerJSON)(l.Owner),
		PodName:           l.PodName,
		Labels:            l.Labels,
		ContainerID:       l.ContainerID,
		ContainerName:     l.ContainerName,
		ContainerImage:    l.ContainerImage,
		ParentProcessName: l.ParentProcessName,
		ProcessName:       l.ProcessName,
		HostPPID:          l.HostPPID,
		HostPID:           l.HostPID,
		PPID:              l.PPID,
		PID:               l.PID,
		UID:               l.UID,
		Type:              l.Type,
		Source:            l.Source,
		Operation:         l.Operation,
		Resource:          l.Resource,
		Data:              l.Data,
		EventData:         l.EventData,
		Result:            l.Result,
		Cwd:               l.Cwd,
		TTY:               l.TTY,
		ExecEvent:         (*execEventJSON)(l.ExecEvent),
		NodeID:            l.NodeID,
		ProcessHash:       l.ProcessHash,
		ParentHash:        l.ParentHash,
		ResourceHash:      l.ResourceHash,
		HashAlgo:          l.HashAlgo,
		UserName:          l.UserName,
	})
}

// CamelJSON writes a as KubeArmor's daemon prints it to stdout and to its log
// file: camelCase keys, byte for byte. An alert without ATags has "atags":null.
func (a *Alert) CamelJSON() ([]byte, error) {
	var exec camelExecJSON
	if a.ExecEvent != nil {
		exec = camelExecJSON(*a.ExecEvent)
	}
	return marshal(&camelJSON{
		Timestamp:              a.Timestamp,
		UpdatedTime:            a.UpdatedTime,
		ClusterName:            a.ClusterName,
		HostName:               a.HostName,
		NodeID:                 a.NodeID,
		UserName:               a.UserName,
		NamespaceName:          a.NamespaceName,
		Owner:                  (*camelOwnerJSON)(a.Owner),
		PodName:                a.PodName,
		Labels:                 a.Labels,
		ContainerID:            a.ContainerID,
		ContainerName:          a.ContainerName,
		ContainerImage:         a.ContainerImage,
		HostPPID:               a.HostPPID,
		HostPID:                a.HostPID,
		PPID:                   a.PPID,
		PID:                    a.PID,
		UID:                    a.UID,
		ExecEvent:              exec,
		ParentProcessName:      a.ParentProcessName,
		ProcessName:            a.ProcessName,
		Enforcer:               a.Enforcer,
		PolicyName:             a.PolicyName,
		KubeArmorVersion:       a.KubeArmorVersion,
		Severity:               a.Severity,
		Tags:                   a.Tags,
		ATags:                  a.ATags,
		Message:                a.Message,
		Type:                   a.Type,
		Source:                 a.Source,
		Operation:              a.Operation,
		Resource:               a.Resource,
		Cwd:                    a.Cwd,
		TTY:                    a.TTY,
		OID:                    a.OID,
		Data:                   a.Data,
		EventData:              a.EventData,
		ProcessHash:            a.ProcessHash,
		ParentHash:             a.ParentHash,
		ResourceHash:           a.ResourceHash,
		HashAlgo:               a.HashAlgo,
		Action:                 a.Action,
		Result:                 a.Result,
		MaxAlertsPerSec:        a.MaxAlertsPerSec,
		DroppingAlertsInterval: a.DroppingAlertsInterval,
	})
}

// CamelJSON writes l as KubeArmor's daemon prints it; see [Alert.CamelJSON].
func (l *Log) CamelJSON() ([]byte, error) {
	return (&Alert{Record: l.Record}).CamelJSON()
}

func marshal(form any) ([]byte, error) {
	b, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	return b, nil
}
