# Sends process 1 every signal there is, in every way there is, and says what
# became of an open that a policy denies.
import ctypes, fcntl, os, signal, socket, struct, sys, time

for number in range(1, 65):  # what is passed on comes back
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass

libc = ctypes.CDLL(None, use_errno=True)
rt_sigqueueinfo = {"x86_64": 129, "aarch64": 138}[os.uname().machine]
for number in range(1, 65):
    os.kill(1, number)
    # si_code SI_QUEUE, and the receiver itself as the sender.
    info = struct.pack("iiiiii104x", number, 0, -1, 0, 1, 0)
    libc.syscall(rt_sigqueueinfo, 1, number, info)
    # A socket that has something to read; for SIGABRT the code is positive.
    near, far = socket.socketpair()
    fcntl.fcntl(near, fcntl.F_SETOWN, 1)
    fcntl.fcntl(near, fcntl.F_SETSIG, number)
    fcntl.fcntl(near, fcntl.F_SETFL, fcntl.fcntl(near, fcntl.F_GETFL) | os.O_ASYNC)
    far.send(b"x")
time.sleep(0.3)
try:
    open(sys.argv[1]).close()
    print("opened")
except PermissionError:
    print("denied")
