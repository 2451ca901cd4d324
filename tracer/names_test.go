package main

import (
	"net"
	"strings"
	"testing"
)

// asks asks the name server at 127.0.0.97 for names in each way that there is.
const asks = `
import ctypes, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
server = ("127.0.0.97", 53)
def query(name, kind=1):
    return b"\x124\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack("!HH", kind, 1)
def say(label, f):
    try: f(); print(label, "done")
    except OSError as e: print(label, e.strerror)
kept = []
def udp():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(server); kept.append(u); return u
def tcp():
    c = socket.socket(); c.connect(server); kept.append(c); return c
def batch(*names):
    bufs = [ctypes.create_string_buffer(query(n, 28), len(query(n))) for n in names]
    vecs = [ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(b), len(b))) for b in bufs]
    v = ctypes.create_string_buffer(b"".join(struct.pack("QQQQQQQQ", 0, 0, ctypes.addressof(x), 1, 0, 0, 0, 0) for x in vecs))
    if libc.sendmmsg(udp().fileno(), v, len(names), 0) < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
for name in NAMES:
    q = query(name); framed = struct.pack("!H", len(q)) + q
    say(name + " sendto", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(q, server))
    say(name + " send", lambda: udp().send(q))
    say(name + " write", lambda: os.write(udp().fileno(), q))
    say(name + " sendmsg", lambda: udp().sendmsg([q]))
    say(name + " sendmsg to", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([q], [], 0, server))
    say(name + " sendmmsg", lambda: batch("ok.test", name))
    say(name + " tcp", lambda: tcp().send(framed))
    say(name + " tcp writev", lambda: os.writev(tcp().fileno(), [framed[:2], framed[2:]]))
    say(name + " another port", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(q, ("127.0.0.97", 5353)))
    say(name + " file", lambda: os.write(os.memfd_create("x"), q))
`

func TestNamesThatAreAskedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.97:53")
	if err != nil {
		skip(t, err) // needs root, and the port
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.97:53")
	if err != nil {
		skip(t, err)
	}
	defer u.Close()
	run := func(names, rules string, args ...string) (outcome, *collector) {
		c := newCollector(t)
		if rules != "" {
			args = append(args, "--policies", policyDir(t, rules))
		}
		got := traceWith(t, c, args, python, "-c", strings.Replace(asks, "NAMES", names, 1))
		if got.code != 0 || got.stderr != "" {
			t.Fatalf("%+v", got)
		}
		return got, c
	}
	denied, c := run(`["www.Evil.test", "myevil.test", "evil.test.good.example"]`, block("network: {matchDNSQueries: [{domain: evil.test}]}"))
	for line := range strings.Lines(denied.stdout) {
		asked := strings.HasPrefix(line, "www.Evil.test ") && !strings.Contains(line, "another port") && !strings.Contains(line, "file")
		if asked != strings.Contains(line, "Permission denied") {
			t.Errorf("%q", line)
		}
	}
	alert := find(c.records(t), "Network", "www.Evil.test", "lsm=SOCKET_SENDMSG domain=www.Evil.test")
	if alert == nil || alert.PolicyName != "block" || alert.Action != "Block" || alert.Result != "Permission denied" || alert.EventData["Domain"] != "www.Evil.test" {
		t.Errorf("%+v", alert)
	}
	_, c = run(`["www.example.test"]`, "", "--visibility", "network:dns")
	events := c.records(t)
	for data, want := range map[string]int{
		"kfunc=UDP_SENDSKB domain=www.example.test daddr=127.0.0.97 qtype=A":    5,
		"kfunc=UDP_SENDSKB domain=www.example.test daddr=127.0.0.97 qtype=AAAA": 1,
		"kfunc=UDP_SENDSKB domain=ok.test daddr=127.0.0.97 qtype=AAAA":          1,
		"kfunc=TCP_SENDSKB domain=www.example.test daddr=127.0.0.97 qtype=A":    2,
	} {
		n := 0
		for _, e := range events {
			if e.Data == data && e.Resource == "sa_family=AF_INET sin_port=53" {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d events, want %d", data, n, want)
		}
	}
	if t.Failed() {
		for _, e := range events {
			t.Log(e.Resource, "|", e.Data)
		}
	}
}
