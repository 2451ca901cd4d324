"""What the victims share: system calls, and saying what came of them."""
import ctypes
import errno
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

ARM = os.uname().machine == "aarch64"


def number(amd64, arm64):
    return arm64 if ARM else amd64


def syscall(nr, *args):
    """Makes a call by its number, with all 64 bits of each argument; fails as those of module os do."""
    ctypes.set_errno(0)
    whole = [a if isinstance(a, (bytes, ctypes.Array)) or a is None else ctypes.c_ulong(a & (1 << 64) - 1) for a in args]
    r = libc.syscall(ctypes.c_long(nr), *whole)
    if r == -1:
        raise OSError(ctypes.get_errno(), "")
    return r


def name_of(e):
    return errno.errorcode.get(e.errno, str(e.errno))


def say(label, call, *args, **named):
    """Prints what a call gives, or the name of its error."""
    try:
        came = call(*args, **named)
    except OSError as e:
        came = name_of(e)
    print(f"{label}: {came}", flush=True)
    return came


def opened(path, flags=os.O_RDONLY, mode=0o666, **named):
    """Opens and closes a file."""
    os.close(os.open(path, flags, mode, **named))
    return "opened"


def contents(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096).decode(errors="replace").strip()
    finally:
        os.close(fd)


def put(path, text="text"):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, text.encode())
    os.close(fd)
    return "written"


def child(f, *args):
    """Runs f in a child and waits for it; gives its exit status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = f(*args) or 0
        except OSError as e:
            print(f"{getattr(f, '__name__', 'child')}: {name_of(e)}")
        except BaseException as e:
            print(f"{getattr(f, '__name__', 'child')}: {e!r}")
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
