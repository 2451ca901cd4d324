"""Binds, listens, accepts and sends datagrams, and says what came of each. Port numbers are left out: they differ from run to run."""
import ctypes
import os
import resource
import signal
import socket
import struct
import time

from calls import child, name_of, number, say, syscall

ACCEPT, ACCEPT4 = number(43, 202), number(288, 242)
SENDMSG, SENDMMSG = number(46, 211), number(307, 269)
LOOPBACK = ("127.0.0.1", 0)


def listener(family=socket.AF_INET, address=LOOPBACK, backlog=5):
    s = socket.socket(family)
    s.bind(address)
    s.listen(backlog)
    return s


def raw(address):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", address[1], socket.inet_aton(address[0]))


def interrupted(f, *args):
    """Makes a call that waits, and interrupts it by a signal with a handler that does not restart calls."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    try:
        return f(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def accepts(s, flags=None, room=128):
    """Accepts by number, and tells the flags of the descriptor, and the address as it was written."""
    address, size = ctypes.create_string_buffer(b"\xee" * 128, 128), ctypes.create_string_buffer(struct.pack("i", room), 4)
    if flags is None:
        fd = syscall(ACCEPT, s.fileno(), address, size)
    else:
        fd = syscall(ACCEPT4, s.fileno(), address, size, flags)
    said = os.get_inheritable(fd), os.get_blocking(fd), address.raw[:2].hex(), address.raw[4:8].hex(), address.raw[16:20].hex(), struct.unpack("i", size.raw)[0]
    os.close(fd)
    return said


def with_client(s, f, delay=0.0):
    """Runs f while a child connects to s."""
    pid = os.fork()
    if pid == 0:
        time.sleep(delay)
        c = socket.socket(s.family)
        c.connect(s.getsockname())
        c.recv(1)  # until the other side is closed
        os._exit(0)
    try:
        return f()
    finally:
        os.waitpid(pid, 0)


def client_of(s):
    c = socket.socket(s.family)
    c.connect(s.getsockname())
    return c


def accepting():
    s = listener()
    say("accept", with_client, s, lambda: accepts(s))
    say("accept, later", with_client, s, lambda: accepts(s), 0.2)
    for flags in (0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK):
        say(f"accept4 {flags}", with_client, s, lambda: accepts(s, flags))
    say("accept4, upper half", with_client, s, lambda: accepts(s, 1 << 40))
    say("accept4, bad flags", accepts, s, 1)
    say("accept, little room", with_client, s, lambda: accepts(s, room=4))
    say("accept, no address", with_client, s, lambda: os.close(syscall(ACCEPT, s.fileno(), None, None)))
    c = client_of(s)
    say("accept, bad length", accepts, s, None, -1)
    c.close()
    c = client_of(s)
    say("accept, no memory", lambda: syscall(ACCEPT, s.fileno(), 8, 16))
    c.close()
    say("accept, not listening", accepts, socket.socket())
    say("accept, datagrams", accepts, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    say("accept, no socket", lambda: syscall(ACCEPT, 1, None, None))
    say("accept, nothing", lambda: syscall(ACCEPT, 999, None, None))
    say("accept, interrupted", interrupted, accepts, s)
    s.settimeout(0)
    say("accept, nobody", accepts, s)
    c = client_of(s)
    say("accept, nonblocking", accepts, s)
    s.settimeout(None)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100000))
    say("accept, timeout", accepts, s)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
    c = client_of(s)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fd = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd, hard))
    os.close(fd)
    say("accept, no descriptor", accepts, s)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    say("accept, it is still there", accepts, s)
    u = listener(socket.AF_UNIX, "accepting")
    say("accept, unix", with_client, u, lambda: accepts(u)[:2])
    c = client_of(u)
    a = u.accept()[0]
    pid, uid, gid = struct.unpack("iii", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print("credentials of who connects:", pid == os.getpid(), uid == os.getuid(), gid == os.getgid())
    pid, uid, gid = struct.unpack("iii", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print("credentials of who listens:", pid == os.getpid(), uid == os.getuid(), gid == os.getgid())
    shut = listener()
    pid = os.fork()
    if pid == 0:
        time.sleep(0.2)
        shut.shutdown(socket.SHUT_RD)
        os._exit(0)
    say("accept, shut down", accepts, shut)
    os.waitpid(pid, 0)
    say("many", lambda: [child(lambda: with_client(s, lambda: s.accept()[0].close()) and 0) for _ in range(5)])


def binding():
    s = listener()
    def bind(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        b = socket.socket(family, kind)
        b.bind(address)
        return b.getsockname()[:1] if family != socket.AF_UNIX else b.getsockname()
    say("bind", bind, LOOPBACK)
    say("bind, any", bind, ("", 0))
    say("bind, in use", bind, s.getsockname())
    say("bind, not here", bind, ("192.0.2.1", 0))
    say("bind, low port", bind, ("127.0.0.1", 3))
    say("bind, datagrams", bind, LOOPBACK, kind=socket.SOCK_DGRAM)
    say("bind, unix", bind, "./bound", family=socket.AF_UNIX)
    print("mode", oct(os.stat("bound").st_mode))
    say("bind, unix again", bind, "bound", family=socket.AF_UNIX)
    say("bind, unix nowhere", bind, "no/where", family=socket.AF_UNIX)
    say("bind, abstract", lambda: bind(f"\0{os.getpid()}", family=socket.AF_UNIX) is not None)
    say("bind, twice", lambda: s.bind(LOOPBACK))
    free = socket.socket()
    say("bind, short", lambda: syscall(number(49, 200), free.fileno(), b"\2\0", 2))
    say("bind, long", lambda: syscall(number(49, 200), free.fileno(), b"\2\0" * 100, 200))
    say("bind, no memory", lambda: syscall(number(49, 200), free.fileno(), 8, 16))
    say("bind, no socket", lambda: syscall(number(49, 200), 0, raw(LOOPBACK), 16))
    say("bind, another family", lambda: syscall(number(49, 200), free.fileno(), b"\x63\0" + bytes(14), 16))
    say("listen, unbound", lambda: socket.socket().listen(1))
    say("listen, datagrams", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).listen(1))
    say("listen, no socket", lambda: syscall(number(50, 201), 0, 1))


def connecting():
    full = listener(backlog=0)
    waiting = [client_of(full)]
    for _ in range(4):  # until no more fit
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(full.getsockname())
        waiting.append(c)
    time.sleep(0.2)
    c = socket.socket()
    say("connect, interrupted", interrupted, lambda: syscall(number(42, 203), c.fileno(), raw(full.getsockname()), 16))
    u = listener(socket.AF_UNIX, "full", 0)
    waiting.append(client_of(u))
    c = socket.socket(socket.AF_UNIX)
    say("connect, unix, interrupted", interrupted, lambda: syscall(number(42, 203), c.fileno(), b"\1\0full\0", 7))
    gone = listener()
    name = gone.getsockname()
    gone.close()
    say("connect, refused", lambda: socket.socket().connect(name))
    n = socket.socket()
    n.setblocking(False)
    print("connect, in progress:", n.connect_ex(name) in (111, 115), n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, 111))
    say("connect, unix, nobody", lambda: socket.socket(socket.AF_UNIX).connect("nobody"))
    say("connect, unix, no socket", lambda: socket.socket(socket.AF_UNIX).connect("/dev/null"))
    say("connect, twice", lambda: (c := client_of(listener())) and c.connect(c.getpeername()))
    d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    d.connect(("127.0.0.1", 9))
    say("disconnect", lambda: syscall(number(42, 203), d.fileno(), bytes(16), 16))
    say("peer of the disconnected", d.getpeername)
    say("connect, short", lambda: syscall(number(42, 203), d.fileno(), b"\2\0", 2))
    say("connect, no address", lambda: syscall(number(42, 203), d.fileno(), None, 0))
    say("connect, too long", lambda: syscall(number(42, 203), d.fileno(), raw(name), 1 << 20))


def message(parts, address=b"", control=b""):
    """A struct msghdr, with what it points to."""
    keep = [ctypes.create_string_buffer(p, len(p)) for p in parts]
    vec = ctypes.create_string_buffer(b"".join(struct.pack("QQ", ctypes.addressof(k), len(k)) for k in keep))
    name, extra = ctypes.create_string_buffer(address), ctypes.create_string_buffer(control)
    header = struct.pack("QIxxxxQQQQi4x", ctypes.addressof(name) if address else 0, len(address), ctypes.addressof(vec), len(parts), ctypes.addressof(extra) if control else 0, len(control), 0)
    return header, (keep, vec, name, extra)


def sending():
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(LOOPBACK)
    here.settimeout(5)
    to = here.getsockname()
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    got = lambda: here.recv(100)
    say("sendto", lambda: (s.sendto(b"one", to), got()))
    say("sendto, empty", lambda: (s.sendto(b"", to), got()))
    say("sendmsg", lambda: (s.sendmsg([b"two", b"", b" parts"], [], 0, to), got()))
    ttl = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("i", 7))
    say("sendmsg, control", lambda: (s.sendmsg([b"x"], [ttl], 0, to), got()))
    first, keep1 = message([b"first"], raw(to))
    second, keep2 = message([b"sec", b"ond"], raw(to))
    vector = ctypes.create_string_buffer(first + bytes(8) + second + bytes(8), 128)
    say("sendmmsg", lambda: (syscall(SENDMMSG, s.fileno(), vector, 2, 0), got(), got(), struct.unpack("i", vector.raw[56:60]), struct.unpack("i", vector.raw[120:124])))
    wrong, keep3 = message([b"x"], b"\2\0")
    vector = ctypes.create_string_buffer(first + bytes(8) + wrong + bytes(8), 128)
    say("sendmmsg, the second is wrong", lambda: (syscall(SENDMMSG, s.fileno(), vector, 2, 0), got()))
    vector = ctypes.create_string_buffer(wrong + bytes(8) + first + bytes(8), 128)
    say("sendmmsg, the first is wrong", lambda: syscall(SENDMMSG, s.fileno(), vector, 2, 0))
    say("sendmmsg, none", lambda: syscall(SENDMMSG, s.fileno(), vector, 0, 0))
    say("sendto, too long", lambda: s.sendto(bytes(70000), to))
    say("sendto, no memory", lambda: syscall(number(44, 206), s.fileno(), 8, 4, 0, raw(to), 16))
    say("sendmsg, no memory", lambda: syscall(SENDMSG, s.fileno(), 8, 0))
    say("sendto, short address", lambda: syscall(number(44, 206), s.fileno(), b"x", 1, 0, b"\2\0", 2))
    say("sendto, no socket", lambda: syscall(number(44, 206), 0, b"x", 1, 0, raw(to), 16))
    s.connect(to)
    say("send", lambda: (s.send(b"connected"), got()))
    say("sendmsg, connected", lambda: (s.sendmsg([b"connected", b" too"]), got()))
    say("sendto, connected", lambda: (s.sendto(b"and to", to), got()))
    u = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    u.bind("datagrams")
    u.settimeout(5)
    v = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    say("sendto, unix", lambda: (v.sendto(b"unix", "./datagrams"), u.recv(100)))
    a, b = socket.socketpair()
    r, w = os.pipe()
    def rights():
        socket.send_fds(a, [b"fd"], [w])
        _, fds, _, _ = socket.recv_fds(b, 10, 1)
        os.write(fds[0], b"through the pipe")
        os.close(fds[0])
        return os.read(r, 100)
    say("descriptors", rights)
    say("descriptors, none such", lambda: a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 999))]))
    b.settimeout(5)
    def large():
        pid = os.fork()
        if pid == 0:
            left = 5 << 20
            while left:
                left -= len(b.recv(1 << 16))
            os._exit(0)
        n = a.sendmsg([bytes(3 << 20), bytes(2 << 20)])
        return n, os.waitpid(pid, 0)[1]
    say("sendmsg, a stream", large)
    b.close()
    say("sendmsg, nobody reads", lambda: a.sendmsg([b"x"]))
    def killed():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        a.sendmsg([b"x"])
    print("sendmsg, SIGPIPE:", child(killed))


def main():
    os.umask(0o027)
    accepting()
    binding()
    connecting()
    sending()


main()
