// Package schema holds the events that SideArmor carries: KubeArmor alerts and
// logs, and Falco events, with their JSON forms, their limits and their checks.
// It does no I/O and knows nothing of where events come from or go to.
package schema

import "time"

// Kind says which of the three event shapes an Event carries.
type Kind string

// The kinds of events.
const (
	KindAlert Kind = "alert" // a KubeArmor alert: a policy matched, or a SystemEvent
	KindLog   Kind = "log"   // a KubeArmor log: something was seen, no policy matched
	KindFalco Kind = "falco" // a Falco event
)

// Values of Alert.Type and Log.Type (KubeArmor feeder/feeder.go).
const (
	TypeMatchedPolicy        = "MatchedPolicy"
	TypeMatchedHostPolicy    = "MatchedHostPolicy"
	TypeMatchedNetworkPolicy = "MatchedNetworkPolicy"
	TypeSystemEvent          = "SystemEvent"
	TypeContainerLog         = "ContainerLog"
	TypeHostLog              = "HostLog"
)

// Values of Operation.
const (
	OperationProcess        = "Process"
	OperationFile           = "File"
	OperationNetwork        = "Network"
	OperationCapabilities   = "Capabilities"
	OperationSyscall        = "Syscall"
	OperationAlertThreshold = "AlertThreshold"
)

// Values of Alert.Action.
const (
	ActionBlock      = "Block"
	ActionAudit      = "Audit"
	ActionAuditBlock = "Audit (Block)"
	ActionAllow      = "Allow"
)

// Values of Result that SideArmor writes; KubeArmor writes any strerror text.
const (
	ResultPassed           = "Passed"
	ResultPermissionDenied = "Permission denied"
)

// DefaultPosture is the PolicyName of an alert that the default posture raised.
const DefaultPosture = "DefaultPosture"

// Event is one event on its way from the tracer to the outputs. Exactly one of
// Alert, Log and Falco is set, the one that Kind names. An Event is immutable
// once it has been stored: outputs share it.
type Event struct {
	ID       string    // unique; the sender's where it gave one, so that a repeated send is recognised
	Received time.Time // when the sidekick took it, UTC
	Kind     Kind
	Alert    *Alert
	Log      *Log
	Falco    *FalcoEvent

	text string // the body as it was stored, if that is how outputs get it; "" to write it
}

// Origin is who an event is about: the fields that every KubeArmor event of one
// container shares (KubeArmor protobuf/kubearmor.proto).
type Origin struct {
	ClusterName    string
	HostName       string
	NodeID         string
	NamespaceName  string
	Owner          *Owner
	PodName        string
	Labels         string // "k=v,k=v"
	ContainerID    string
	ContainerName  string
	ContainerImage string
}

// Owner is the workload object that a pod belongs to.
type Owner struct {
	Ref       string // Deployment, DaemonSet, StatefulSet, ReplicaSet, Job, CronJob, Pod
	Name      string
	Namespace string
}

// ExecEvent ties a process to the runtime exec that it descends from.
type ExecEvent struct {
	ExecID         string // "0" when there is none
	ExecutableName string // comm of the process
}

// Record is what alerts and logs have in common.
type Record struct {
	Origin
	Timestamp   int64  // seconds since the epoch
	UpdatedTime string // UTC, 2006-01-02T15:04:05.000000Z

	HostPPID, HostPID int32
	PPID, PID, UID    int32
	ParentProcessName string
	ProcessName       string

	Type      string
	Source    string
	Operation string
	Resource  string
	Data      string
	EventData map[string]string
	Result    string
	Cwd       string
	TTY       string
	ExecEvent *ExecEvent
	UserName  string

	ProcessHash, ParentHash, ResourceHash, HashAlgo string

	OID int32 // owner uid of the file; in the lower-case spelling only
}

// Alert is a KubeArmor alert.
type Alert struct {
	Record
	PolicyName             string
	Severity               string // "1" to "10", or "" when the policy gave none
	Tags                   string // comma-joined
	ATags                  []string
	Message                string
	Enforcer               string
	Action                 string
	KubeArmorVersion       string
	MaxAlertsPerSec        int32 // on throttle alerts only
	DroppingAlertsInterval int32 // on throttle alerts only
}

// Log is a KubeArmor log.
type Log struct {
	Record
}

// FalcoEvent is a Falco event with the fields, and under the names, of
// FalcoSidekick's FalcoPayload, which templates written for it refer to.
type FalcoEvent struct {
	UUID         string         `json:"uuid,omitempty"`
	Output       string         `json:"output"`
	Priority     Priority       `json:"priority" jsonschema:"required"`
	Rule         string         `json:"rule" jsonschema:"required,minLength=1"`
	Time         time.Time      `json:"time" jsonschema:"required"`
	OutputFields map[string]any `json:"output_fields" jsonschema:"required,nullable"`
	Source       string         `json:"source"`
	Tags         []string       `json:"tags,omitempty"`
	Hostname     string         `json:"hostname,omitempty"`
}
