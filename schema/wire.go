package schema

// The JSON forms, as structs whose fields stand in the order in which KubeArmor
// writes them. Their tags also make event.schema.json.

// alertJSON is what json.Marshal writes of KubeArmor's pb.Alert: fields in the
// order of protobuf/kubearmor.proto, all but PPID and UID omitted when empty.
type alertJSON struct {
	Timestamp              int64             `json:"Timestamp,omitempty" jsonschema:"description=seconds since the epoch"`
	UpdatedTime            string            `json:"UpdatedTime,omitempty" jsonschema:"description=UTC with microseconds: 2006-01-02T15:04:05.000000Z"`
	ClusterName            string            `json:"ClusterName,omitempty"`
	HostName               string            `json:"HostName,omitempty"`
	NamespaceName          string            `json:"NamespaceName,omitempty"`
	Owner                  *ownerJSON        `json:"Owner,omitempty"`
	PodName                string            `json:"PodName,omitempty"`
	Labels                 string            `json:"Labels,omitempty" jsonschema:"description=k=v joined by commas"`
	ContainerID            string            `json:"ContainerID,omitempty"`
	ContainerName          string            `json:"ContainerName,omitempty"`
	ContainerImage         string            `json:"ContainerImage,omitempty"`
	HostPPID               int32             `json:"HostPPID,omitempty"`
	HostPID                int32             `json:"HostPID,omitempty"`
	PPID                   int32             `json:"PPID"`
	PID                    int32             `json:"PID,omitempty"`
	UID                    int32             `json:"UID"`
	ParentProcessName      string            `json:"ParentProcessName,omitempty"`
	ProcessName            string            `json:"ProcessName,omitempty"`
	PolicyName             string            `json:"PolicyName,omitempty"`
	Severity               string            `json:"Severity,omitempty" jsonschema:"description=1 to 10"`
	Tags                   string            `json:"Tags,omitempty" jsonschema:"description=joined by commas"`
	ATags                  []string          `json:"ATags,omitempty"`
	Message                string            `json:"Message,omitempty"`
	Type                   string            `json:"Type,omitempty" jsonschema:"required,minLength=1"`
	Source                 string            `json:"Source,omitempty"`
	Operation              string            `json:"Operation,omitempty" jsonschema:"required,minLength=1"`
	Resource               string            `json:"Resource,omitempty"`
	Data                   string            `json:"Data,omitempty"`
	EventData              map[string]string `json:"EventData,omitempty"`
	Enforcer               string            `json:"Enforcer,omitempty"`
	Action                 string            `json:"Action,omitempty"`
	Result                 string            `json:"Result,omitempty"`
	Cwd                    string            `json:"Cwd,omitempty"`
	TTY                    string            `json:"TTY,omitempty"`
	MaxAlertsPerSec        int32             `json:"MaxAlertsPerSec,omitempty"`
	DroppingAlertsInterval int32             `json:"DroppingAlertsInterval,omitempty"`
	ExecEvent              *execEventJSON    `json:"ExecEvent,omitempty"`
	KubeArmorVersion       string            `json:"KubeArmorVersion,omitempty"`
	NodeID                 string            `json:"NodeID,omitempty"`
	ProcessHash            string            `json:"ProcessHash,omitempty"`
	ParentHash             string            `json:"ParentHash,omitempty"`
	ResourceHash           string            `json:"ResourceHash,omitempty"`
	HashAlgo               string            `json:"HashAlgo,omitempty"`
	UserName               string            `json:"UserName,omitempty"`
}

// logJSON is the same of pb.Log, whose names of processes stand before the pids.
type logJSON struct {
	Timestamp         int64             `json:"Timestamp,omitempty" jsonschema:"description=seconds since the epoch"`
	UpdatedTime       string            `json:"UpdatedTime,omitempty" jsonschema:"description=UTC with microseconds: 2006-01-02T15:04:05.000000Z"`
	ClusterName       string            `json:"ClusterName,omitempty"`
	HostName          string            `json:"HostName,omitempty"`
	NamespaceName     string            `json:"NamespaceName,omitempty"`
	Owner             *ownerJSON        `json:"Owner,omitempty"`
	PodName           string            `json:"PodName,omitempty"`
	Labels            string            `json:"Labels,omitempty" jsonschema:"description=k=v joined by commas"`
	ContainerID       string            `json:"ContainerID,omitempty"`
	ContainerName     string            `json:"ContainerName,omitempty"`
	ContainerImage    string            `json:"ContainerImage,omitempty"`
	ParentProcessName string            `json:"ParentProcessName,omitempty"`
	ProcessName       string            `json:"ProcessName,omitempty"`
	HostPPID          int32             `json:"HostPPID,omitempty"`
	HostPID           int32             `json:"HostPID,omitempty"`
	PPID              int32             `json:"PPID"`
	PID               int32             `json:"PID,omitempty"`
	UID               int32             `json:"UID"`
	Type              string            `json:"Type,omitempty" jsonschema:"required,minLength=1"`
	Source            string            `json:"Source,omitempty"`
	Operation         string            `json:"Operation,omitempty" jsonschema:"required,minLength=1"`
	Resource          string            `json:"Resource,omitempty"`
	Data              string            `json:"Data,omitempty"`
	EventData         map[string]string `json:"EventData,omitempty"`
	Result            string            `json:"Result,omitempty"`
	Cwd               string            `json:"Cwd,omitempty"`
	TTY               string            `json:"TTY,omitempty"`
	ExecEvent         *execEventJSON    `json:"ExecEvent,omitempty"`
	NodeID            string            `json:"NodeID,omitempty"`
	ProcessHash       string            `json:"ProcessHash,omitempty"`
	ParentHash        string            `json:"ParentHash,omitempty"`
	ResourceHash      string            `json:"ResourceHash,omitempty"`
	HashAlgo          string            `json:"HashAlgo,omitempty"`
	UserName          string            `json:"UserName,omitempty"`
}

// camelJSON is KubeArmor's types.Log as its daemon prints it (types/types.go,
// feeder/feeder.go): one struct for alerts and logs, few fields omitted.
type camelJSON struct {
	Timestamp              int64             `json:"timestamp"`
	UpdatedTime            string            `json:"updatedTime"`
	ClusterName            string            `json:"clusterName,omitempty"`
	HostName               string            `json:"hostName"`
	NodeID                 string            `json:"nodeID,omitempty"`
	UserName               string            `json:"username,omitempty"`
	NamespaceName          string            `json:"namespaceName,omitempty"`
	Owner                  *camelOwnerJSON   `json:"owner,omitempty"`
	PodName                string            `json:"podName,omitempty"`
	Labels                 string            `json:"labels,omitempty"`
	ContainerID            string            `json:"containerID,omitempty"`
	ContainerName          string            `json:"containerName,omitempty"`
	ContainerImage         string            `json:"containerImage,omitempty"`
	HostPPID               int32             `json:"hostPPid"`
	HostPID                int32             `json:"hostPid"`
	PPID                   int32             `json:"ppid"`
	PID                    int32             `json:"pid"`
	UID                    int32             `json:"uid"`
	ExecEvent              camelExecJSON     `json:"execEvent"`
	ParentProcessName      string            `json:"parentProcessName"`
	ProcessName            string            `json:"processName"`
	Enforcer               string            `json:"enforcer,omitempty"`
	PolicyName             string            `json:"policyName,omitempty"`
	KubeArmorVersion       string            `json:"kubeArmorVersion,omitempty"`
	Severity               string            `json:"severity,omitempty"`
	Tags                   string            `json:"tags,omitempty"`
	ATags                  []string          `json:"atags" jsonschema:"nullable"`
	Message                string            `json:"message,omitempty"`
	Type                   string            `json:"type" jsonschema:"required,minLength=1"`
	Source                 string            `json:"source"`
	Operation              string            `json:"operation" jsonschema:"required,minLength=1"`
	Resource               string            `json:"resource"`
	Cwd                    string            `json:"cwd"`
	TTY                    string            `json:"tty,omitempty"`
	OID                    int32             `json:"oid" jsonschema:"description=owner of the file"`
	Data                   string            `json:"data,omitempty"`
	EventData              map[string]string `json:"eventData,omitempty"`
	ProcessHash            string            `json:"processHash,omitempty"`
	ParentHash             string            `json:"parentHash,omitempty"`
	ResourceHash           string            `json:"resourceHash,omitempty"`
	HashAlgo               string            `json:"hashAlgo,omitempty"`
	Action                 string            `json:"action,omitempty"`
	Result                 string            `json:"result"`
	MaxAlertsPerSec        int32             `json:"MaxAlertsPerSec,omitempty"`
	DroppingAlertsInterval int32             `json:"DroppingAlertsInterval,omitempty"`
}

type ownerJSON struct {
	Ref       string `json:"Ref,omitempty"`
	Name      string `json:"Name,omitempty"`
	Namespace string `json:"Namespace,omitempty"`
}

type execEventJSON struct {
	ExecID         string `json:"ExecID,omitempty"`
	ExecutableName string `json:"ExecutableName,omitempty"`
}

type camelOwnerJSON struct {
	Ref       string `json:"ref,omitempty"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

type camelExecJSON struct {
	ExecID         string `json:"ExecID"`
	ExecutableName string `json:"ExecutableName"`
}
