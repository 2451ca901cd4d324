"""Makes connections in each way that there is, to servers whose sockets it was given, and says which of them came about.
Usage: networks.py; descriptor 3 listens for TCP, 4 for TCP over IPv6, 5 is bound for UDP, and the further ones are TCP sockets
that have not been used."""
import ctypes
import os
import socket
import struct

from calls import name_of, number, say, syscall

FASTOPEN, FASTOPEN_CONNECT = 0x20000000, 30
MPTCP, UDPLITE = 262, 136
SENDMMSG = number(307, 269)


def iov(data):
    return struct.pack("QQ", ctypes.addressof(data), len(data) - 1)


def message(address, data):
    """A struct msghdr, with what it points to."""
    name = ctypes.create_string_buffer(address)
    vec = ctypes.create_string_buffer(iov(data))
    header = struct.pack("QIxxxxQQQQi4x", ctypes.addressof(name), len(address), ctypes.addressof(vec), 1, 0, 0, 0)
    return header, (name, vec)


def raw(address, family=socket.AF_INET):
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H4s8x", address[1], socket.inet_aton(address[0]))
    return struct.pack("=H", family) + struct.pack("!HI16sI", address[1], 0, socket.inet_pton(family, address[0]), 0)


def sendmmsg(c, to):
    data = ctypes.create_string_buffer(b"x")
    header, keep = message(raw(to), data)
    vector = ctypes.create_string_buffer((header + struct.pack("I4x", 0)) * 2)
    return syscall(SENDMMSG, c.fileno(), vector, 2, FASTOPEN)


def connection(label, f, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, fd=None):
    """Tries to connect by f, and asks the server."""
    listener = LISTENERS[family]
    try:
        c = socket.socket(family, kind, protocol) if fd is None else socket.socket(fileno=fd)
        f(c, listener.getsockname())
        came = "called"
    except OSError as e:
        came = name_of(e)
    try:
        listener.accept()[0].close()
        came += ", connected"
    except OSError:
        came += ", no connection"
    print(f"{label}: {came}", flush=True)


def later(c, to):
    c.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
    c.connect(to)
    c.send(b"x")


def nonblocking(c, to):
    c.setblocking(False)
    try:
        c.connect(to)
    except BlockingIOError:
        pass


def write_after(c, to):
    c.connect(to)
    os.write(c.fileno(), b"x")


def unix(kind, name):
    a = socket.socket(socket.AF_UNIX, kind)
    a.bind(name)
    if kind != socket.SOCK_DGRAM:
        a.listen(5)
    socket.socket(socket.AF_UNIX, kind).connect(name)
    return "called"


def main():
    ways = {
        "connect": write_after, "connect_ex": lambda c, to: c.connect_ex(to), "nonblocking": nonblocking, "bound first": lambda c, to: (c.bind(("", 0)), c.connect(to)),
        "sendto": lambda c, to: c.sendto(b"x", FASTOPEN, to), "sendto, nothing": lambda c, to: c.sendto(b"", FASTOPEN, to), "sendmsg": lambda c, to: c.sendmsg([b"x"], [], FASTOPEN, to),
        "sendmsg, more flags": lambda c, to: c.sendmsg([b"x"], [], FASTOPEN | socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT | socket.MSG_MORE, to), "sendmmsg": sendmmsg, "fast open by connect": later,
        "upper half of the flags": lambda c, to: syscall(number(44, 206), c.fileno(), b"x", 1, FASTOPEN | 1 << 40, raw(to), 16),
        "upper half of the descriptor": lambda c, to: syscall(number(42, 203), c.fileno() | 1 << 40, raw(to), 16),
    }
    before = 6
    for label, f in ways.items():
        connection(label, f)
        connection(label + ", a socket from before", f, fd=before)
        before += 1
    connection("mptcp", write_after, protocol=MPTCP)
    connection("protocol", write_after, protocol=socket.IPPROTO_TCP)
    connection("flags of the type", write_after, kind=socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection("ipv6", lambda c, to: c.connect(to[:2]), family=socket.AF_INET6)
    connection("ipv6 sendto", lambda c, to: c.sendto(b"x", FASTOPEN, to[:2]), family=socket.AF_INET6)
    say("ipv4 in ipv6", lambda: socket.socket(socket.AF_INET6).connect(("::ffff:127.0.0.1", LISTENERS[socket.AF_INET].getsockname()[1])) or "called")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        for label, name in ((f"unix-{int(kind)}", f"unix-{int(kind)}"), (f"abstract unix-{int(kind)}", f"\0{os.getpid()}-{int(kind)}")):
            say(label, unix, kind, name)
    say("socketpair", lambda: socket.socketpair() and "called")
    for label, args in {"tcp": (2, 1, 0), "tcp by number": (2, 1, 6), "tcp6": (10, 1, 0), "udp": (2, 2, 0), "udp6": (10, 2, 17), "udplite": (2, 2, UDPLITE), "mptcp": (2, 1, MPTCP), "raw": (2, 3, 1), "raw tcp": (2, 3, 6), "ping": (2, 2, 1), "ping6": (10, 2, 58), "packet": (17, 3, 0), "netlink": (16, 3, 0), "unix": (1, 1, 0), "seqpacket": (1, 5, 0), "vsock": (40, 1, 0), "alg": (38, 5, 0), "none": (99, 1, 0), "bad type": (2, 11, 0), "bad protocol": (2, 1, 99)}.items():
        say(f"socket {label}", lambda: os.close(syscall(number(41, 198), *args)) or "made")
        say(f"socket {label}, upper halves", lambda: os.close(syscall(number(41, 198), *[a | 1 << 40 for a in args])) or "made")
    u = UDP.getsockname()
    for label, f in {"connect": lambda: (c := socket.socket(socket.AF_INET, socket.SOCK_DGRAM), c.connect(u), c.send(b"x")) and None, "sendto": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", u)}.items():
        say(f"udp {label}", lambda: f() and "sent" or "called")
        try:
            print("got", UDP.recv(10))
        except OSError:
            print("got nothing")


LISTENERS = {socket.AF_INET: socket.socket(fileno=3), socket.AF_INET6: socket.socket(fileno=4)}
for s in LISTENERS.values():
    s.setblocking(False)  # a connection over loopback is there when connect returns
UDP = socket.socket(fileno=5)
UDP.setblocking(False)
main()
