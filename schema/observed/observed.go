// Package observed gives what an event tells of in the terms of rules: the access, and
// the container. It decides nothing.
package observed

import (
	"errors"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// errOther says that an event is about what no rule here decides.
var errOther = errors.New("it is about no program, file or socket")

// Access is what an event tells of, as rules see it. What the event does not say
// is as usual: who owns the file is not told, so rules for owners take the caller
// for one only where the event says so.
func Access(r *schema.Record) (rules.Access, error) {
	a := rules.Access{HasTTY: r.TTY != "", Source: r.ProcessName, ParentSource: r.ParentProcessName}
	switch r.Operation {
	case schema.OperationProcess:
		return processAccess(r, a)
	case schema.OperationFile:
		a.Operation, a.Path = rules.FileRead, r.Resource
		if writes(r.Data) {
			a.Operation = rules.FileWrite
		}
		a.Create = creates(r.Data)
		if !strings.HasPrefix(a.Path, "/") {
			return a, errors.New("its resource is not a path")
		}
		return a, nil
	case schema.OperationNetwork:
		return networkAccess(r, a)
	}
	return a, errOther
}

// processAccess is the start of a program: of its new program and who started it.
func processAccess(r *schema.Record, a rules.Access) (rules.Access, error) {
	a.Operation, a.Path = rules.Process, r.ProcessName
	a.Source = program(r.Source)
	line, ok := strings.CutPrefix(r.Resource, r.ProcessName)
	switch {
	case !strings.HasPrefix(a.Path, "/"):
		return a, errors.New("it names no program")
	case ok && strings.TrimSpace(line) != "":
		a.Args = strings.Fields(line) // the event does not keep arguments with blanks apart
	}
	return a, nil
}

// program is the first word of a command line.
func program(line string) string {
	first, _, _ := strings.Cut(line, " ")
	return first
}

// readers are the words of Data without which a call on a file changes it.
var readers = []string{"SYS_OPEN", "SYS_OPENAT", "SYS_OPENAT2", "SYS_CLOSE", "SYS_READLINK", "SYS_READLINKAT", "FILE_OPEN", "FILE_PERMISSION"}

// writes says whether Data tells of a change: flags of an open that is one, or
// another call than an open.
func writes(data string) bool {
	for word := range strings.FieldsSeq(data) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "flags":
			for flag := range strings.SplitSeq(value, "|") {
				switch flag {
				case "O_WRONLY", "O_RDWR", "O_TRUNC":
					return true
				}
			}
		case "syscall", "lsm":
			if !slices.Contains(readers, value) {
				return true
			}
		}
	}
	return false
}

// creates says whether Data tells of a call that makes a file, or would if it is not
// there.
func creates(data string) bool {
	for word := range strings.FieldsSeq(data) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "flags":
			if slices.Contains(strings.Split(value, "|"), "O_CREAT") {
				return true
			}
		case "syscall", "lsm":
			if strings.HasPrefix(value, "SYS_MKDIR") || strings.HasPrefix(value, "SYS_MKNOD") || value == "FILE_MKDIR" || value == "FILE_MKNOD" {
				return true
			}
		}
	}
	return false
}

// networkAccess is the use of a socket. Protocol and type stand in Resource or in
// Data, as the event was made by an enforcer or a monitor.
func networkAccess(r *schema.Record, a rules.Access) (rules.Access, error) {
	a.Operation = rules.Network
	for word := range strings.FieldsSeq(r.Resource + " " + r.Data) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "protocol":
			if value != "HOPOPT" {
				a.Protocol = strings.ToUpper(value)
			}
		case "type":
			a.SockType = value
		}
	}
	if a.SockType == "" {
		switch a.Protocol {
		case "TCP":
			a.SockType = "SOCK_STREAM"
		case "UDP":
			a.SockType = "SOCK_DGRAM"
		case "":
			return a, errors.New("it tells neither the protocol nor the type of the socket")
		}
	}
	return a, nil
}

// Target is the container that an event is about, as selectors see it.
func Target(r *schema.Record) policy.Target {
	t := policy.Target{Namespace: r.NamespaceName, Pod: r.PodName, Container: r.ContainerName, Labels: map[string]string{}}
	for pair := range strings.SplitSeq(r.Labels, ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			t.Labels[key] = value
		}
	}
	return t
}
