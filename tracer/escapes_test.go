package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// escapesRules hold all that escapes.py does.
const escapesRules = otherRules + "  presets: [{name: anonymousMapExec, action: Audit}]\n"

// Calls that reach out of a program end as they do without the tracer.
func TestEscapesAreAsTheWorkloadsOwn(t *testing.T) {
	if differs(t, "the victim attaches to a child, which a process that is traced cannot have done") {
		return
	}
	t.Parallel()
	scene{argv: victimOf(t, "escapes.py", "0"), as: everybody, rules: escapesRules}.test(t)
}

// Calls that give a program other rights, or reach out of it, are told. What acts
// upon the tracer, or gets past it, is refused and told.
func TestEscapesAreTold(t *testing.T) {
	if differs(t, "the victim attaches to a child, which a process that is traced cannot have done") {
		return
	}
	t.Parallel()
	for _, who := range []caller{asItself, asContainer, asUser} {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			cmd := who.command(t, []string{"--visibility", "syscalls"}, append([]string{"sh", "-c", `exec "$@" $PPID`, "sh"}, victimOf(t, "escapes.py")...))
			cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
			cmd.Dir = sharedDir(t, who)
			out := outcomeOf(t, cmd)
			if out.code != 0 {
				t.Fatalf("exit %d: %s%s", out.code, out.stdout, out.stderr)
			}
			events := c.records(t)
			for _, want := range escapesTold {
				e := find(events, want.operation, want.resource, want.data)
				if e == nil {
					t.Errorf("no event %s %s %s", want.operation, want.resource, want.data)
				} else if want.result != "" && e.Result != want.result && who.uid == 0 || e.EventData["Syscall"] == "" {
					t.Errorf("%s: result %s, want %s; %v", want.data, e.Result, want.result, e.EventData)
				}
			}
			for _, line := range []string{"attach to the tracer", "write into the tracer", "kill the tracer", "kill a thread of the tracer", "kill by a thread", "queue"} {
				if !strings.Contains(out.stdout, line+": EPERM\n") || strings.Contains(out.stdout, line+": None\n") {
					t.Errorf("%s: %s", line, out.stdout)
				}
			}
			for _, data := range []string{"SYS_KILL pid=0", "missing", "SYS_CLONE flags= ", "option=15"} {
				if e := find(events, "Syscall", "", data); e != nil {
					t.Errorf("told of %+v", e)
				}
			}
		})
	}
}

var escapesTold = []struct{ operation, resource, data, result string }{
	{"Process", "python", "syscall=SYS_PTRACE request=PTRACE_ATTACH pid=", "Passed"},
	{"Process", "python", "syscall=SYS_PROCESS_VM_WRITEV pid=", "Passed"},
	{"Syscall", "memfd:evil", "syscall=SYS_MEMFD_CREATE flags=MFD_CLOEXEC", "Passed"},
	{"Syscall", "", "syscall=SYS_CLONE flags=CLONE_NEWUTS|CLONE_NEWUSER", "Passed"},
	{"Syscall", "/dir", "syscall=SYS_MOUNT source=tmpfs target=dir filesystem=tmpfs mountflag=0 data=size=1m", ""},
	{"Syscall", "/dir", "syscall=SYS_UMOUNT2 target=dir flag=2", ""},
	{"Syscall", "", "syscall=SYS_KEYCTL operation=30583", ""},
	{"Syscall", "", "syscall=SYS_BPF cmd=30583", ""},
	{"Syscall", "", "syscall=SYS_PERF_EVENT_OPEN pid=0 cpu=-1", ""},
	{"Syscall", "", "syscall=SYS_FINIT_MODULE fd=-1", ""},
	{"Syscall", "", "syscall=SYS_SETHOSTNAME", ""},
	{"Syscall", "", "syscall=SYS_SETTIMEOFDAY", ""},
	{"Syscall", "/dir", "syscall=SYS_SWAPOFF", ""},
	{"Syscall", "/dir", "syscall=SYS_NAME_TO_HANDLE_AT fd=-100", ""},
	{"Syscall", "", "syscall=SYS_PRCTL option=PR_SET_PTRACER value=", ""},
	{"Syscall", "/dir", "syscall=SYS_CHROOT", "Passed"},
	{"Syscall", "", "syscall=SYS_IO_URING_SETUP entries=8", "Function not implemented"},
	{"Syscall", "", "syscall=SYS_USERFAULTFD", "Operation not permitted"},
	{"Syscall", "", "syscall=SYS_FSOPEN filesystem=tmpfs", "Operation not permitted"},
	{"Syscall", "", "syscall=SYS_KILL pid=", "Operation not permitted"},
	{"Syscall", "", "syscall=SYS_TGKILL pid=", "Operation not permitted"},
	{"Syscall", "", "syscall=SYS_UNSHARE flags=CLONE_NEWUTS", ""},
	{"Syscall", "", "syscall=SYS_SETGROUPS size=1", "Passed"},
	{"Syscall", "", "syscall=SYS_SETRESGID rgroupid=5 egroupid=-1 sgroupid=7", "Passed"},
	{"Syscall", "", "syscall=SYS_SETREUID ruserid=-1 euserid=7", "Passed"},
	{"Syscall", "", "syscall=SYS_SETUID userid=3", "Operation not permitted"},
	{"Syscall", "", "syscall=SYS_SETRESUID ruserid=7 euserid=7 suserid=7", "Passed"},
	{"Syscall", "", "syscall=SYS_SETUID userid=0", "Operation not permitted"},
}

// capabilityUses are programs, each of which uses a capability and says whether it
// could.
var capabilityUses = map[string]string{
	"net_raw":          `import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)`,
	"NET_RAW":          `import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)`,
	"net_bind_service": `import socket; s = socket.socket(); s.bind(("127.0.0.1", 1))`,
	"NET_BIND_SERVICE": `import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 2))`,
	"chown":            `import os; os.chown("file", 7, 7)`,
	"fowner":           `import os; os.chown("file", 7, 7); os.chmod("file", 0o600)`,
	"FOWNER":           `import os; os.chown("file", 7, 7); os.utime("file", (1, 2))`,
	"setfcap":          `import os; os.setxattr("file", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))`,
	"mknod":            `import os; os.mknod("null", 0o600 | 0o020000, os.makedev(1, 3))`,
	"setuid":           `import os; os.setuid(7)`,
	"setgid":           `import os; os.setgroups([7])`,
	"SETGID":           `import os; os.setresgid(7, 8, 9)`,
	"sys_chroot":       `import os; os.chroot(".")`,
	"sys_admin":        `import ctypes; exit(ctypes.CDLL(None).unshare(0x20000) != 0)`,
	"SYS_ADMIN":        `import ctypes; l = ctypes.CDLL(None); l.unshare(0x20000); l.mount(b"x", b"/", None, 0x44000, None); exit(l.mount(b"x", b".", b"tmpfs", 0, None) != 0)`,
}

// A capability that a rule denies cannot be used, as far as calls show its use: the
// call fails as without it, and the alert is KubeArmor's.
func TestDeniedCapabilities(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, to have capabilities")
	}
	ports, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		t.Fatal(err)
	}
	for word, program := range capabilityUses {
		if strings.EqualFold(word, "net_bind_service") && len(strings.TrimSpace(string(ports))) < 2 {
			continue // as in Docker, anybody may bind to any port
		}
		for _, action := range []string{"Block", "Audit"} {
			t.Run(word+"/"+action, func(t *testing.T) {
				t.Parallel()
				name := strings.ToLower(word)
				c := newCollector(t)
				rule := "  capabilities: {matchCapabilities: [{capability: " + name + ", fromSource: [{path: " + realPython(t) + "}], action: " + action + ", severity: 3}]}"
				policies := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: caps}\nspec:\n"+rule)
				cmd := tracer(t, "run", "--policies", policies, "--", python, "-c", program)
				cmd.Env, cmd.Dir = append(cmd.Env, "SIDEKICK_URL="+c.URL), t.TempDir()
				if err := os.WriteFile(filepath.Join(cmd.Dir, "file"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				out := outcomeOf(t, cmd)
				if (out.code == 0) != (action == "Audit") {
					t.Errorf("exit %d: %s", out.code, out.stderr)
				}
				result := map[string]string{"Block": "Permission denied", "Audit": "Passed"}[action]
				e := find(c.records(t), "Capabilities", "CAP_"+strings.ToUpper(name), "lsm=CAPABLE CAP_"+strings.ToUpper(name))
				if e == nil || e.PolicyName != "caps" || e.Action != action || e.Result != result || e.Severity != "3" || e.EventData["Lsm"] != "CAPABLE" {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}

// realPython is the program itself, as rules name it.
func realPython(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(python)
	if err != nil {
		skip(t, err)
	}
	return path
}

// What a program does to its own files takes no capability, and another program's
// are not denied.
func TestCapabilitiesThatAreNotUsed(t *testing.T) {
	t.Parallel()
	program := `import os
open("own", "w").close(); os.chmod("own", 0o600); os.chown("own", os.getuid(), os.getgid()); os.chown("own", -1, -1); os.utime("own", (1, 2)); os.utime("own"); os.mknod("fifo", 0o10600)
os.setresuid(os.getuid(), -1, os.geteuid()); os.setgid(os.getgid())`
	rule := "capabilities: {matchCapabilities: [{capability: 'chown, fowner, mknod, setuid, setgid, setfcap'}, {capability: net_raw, fromSource: [{path: /no/such/program}]}]}"
	for _, who := range everybody {
		cmd := who.command(t, []string{"--policies", sharedPolicies(t, block(rule))}, []string{python, "-c", program})
		cmd.Dir = sharedDir(t, who)
		if out := outcomeOf(t, cmd); out.code != 0 {
			t.Errorf("%s: exit %d: %s", who.name, out.code, out.stderr)
		}
	}
}

// Rules about calls by their names tell of them, beside what else is told.
func TestSyscallRulesAudit(t *testing.T) {
	t.Parallel()
	for _, visibility := range []string{"none", "file:write,syscalls,process"} {
		dir := t.TempDir()
		policies := policyDir(t, `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: calls}
spec:
  severity: 3
  syscalls:
    matchSyscalls: [{syscall: [memfd_create, setuid]}, {syscall: [rmdir], fromSource: [{path: /no/such/program}]}]
    matchPaths: [{path: `+dir+`/, recursive: true, syscall: [unlink, mkdir], fromSource: [{dir: /, recursive: true}]}]
`)
		c := newCollector(t)
		out := traceWith(t, c, []string{"--policies", policies, "--visibility", visibility}, python, "-c", `
import os, sys
os.chdir(sys.argv[1]); os.memfd_create("x"); os.mkdir("d"); os.rmdir("d")
for name in ("f", "g"): open(name, "w").close()
os.unlink("f"); os.rename("g", "h"); os.setuid(os.getuid())`, dir)
		if out.code != 0 {
			t.Fatalf("exit %d: %s", out.code, out.stderr)
		}
		var alerts []string
		logs := 0
		for _, e := range c.records(t) {
			if e.PolicyName == "" {
				logs++
				continue
			}
			if e.Operation != "Syscall" || e.Action != "Audit" || e.Severity != "3" || e.Result != "Passed" || !strings.HasPrefix(e.Source, realPython(t)) {
				t.Errorf("%+v", e)
			}
			alerts = append(alerts, strings.ReplaceAll(e.Resource+" "+e.Data, dir, "DIR"))
		}
		want := []string{
			"memfd:x syscall=SYS_MEMFD_CREATE flags=MFD_CLOEXEC", "DIR/d syscall=SYS_MKDIR mode=0777", "DIR/f syscall=SYS_UNLINK",
			fmt.Sprintf(" syscall=SYS_SETUID userid=%d", os.Getuid()),
		}
		if !slices.Equal(alerts, want) || (logs == 0) != (visibility == "none") {
			t.Errorf("visibility %s: %d logs and %q, want %q", visibility, logs, alerts, want)
		}
	}
}

// What a rule denies does not get another name by a mount, and that is told; other
// mounts are the kernel's business.
func TestDeniedFilesAreNotMounted(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, to mount")
	}
	dir := secretTree(t, asItself)
	c := newCollector(t)
	policy := policyDir(t, block("file: {matchPaths: [{path: "+dir+"/secret/key}]}"))
	cmd := tracer(t, "run", "--visibility", "none", "--policies", policy, "--", "/bin/sh", "-c", `
mount --bind secret public 2>/dev/null && echo directory
mount --bind secret/key public/file 2>/dev/null && echo file
mount --bind . public 2>/dev/null && echo above
mount -t overlay -o lowerdir=secret:public none public 2>/dev/null && echo overlay
mount -t overlay -o lowerdir=public,upperdir=secret,workdir=public none public 2>/dev/null && echo upper
mount -t tmpfs none public && mkdir public/a public/b public/u public/w public/m &&
mount -t overlay -o lowerdir=public/a:public/b,upperdir=public/u,workdir=public/w none public/m && mount --bind /proc/self public && echo free`)
	cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "-m"}, cmd.Args...)
	cmd.Env, cmd.Dir = append(cmd.Env, "SIDEKICK_URL="+c.URL), dir
	if out := outcomeOf(t, cmd); out.stdout != "free\n" {
		t.Errorf("exit %d: %s%s", out.code, out.stdout, out.stderr)
	}
	e := find(c.records(t), "File", dir+"/secret", "syscall=SYS_MOUNT source=")
	if e == nil || e.PolicyName != "block" || e.Action != "Block" || e.Result != "Permission denied" || e.EventData["Filesystem"] == "" && e.EventData["Mountflag"] == "" {
		t.Errorf("%+v", e)
	}
}
