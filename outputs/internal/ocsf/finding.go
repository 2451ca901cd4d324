// Package ocsf writes events as Detection Findings (class 2004) of the Open
// Cybersecurity Schema Framework, for outputs whose readers know that. It sends
// nothing and cuts nothing.
package ocsf

// version is that of the schema that findings follow.
const version = "1.5.0"

// The fixed numbers of the class and of what it is about.
const (
	categoryUID = 2
	classUID    = 2004
	activityID  = 1 // Create: an event is never updated
	typeUID     = classUID*100 + activityID
)

// finding has the attributes of the class that events have values for
// (https://schema.ocsf.io/1.5.0/classes/detection_finding), with the profile
// security_control.
type finding struct {
	ActivityID    int            `json:"activity_id"`
	ActivityName  string         `json:"activity_name"`
	CategoryUID   int            `json:"category_uid"`
	CategoryName  string         `json:"category_name"`
	ClassUID      int            `json:"class_uid"`
	ClassName     string         `json:"class_name"`
	TypeUID       int            `json:"type_uid"`
	TypeName      string         `json:"type_name"`
	Time          int64          `json:"time"` // milliseconds, as all times are
	SeverityID    int            `json:"severity_id"`
	Severity      string         `json:"severity"`
	StatusID      int            `json:"status_id"`
	Status        string         `json:"status"`
	IsAlert       bool           `json:"is_alert"`
	ActionID      int            `json:"action_id"`
	Action        string         `json:"action"`
	DispositionID int            `json:"disposition_id"`
	Disposition   string         `json:"disposition"`
	Message       string         `json:"message,omitempty"`
	Metadata      metadata       `json:"metadata"`
	Info          info           `json:"finding_info"`
	Policy        *named         `json:"policy,omitempty"`
	Evidences     []evidence     `json:"evidences,omitempty"`
	Resources     []resource     `json:"resources,omitempty"`
	Unmapped      map[string]any `json:"unmapped,omitempty"`
}

type metadata struct {
	Version    string   `json:"version"`
	UID        string   `json:"uid,omitempty"`
	Product    product  `json:"product"`
	Profiles   []string `json:"profiles"`
	LogName    string   `json:"log_name"`
	LoggedTime int64    `json:"logged_time,omitempty"`
	Labels     []string `json:"labels,omitempty"`
}

type product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

type info struct {
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Desc        string   `json:"desc,omitempty"`
	CreatedTime int64    `json:"created_time"`
	Analytic    *named   `json:"analytic,omitempty"`
	Attacks     []attack `json:"attacks,omitempty"`
}

// named is a rule with what kind it is, a policy, a technique.
type named struct {
	Name   string `json:"name,omitempty"`
	UID    string `json:"uid,omitempty"`
	TypeID int    `json:"type_id,omitempty"`
	Type   string `json:"type,omitempty"`
}

type attack struct {
	Technique    named  `json:"technique"`
	SubTechnique *named `json:"sub_technique,omitempty"`
}

type evidence struct {
	Actor      *actor      `json:"actor,omitempty"`
	Process    *process    `json:"process,omitempty"` // that was started
	File       *file       `json:"file,omitempty"`
	Connection *connection `json:"connection_info,omitempty"`
	Target     *endpoint   `json:"dst_endpoint,omitempty"`
	Container  *container  `json:"container,omitempty"`
	Device     *device     `json:"device,omitempty"`
}

type actor struct {
	Process *process `json:"process"`
}

type process struct {
	Name    string   `json:"name,omitempty"`
	PID     int64    `json:"pid"`
	Command string   `json:"cmd_line,omitempty"`
	File    *file    `json:"file,omitempty"`
	User    *user    `json:"user,omitempty"`
	Parent  *process `json:"parent_process,omitempty"`
}

type user struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

type file struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	TypeID int    `json:"type_id"` // 0: unknown, 1: regular
}

type connection struct {
	Protocol    string `json:"protocol_name,omitempty"`
	DirectionID int    `json:"direction_id"` // 0: unknown
}

type endpoint struct {
	IP   string `json:"ip,omitempty"`
	Name string `json:"name,omitempty"`
	Port int    `json:"port,omitempty"`
}

type container struct {
	Name  string `json:"name,omitempty"`
	UID   string `json:"uid,omitempty"`
	Image *image `json:"image,omitempty"`
}

type image struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

type device struct {
	Hostname string `json:"hostname"`
	TypeID   int    `json:"type_id"` // 0: unknown
}

type resource struct {
	Type      string   `json:"type"`
	Name      string   `json:"name"`
	Namespace string   `json:"namespace,omitempty"`
	Labels    []string `json:"labels,omitempty"`
}
