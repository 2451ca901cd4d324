"""Ways to run a program that a rule denies, which says "ran". Usage: programs.py DIR; without it, it lists the ways. In DIR
each way has a directory with secret/program, to be denied, and public/."""
import ctypes
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from each import each

libc = ctypes.CDLL(None, use_errno=True)
PROGRAM = "secret/program"
ARM = os.uname().machine == "aarch64"


def output(*argv, **named):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **named).stdout


def in_child(f):
    r, w = os.pipe()
    if os.fork() == 0:
        os.dup2(w, 1)
        try:
            f()
        finally:
            os._exit(1)
    os.close(w)
    os.wait()
    return os.read(r, 99)


def execveat(fd, path, flags):
    argv = (ctypes.c_char_p * 2)(b"x", None)
    libc.syscall(ctypes.c_long(281 if ARM else 322), fd, ctypes.c_char_p(path), argv, (ctypes.c_char_p * 1)(None), flags)
    raise OSError


def loader():
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if os.path.exists(path):
            return path


def plain(): return output("./" + PROGRAM)
def relative(): return output("../secret/program", cwd="public")
def symlink(): os.symlink(os.path.abspath(PROGRAM), "public/s"); return output("public/s")
def hard_link(): os.link(PROGRAM, "public/l"); return output("public/l")
def renamed(): os.rename(PROGRAM, "public/r"); return output("public/r")
def directory_renamed(): os.rename("secret", "public/r"); return output("public/r/program")
def by_shell(): return output("/bin/sh", "-c", "secret/program")
def proc_cwd(): return output("/proc/self/cwd/secret/program")
def descriptor(): fd = os.open(PROGRAM, os.O_PATH); return in_child(lambda: os.execv(f"/proc/self/fd/{fd}", ["x"]))
def execveat_descriptor(): fd = os.open(PROGRAM, os.O_PATH); return in_child(lambda: execveat(fd, b"", 0x1000))
def execveat_directory(): fd = os.open("secret", os.O_PATH); return in_child(lambda: execveat(fd, b"program", 0))
def spawned(): r, w = os.pipe(); os.posix_spawn(PROGRAM, ["x"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, w, 1)]); os.wait(); os.close(w); return os.read(r, 99)
def interpreter():
    with open("public/script", "w") as f:
        f.write(f"#!{os.path.abspath(PROGRAM)}\n")
    os.chmod("public/script", 0o755)
    return output("public/script")
def by_loader(): return output(loader(), PROGRAM)
def copied(): return output("/bin/sh", "-c", "cat secret/program > public/c; chmod 755 public/c; public/c")
def memory():
    fd = os.memfd_create("x")
    with open(PROGRAM, "rb") as f:
        os.write(fd, f.read())
    return in_child(lambda: os.execv(f"/proc/self/fd/{fd}", ["x"]))


WAYS = {n: f for n, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__" and n not in ("each", "output", "in_child", "execveat", "loader")}
if len(sys.argv) < 2:
    print("\n".join(WAYS))
else:
    each({n: lambda f=f: b"ran" in f() for n, f in WAYS.items()}, sys.argv[1])
