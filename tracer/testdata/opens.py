"""Opens files in every way that a caller can see a difference in; prints what happens. Usage: opens.py DIR

It truncates and makes files, so all that it names, but for devices and its own
files in procfs, is below DIR, which opensDir in hostile_test.go makes."""
import errno, os, stat, sys

base = sys.argv[1]
# A file by its absolute path, in a directory that user 1000 may not write to.
absolute = os.path.join(base, "etc", "absolute")
os.chdir(base)
os.umask(0o027)


def show(label, path, flags, mode=0o666, dir_fd=None):
    try:
        fd = os.open(path, flags, mode, dir_fd=dir_fd)
    except OSError as e:
        print(label, errno.errorcode[e.errno])
        return
    st = os.fstat(fd)
    fl = __import__("fcntl").fcntl(fd, 3)
    cloexec = __import__("fcntl").fcntl(fd, 1)
    print(label, "fd", fd, stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_size, hex(fl), cloexec)
    os.close(fd)


def everything():
    R, W, RW, C, X, T, D, N, A = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_APPEND
    for name, flags in {"r": R, "w": W, "rw": RW, "creat": RW | C, "excl": RW | C | X, "trunc": W | T, "dir": R | D, "nofollow": R | N, "append": W | A, "creat-dir": R | C | D, "rdonly-creat": R | C, "path": os.O_PATH, "noatime": R | os.O_NOATIME, "sync": RW | os.O_SYNC, "nonblock": R | os.O_NONBLOCK}.items():
        # With O_CREAT and a final slash the kernel says EISDIR before it looks at all.
        slashed = () if flags & C else ("dir/", "file/")
        for path in slashed + ("file", "owned", "private", "dir", "dir/file", "closed/file", "link", "dangling", "missing", "missing/file", "file/x", ".", "..", "", "./dir/../file", "loop", "sock", "/dev/null", "/dev/zero", "/proc/self/status", "/proc/self/cwd", "/proc/self/maps", "/proc/self/mem", absolute, "x" * 256, "new-" + name):
            label = "absolute" if path == absolute else path[:20]  # DIR is another one in each run
            show(f"{name} {label}", path, flags)
        for leftover in ("missing", "target-of-dangling", "new-" + name):
            try:
                os.unlink(leftover)
            except OSError:
                pass
    fd = os.open("dir", R)
    show("at", "file", R, dir_fd=fd)
    show("at creat", "made", RW | C | X, 0o7777, dir_fd=fd)
    os.unlink("made", dir_fd=fd)
    os.close(fd)
    show("tmpfile", "dir", RW | os.O_TMPFILE, 0o640)
    try:
        show("fd", f"/proc/self/fd/{os.open('file', R)}", R)
    except OSError as e:
        print("fd", e.errno)
    hold = [os.open("/dev/null", R) for _ in range(5)]
    os.close(hold[2])
    show("lowest", "file", R)


everything()
if os.getuid() == 0:
    sys.stdout.flush()
    if os.fork() == 0:
        os.setgroups([12345])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        print("as 1000")
        everything()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
