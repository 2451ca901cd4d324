package main

import (
	"strings"
	"testing"
)

// presetUses are programs, each of which does what a preset is about, and what is
// like it and is not. They say "did" when they could do the first, "free" for the
// second.
var presetUses = map[string]struct{ program, enforcer, resource, data string }{
	"filelessExec": {`
import os, shutil
fd = os.memfd_create("evil")
os.write(fd, open("/bin/true", "rb").read())
def ran(f):
    pid = os.fork()
    if pid == 0:
        try: f()
        except OSError: pass
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
if ran(lambda: os.execve(fd, ["x"], {})) or ran(lambda: os.execv(f"/proc/self/fd/{fd}", ["x"])): print("did")
if ran(lambda: os.execv("/bin/true", ["x"])): print("free")`, "PRESET-FilelessExecutionPreset", "memfd:evil", "syscall=SYS_EXECVE"},
	"protectEnv": {`
import os
for f in (f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/task/{os.getppid()}/environ"):
    try: open(f); print("did")
    except PermissionError: pass
open("/proc/self/environ"); open(f"/proc/{os.getppid()}/stat"); print("free")`, "PRESET-ProtectEnvPreset", "/environ", "syscall=SYS_OPENAT"},
	"protectProc": {`
import os
try: open(f"/proc/{os.getppid()}/stat"); print("did")
except PermissionError: pass
open("/proc/self/stat"); open("/proc/stat"); open(f"/proc/{os.getpid()}/task/{os.getpid()}/stat"); print("free")`, "PRESET-ProtectProcPreset", "/stat", "syscall=SYS_OPENAT"},
	"anonymousMapExec": {`
import mmap, ctypes
did = False
try: mmap.mmap(-1, 4096, prot=7, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); did = True
except OSError: pass
m = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
libc = ctypes.CDLL(None)
a = libc.mmap
a.restype, a.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
p = a(None, 8192, 3, 0x22, -1, 0)
if libc.mprotect(ctypes.c_void_p(p), 4096, 5) == 0: did = True
if did: print("did")
f = open("/bin/true", "rb")
q = a(None, 4096, 1, 2, f.fileno(), 0)
if q and libc.mprotect(ctypes.c_void_p(q), 4096, 5) == 0 and libc.mprotect(ctypes.c_void_p(p), 4096, 1) == 0: print("free")`, "PRESET-AnonMapExecutionPreset", "", "syscall=SYS_MPROTECT prot=PROT_READ|PROT_EXEC"},
}

func TestPresets(t *testing.T) {
	t.Parallel()
	for name, use := range presetUses {
		for _, action := range []string{"Block", "Audit"} {
			t.Run(name+"/"+action, func(t *testing.T) {
				t.Parallel()
				c := newCollector(t)
				policies := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: preset}\nspec:\n  severity: 6\n  presets: [{name: "+name+", action: "+action+"}]\n")
				// A process of its own above the program: the tracer's files are out of reach anyway.
				out := traceWith(t, c, []string{"--visibility", "none", "--policies", policies}, "/bin/sh", "-c", `"$@"; exit $?`, "sh", python, "-c", use.program)
				want := map[string]string{"Block": "free\n", "Audit": "did\nfree\n"}[action]
				if name == "protectEnv" && action == "Audit" {
					want = "did\ndid\nfree\n"
				}
				if out.stdout != want || out.code != 0 {
					t.Errorf("exit %d: %q, want %q: %s", out.code, out.stdout, want, out.stderr)
				}
				events := c.records(t)
				result := map[string]string{"Block": "Permission denied", "Audit": "Passed"}[action]
				found := false
				for _, e := range events {
					if e.PolicyName != "preset" || e.Enforcer != use.enforcer || e.Action != action || e.Result != result || e.Severity != "6" {
						t.Errorf("%+v", e)
					}
					found = found || strings.Contains(e.Resource, use.resource) && strings.Contains(e.Data, use.data)
				}
				if !found {
					t.Errorf("no alert of %s %s: %+v", use.resource, use.data, events)
				}
			})
		}
	}
}
