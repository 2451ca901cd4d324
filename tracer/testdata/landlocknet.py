"""Landlock of the network: a process forbids itself to connect and to bind. Usage: landlocknet.py"""
import ctypes
import socket
import struct

from calls import child, libc, say, syscall

BIND_TCP, CONNECT_TCP, ABSTRACT = 1, 2, 1
CREATE, ADD, RESTRICT, NO_NEW_PRIVS = 444, 445, 446, 38


def restrict(handled, scoped=0, *allowed):
    r = syscall(CREATE, ctypes.create_string_buffer(struct.pack("QQQ", 0, handled, scoped), 24), 24, 0)
    for port, access in allowed:
        syscall(ADD, r, 2, ctypes.create_string_buffer(struct.pack("QQ", access, port), 16), 0)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    syscall(RESTRICT, r, 0)
    return "restricted"


def main():
    servers = [socket.socket() for _ in range(2)]
    for s in servers:
        s.bind(("127.0.0.1", 0))
        s.listen()
    u = socket.socket(socket.AF_UNIX)
    u.bind("\0landlocknet")
    u.listen()
    first, second = [s.getsockname()[1] for s in servers]

    def look(label):
        say(f"{label}, allowed", lambda: socket.socket().connect(("127.0.0.1", first)))
        say(f"{label}, denied", lambda: socket.socket().connect(("127.0.0.1", second)))
        say(f"{label}, fast open", lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", second)))
        say(f"{label}, bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
        say(f"{label}, datagrams", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
        say(f"{label}, abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0landlocknet"))

    look("before")
    child(lambda: say("files", restrict, CONNECT_TCP | BIND_TCP, 0, (first, CONNECT_TCP)) and look("within"))
    child(lambda: say("scope", restrict, CONNECT_TCP, ABSTRACT) and look("scoped"))
    look("outside")


main()
