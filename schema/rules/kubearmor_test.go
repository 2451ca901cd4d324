package rules

import (
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Cases of KubeArmor's own test suite, as far as they are about process, file
// and network rules, by the names of its policies. Its harness sets every
// posture to block.
func TestKubeArmorProcess(t *testing.T) {
	const bash, dash = "/bin/bash", "/bin/dash"
	for _, c := range []decideCase{
		{name: "ksp-group-1-block-proc-path", docs: []spolicy.Document{processes("p", ppath(block, "/bin/sleep"))}, steps: []step{
			{run("/bin/sleep", bash, bash), deny}, {run(bash, "/bin/containerd", ""), pass},
		}},
		{name: "ksp-group-2-audit-proc-path", docs: []spolicy.Document{processes("p", ppath(audit, "/bin/sleep"))}, steps: []step{
			{run("/bin/sleep", bash, bash), audited},
		}},
		{name: "ksp-ubuntu-1-block-proc-dir", docs: []spolicy.Document{processes("p", pdir(block, "/sbin/", false))}, steps: []step{
			{run("/sbin/route", bash, bash), deny}, {run("/sbin/x/route", bash, bash), pass}, {run("/usr/sbin/route", bash, bash), pass},
		}},
		{name: "ksp-ubuntu-1-block-proc-dir-recursive", docs: []spolicy.Document{processes("p", pdir(block, "/usr/", true))}, steps: []step{
			{run("/usr/bin/whoami", bash, bash), deny}, {run("/bin/ls", bash, bash), pass},
		}},
		{name: "ksp-group-1-block-proc-path-from-source", docs: []spolicy.Document{processes("p", ppath(block, "/bin/ls", dash))}, steps: []step{
			{run("/bin/ls", dash, bash), deny}, {run("/bin/pwd", dash, bash), pass}, {run(dash, bash, bash), pass}, {run("/bin/ls", bash, bash), pass},
		}},
		{name: "ksp-ubuntu-3-allow-proc-dir", posture: PostureBlock, docs: []spolicy.Document{{
			Name:    "p",
			Process: []spolicy.ProcessRule{pdir(allow, "/bin/", true)},
			File:    []spolicy.FileRule{fdir(allow, "/credentials/", true), fdir(allow, "/lib/", true), fdir(allow, "/bin/", true)},
		}}, steps: []step{
			{run("/bin/cat", bash, bash), pass}, {read("/etc/hostname", "/bin/cat"), postureDeny}, {read("/credentials/password", "/bin/cat"), pass}, {run("/usr/bin/id", bash, bash), postureDeny},
		}},
		{name: "ksp-ubuntu-3-allow-proc-path-owner", posture: PostureBlock, docs: []spolicy.Document{processes("p",
			spolicy.ProcessRule{Path: "/home/user1/hello", OwnerOnly: true, Effect: effect(allow)}, pdir(allow, "/bin/", true))}, steps: []step{
			{run("/home/user1/hello", bash, bash), postureDeny}, {owned(run("/home/user1/hello", bash, bash)), pass},
		}},
		{name: "ksp-ubuntu-1-block-proc-execname", docs: []spolicy.Document{processes("p", spolicy.ProcessRule{ExecName: "apt", Effect: effect(block)})}, steps: []step{
			{run("/usr/bin/apt", bash, bash), deny}, {run("/usr/bin/apt-get", bash, bash), pass}, {run("/apt/x", bash, bash), pass},
		}},
	} {
		t.Run(c.name, c.check)
	}
}

func TestKubeArmorFile(t *testing.T) {
	const cat, head, rw, password = "/bin/cat", "/usr/bin/head", "/readwrite", "/credentials/password"
	readOnly := func(action string, from ...string) spolicy.FileRule {
		return spolicy.FileRule{Path: password, ReadOnly: true, FromSource: from, Effect: effect(action)}
	}
	for _, c := range []decideCase{
		{name: "ksp-ubuntu-4-block-file-dir-recursive", docs: []spolicy.Document{files("p", fdir(block, "/credentials/", true))}, steps: []step{
			{read(password, cat), deny}, {read("/credentials/keys/priv.key", cat), deny},
		}},
		{name: "ksp-ubuntu-1-audit-file-dir", docs: []spolicy.Document{files("p", fdir(audit, "/credentials/", true))}, steps: []step{
			{read(password, cat), audited}, {read("/credentials/keys/priv.key", cat), audited}, {read("/secret.txt", cat), pass},
		}},
		{name: "ksp-group-2-allow-file-path-from-source-path", posture: PostureBlock, docs: []spolicy.Document{files("p", fpath(allow, "/secret.txt", cat))}, steps: []step{
			{read("/etc/hostname", cat), postureDeny}, {read("/secret.txt", cat), pass}, {read("/secret.txt", head), postureDeny},
		}},
		{name: "ksp-group-2-block-file-path-from-source-path", docs: []spolicy.Document{files("p", fpath(block, "/secret.txt", cat))}, steps: []step{
			{read("/secret.txt", cat), deny}, {read("/secret.txt", head), pass},
		}},
		{name: "ksp-ubuntu-4-block-file-path-readonly-from-source-path", docs: []spolicy.Document{files("p", readOnly(block, rw))}, steps: []step{
			{read(password, rw), pass}, {write(password, rw), deny}, {read("/secret.txt", rw), pass}, {write(password, cat), pass},
		}},
		{name: "ksp-ubuntu-4-block-file-path-readonly", docs: []spolicy.Document{files("p", readOnly(block))}, steps: []step{
			{write(password, "/bin/bash"), deny}, {read(password, cat), pass},
		}},
		{name: "ksp-ubuntu-4-allow-file-path-readonly", posture: PostureBlock, docs: []spolicy.Document{files("p", readOnly(allow))}, steps: []step{
			{write(password, "/bin/bash"), postureDeny}, {read(password, cat), pass},
		}},
		{name: "ksp-ubuntu-4-audit-file-path-readonly", docs: []spolicy.Document{files("p", spolicy.FileRule{Dir: "/dev/shm/", Recursive: true, ReadOnly: true, Effect: effect(audit)})}, steps: []step{
			{write("/dev/shm/new", "/bin/touch"), audited}, {read("/dev/shm/new", cat), pass},
		}},
		{name: "ksp-ubuntu-1-block-file-dir-recursive", docs: []spolicy.Document{files("p", fdir(block, "/run/secrets/", true))}, steps: []step{
			{read("/run/secrets/kubernetes.io/serviceaccount/..2026_01_01/token", cat), deny},
		}},
	} {
		t.Run(c.name, c.check)
	}
}

func TestKubeArmorNetwork(t *testing.T) {
	const ping, arping, curl, wget = "/bin/ping", "/usr/sbin/arping", "/usr/bin/curl", "/usr/bin/wget"
	for _, c := range []decideCase{
		{name: "ksp-ubuntu-1-audit-net-icmp", docs: []spolicy.Document{protocols("p", net(audit, "icmp"))}, steps: []step{
			{connect("ICMP", "SOCK_DGRAM", ping), audited}, {connect("ICMP", "SOCK_RAW", ping), audited}, {connect("TCP", "SOCK_STREAM", curl), pass},
		}},
		{name: "ksp-ubuntu-1-audit-net-raw", docs: []spolicy.Document{protocols("p", net(audit, "raw"))}, steps: []step{
			{connect("", "SOCK_RAW", arping), audited},
		}},
		{name: "ksp-ubuntu-1-block-net-all", docs: []spolicy.Document{protocols("p", net(block, "all"))}, steps: []step{
			{connect("ICMP", "SOCK_RAW", ping), deny},
		}},
		{name: "ksp-ubuntu-1-allow-net-tcp-from-source", posture: PostureBlock, docs: []spolicy.Document{protocols("p", net(allow, "tcp", curl))}, steps: []step{
			{connect("TCP", "SOCK_STREAM", curl), pass}, {connect("UDP", "SOCK_DGRAM", curl), postureDeny}, {connect("TCP", "SOCK_STREAM", wget), postureDeny},
		}},
	} {
		t.Run(c.name, c.check)
	}
}
