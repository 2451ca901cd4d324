package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
)

// told is a policy that has all that is done with sockets told of, and connections
// and addresses given in the place of the workload.
const toldSockets = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: sockets}
spec:
  network: {matchProtocols: [{protocol: all, action: Audit}, {protocol: sctp}]}
  action: Block
`

// What servers and clients do with sockets goes as without the tracer, also where it
// does it in their place.
func TestServersAreAsWithoutTheTracer(t *testing.T) {
	for name, with := range map[string]scene{
		"connected": {as: []caller{asContainer}},
		"addressed": {as: []caller{asItself, asContainer, asUser}, rules: endpoints("Block", "{address: 192.0.2.9}")},
		"told":      {as: []caller{asItself, asContainer, asUser}, rules: toldSockets},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scene{
				argv: victimOf(t, "servers.py"), rules: with.rules, as: with.as,
				lines: []string{"accept, interrupted: EINTR", "accept, nobody: EAGAIN", "connect, interrupted: EINTR", "sendmmsg, the first is wrong: EINVAL", "credentials of who connects: True True True"},
			}.test(t)
		})
	}
}

// What a process forbids itself by Landlock holds for connections that are made in its
// place.
func TestLandlockOfConnections(t *testing.T) {
	scene{
		argv: victimOf(t, "landlocknet.py"), rules: endpoints("Block", "{address: 192.0.2.9}"), as: []caller{asItself, asUser},
	}.test(t)
}

// sockets does what is told of sockets.
const sockets = `
import os, socket, threading
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(1)
name = s.getsockname()
c = socket.socket(); c.connect(name)
s.accept()[0].close()
s.setblocking(False)
try: s.accept()
except BlockingIOError: pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
for i in range(2): u.sendto(b"x", u.getsockname())
u.sendmsg([b"x"], [], 0, ("127.0.0.1", 99))
u.connect(("127.0.0.1", 98)); u.send(b"x")
for args in (socket.AF_PACKET, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET, socket.SOCK_STREAM):
    try: socket.socket(*args).close()
    except PermissionError: pass
print(name[1], c.getsockname()[1], u.getsockname()[1])
`

func TestWhatServersDoIsTold(t *testing.T) {
	c := newCollector(t)
	got := traceWith(t, c, []string{"--visibility", "network,network:accept,network:send"}, python, "-c", sockets)
	ports := strings.Fields(got.stdout)
	if got.code != 0 || got.stderr != "" || len(ports) != 3 {
		t.Fatalf("%+v", got)
	}
	events := c.records(t)
	result := schema.ResultPassed
	if os.Getuid() != 0 {
		result = "Operation not permitted"
	}
	for _, want := range []struct {
		count                  int
		resource, data, result string
	}{
		{2, "sa_family=AF_INET sin_port=0 sin_addr=127.0.0.1", "syscall=SYS_BIND fd=3", schema.ResultPassed},
		{1, "protocol=TCP type=SOCK_STREAM", "syscall=SYS_LISTEN fd=3", schema.ResultPassed},
		{1, "remoteip=127.0.0.1 port=" + ports[0] + " protocol=TCP", "kprobe=tcp_connect domain=AF_INET", schema.ResultPassed},
		{1, "remoteip=127.0.0.1 port=" + ports[1] + " protocol=TCP", "kprobe=tcp_accept domain=AF_INET", schema.ResultPassed},
		{2, "sa_family=AF_INET sin_port=" + ports[2] + " sin_addr=127.0.0.1", "syscall=SYS_SENDTO fd=", schema.ResultPassed},
		{1, "sa_family=AF_INET sin_port=99 sin_addr=127.0.0.1", "syscall=SYS_SENDMSG fd=", schema.ResultPassed},
		{1, "domain=AF_PACKET type=SOCK_DGRAM|SOCK_CLOEXEC protocol=HOPOPT", "syscall=SYS_SOCKET", result},
		{1, "domain=AF_INET type=SOCK_RAW|SOCK_CLOEXEC protocol=ICMP", "syscall=SYS_SOCKET", result},
	} {
		if n := count(events, "Network", want.resource); n != want.count {
			t.Errorf("%s: %d events, want %d", want.resource, n, want.count)
		}
		if e := find(events, "Network", want.resource, want.data); e == nil || e.Result != want.result || e.EventData == nil {
			t.Errorf("%s: %+v", want.resource, e)
		}
	}
	if e := find(events, "Network", "SOCK_STREAM", "SYS_SOCKET"); e != nil {
		t.Errorf("an ordinary socket is told of: %+v", e)
	}
}

// Rules about protocols are about listening and accepting as well, on sockets that
// were made before.
func TestBlockedProtocolsAreNotServed(t *testing.T) {
	const serve = `
import socket
s = socket.socket(fileno=3)
for f in lambda: s.bind(("127.0.0.1", 0)), lambda: s.listen(), lambda: s.accept(), lambda: socket.socket(fileno=4).sendto(b"x", ("127.0.0.1", 9)):
    try: f(); print("done")
    except OSError as e: print(e.strerror)
`
	files := [2]*os.File{}
	for i, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = os.NewFile(uintptr(fd), "socket")
		defer files[i].Close()
	}
	for rules, want := range map[string]string{
		protocols("Block", "tcp"): strings.Repeat("Permission denied\n", 3) + "done\n",
		protocols("Block", "all"): strings.Repeat("Permission denied\n", 4),
	} {
		cmd := tracer(t, "run", "--policies", policyDir(t, rules), "--", python, "-c", serve)
		cmd.ExtraFiles = files[:]
		if got := outcomeOf(t, cmd); got.code != 0 || got.stdout != want {
			t.Errorf("%+v, want %q", got, want)
		}
	}
}
