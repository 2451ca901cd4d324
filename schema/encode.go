package schema

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes a as KubeArmor's gRPC clients print it (karmor logs --json,
// kubearmor-relay): PascalCase keys, byte for byte, "<", ">" and "&" escaped as
// encoding/json does there too. OID is not part of this spelling.
func (a *Alert) MarshalJSON() ([]byte, error) {
	return (*Encoder)(nil).alert(make([]byte, 0, bodySize), a), nil
}

// MarshalJSON writes l as KubeArmor's gRPC clients print it; see
// [Alert.MarshalJSON].
func (l *Log) MarshalJSON() ([]byte, error) {
	return (*Encoder)(nil).log(make([]byte, 0, bodySize), &l.Record), nil
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
