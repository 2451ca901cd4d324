"""Ways to execute DIR/denied, or what leads to it, which rules of the test deny; and, in the same ways, DIR/allowed. Says for
each whether it ran. Usage: execs.py KIND… (program, script, interpreter, loader)"""
import ctypes
import os
import sys

from calls import child, libc, name_of, number, put, syscall

EXECVEAT, EMPTY_PATH, NO_FOLLOW = number(322, 281), 0x1000, 0x100
HERE = os.getcwd()


def array(strings):
    return (ctypes.c_char_p * (len(strings) + 1))(*[s.encode() for s in strings], None)


def execveat(fd, path, flags=0):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(EXECVEAT), ctypes.c_long(fd), ctypes.c_char_p(path.encode()), array(["name"]), array([]), ctypes.c_long(flags))
    raise OSError(ctypes.get_errno(), "")


def ran(f):
    """Runs f in a child, whose output is caught."""
    r, w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.dup2(w, 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            f()
        except OSError as e:
            os.write(1, name_of(e).encode())
        os._exit(0)
    os.close(w)
    out = b""
    while chunk := os.read(r, 4096):
        out += chunk
    os.close(r)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return (out.decode().strip() or "nothing") + (f", {status}" if status else "")


def ways(name):
    path = f"{HERE}/{name}"
    yield "execve", lambda: os.execv(path, [name])
    yield "without arguments", lambda: libc.execve(path.encode(), array([]), array([]))
    yield "relative", lambda: os.execv("./" + name, [name])
    yield "through the parent", lambda: os.execv(f"{HERE}/../{os.path.basename(HERE)}/{name}", [name])
    yield "after chdir", lambda: (os.chdir("/"), os.execv(path[1:], [name]))
    yield "link", lambda: os.execv(f"{HERE}/{name}.link", [name])
    yield "link of a link", lambda: os.execv(f"{HERE}/{name}.links", [name])
    yield "through /proc", lambda: os.execv(f"/proc/self/cwd/{name}", [name])
    yield "through root", lambda: os.execv(f"/proc/self/root{path}", [name])
    yield "execveat", lambda: execveat(-100, path)
    yield "execveat in a directory", lambda: execveat(os.open(HERE, os.O_PATH), name)
    yield "execveat of a descriptor", lambda: execveat(os.open(path, os.O_PATH), "", EMPTY_PATH)
    yield "execveat of a link", lambda: execveat(-100, f"{HERE}/{name}.link")
    yield "execveat, not followed", lambda: execveat(-100, f"{HERE}/{name}.link", NO_FOLLOW)
    yield "execveat, not followed, itself", lambda: execveat(-100, path, NO_FOLLOW)
    yield "by a descriptor's name", lambda: (fd := os.open(path, os.O_PATH), os.set_inheritable(fd, True), os.execv(f"/proc/self/fd/{fd}", [name]))
    yield "by /dev/fd", lambda: (fd := os.open(path, os.O_PATH), os.set_inheritable(fd, True), os.execv(f"/dev/fd/{fd}", [name]))
    yield "in a thread's name", lambda: os.execv(f"/proc/thread-self/cwd/{name}", [name])
    yield "vfork", lambda: os.posix_spawn(path, [name], {}) and os.wait()
    yield "in another group", lambda: os.posix_spawn(path, [name], {}, setpgroup=0) and os.wait()
    yield "by a shell", lambda: os.execv("/bin/sh", ["sh", "-c", f"exec {path}"])
    yield "by env", lambda: os.execv("/usr/bin/env", ["env", path])
    yield "by a script", lambda: os.execv(f"{HERE}/{name}.script", [name])
    yield "by a script of a script", lambda: os.execv(f"{HERE}/{name}.scripts", [name])
    yield "by a script that is relative", lambda: os.execv(f"{HERE}/{name}.relative", [name])
    yield "by a script with blanks", lambda: os.execv(f"{HERE}/{name}.blanks", [name])
    yield "by a script of a link", lambda: os.execv(f"{HERE}/{name}.linked", [name])
    yield "by a script through /proc", lambda: os.execv(f"{HERE}/{name}.proc", [name])
    yield "by a script's descriptor", lambda: (fd := os.open(f"{HERE}/{name}.script", os.O_RDONLY), os.set_inheritable(fd, True), execveat(fd, "", EMPTY_PATH))
    yield "by a script in memory", lambda: memory(f"#!{path}\n".encode())
    yield "script of env", lambda: os.execv(f"{HERE}/{name}.env", [name])


def memory(text):
    fd = os.memfd_create("script", 0)
    os.write(fd, text)
    os.set_inheritable(fd, True)
    os.execv(f"/proc/self/fd/{fd}", ["script"])


def prepare(name):
    os.symlink(name, name + ".link")
    os.symlink(name + ".link", name + ".links")
    for kind, line in (("script", f"{HERE}/{name}"), ("scripts", f"{HERE}/{name}.script"), ("relative", name), ("blanks", f" \t {HERE}/{name}\t -x"), ("linked", f"{HERE}/{name}.links"), ("proc", f"/proc/self/cwd/{name}"), ("env", f"/usr/bin/env {HERE}/{name}")):
        put(f"{name}.{kind}", f"#!{line}\n")
        os.chmod(f"{name}.{kind}", 0o755)


for name in ("allowed", "denied"):
    prepare(name)
    for way, f in ways(name):
        print(f"{name}, {way}: {ran(f)}")
