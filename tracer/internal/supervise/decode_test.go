package supervise

import (
	"debug/elf"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

func family(f uint16, rest ...byte) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, f), rest...)
}

func inet6(ip string, port byte) []byte {
	b := append([]byte{0, port, 0, 0, 0, 0}, net.ParseIP(ip).To16()...)
	return family(unix.AF_INET6, append(b, 0, 0, 0, 0)...)
}

func TestConnectResource(t *testing.T) {
	for _, test := range []struct {
		name, protocol string
		raw            []byte
		resource, data string
	}{
		{"tcp", "TCP", family(unix.AF_INET, 1, 187, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0, 0), "remoteip=203.0.113.9 port=443 protocol=TCP", "kprobe=tcp_connect domain=AF_INET"},
		{"udp", "UDP", family(unix.AF_INET, 0, 53, 10, 0, 0, 10), "sa_family=AF_INET sin_port=53 sin_addr=10.0.0.10", ""},
		{"tcp6", "TCP", inet6("2001:db8::1", 80), "remoteip=2001:db8::1 port=80 protocol=TCP", "kprobe=tcp_connect domain=AF_INET6"},
		{"v4 in v6", "TCP", inet6("::ffff:192.0.2.1", 80), "remoteip=192.0.2.1 port=80 protocol=TCP", "kprobe=tcp_connect domain=AF_INET6"},
		{"unix", "", family(unix.AF_UNIX, []byte("/run/x.sock\x00junk")...), "sa_family=AF_UNIX sun_path=/run/x.sock", ""},
		{"unix without its NUL", "", family(unix.AF_UNIX, []byte("/run/x")...), "sa_family=AF_UNIX sun_path=/run/x", ""},
		{"abstract", "", family(unix.AF_UNIX, []byte("\x00a\x00b")...), "sa_family=AF_UNIX sun_path=@a@b", ""},
		{"unnamed", "", family(unix.AF_UNIX), "sa_family=AF_UNIX sun_path=", ""},
		{"netlink", "", family(unix.AF_NETLINK, 0, 0), "sa_family=AF_NETLINK", ""},
		{"unheard of", "", family(99), "sa_family=99", ""},
	} {
		a := decodeSockaddr(test.raw)
		resource, data := a.describe(test.protocol, syscalls.Connect)
		if a.family == "" || resource != test.resource || data != test.data {
			t.Errorf("%s: %q %q, want %q %q", test.name, resource, data, test.resource, test.data)
		}
	}
	a := decodeSockaddr(family(unix.AF_INET, 0, 80, 10, 0, 0, 7))
	if resource, data := a.describe("TCP", syscalls.Bind); resource != "sa_family=AF_INET sin_port=80 sin_addr=10.0.0.7" || data != "" {
		t.Errorf("bind: %q %q", resource, data)
	}
	if resource, data := a.describe("TCP", syscalls.Accept4); resource != "remoteip=10.0.0.7 port=80 protocol=TCP" || data != "kprobe=tcp_accept domain=AF_INET" {
		t.Errorf("accept4: %q %q", resource, data)
	}
}

func TestAddressesThatTellNothing(t *testing.T) {
	for _, raw := range [][]byte{nil, {2}, family(unix.AF_UNSPEC, 1, 2, 3), family(unix.AF_INET, 0, 53, 10), family(unix.AF_INET6, 0, 53, 10)} {
		if a := decodeSockaddr(raw); a.family != "" {
			t.Errorf("%v: %+v", raw, a)
		}
	}
}

func FuzzDecodeSockaddr(f *testing.F) {
	f.Add(family(unix.AF_INET, 1, 187, 203, 0, 113, 9))
	f.Add(inet6("::1", 1))
	f.Add(family(unix.AF_UNIX, []byte("\x00a")...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := decodeSockaddr(raw)
		resource, _ := a.describe("TCP", syscalls.Connect)
		if resource == "" || strings.ContainsRune(resource, 0) {
			t.Errorf("%v: %q", raw, resource)
		}
	})
}

func TestSocketNamesAreTheKernels(t *testing.T) {
	for _, test := range []struct {
		family, kind, protocol int
		want                   socket
	}{
		{unix.AF_INET, unix.SOCK_STREAM, 0, socket{"TCP", "SOCK_STREAM"}},
		{unix.AF_INET6, unix.SOCK_STREAM, 0, socket{"TCP", "SOCK_STREAM"}},
		{unix.AF_INET, unix.SOCK_DGRAM, 0, socket{"UDP", "SOCK_DGRAM"}},
		{unix.AF_INET6, unix.SOCK_DGRAM, 0, socket{"UDP", "SOCK_DGRAM"}},
		{unix.AF_UNIX, unix.SOCK_STREAM, 0, socket{"", "SOCK_STREAM"}},
		{unix.AF_UNIX, unix.SOCK_DGRAM, 0, socket{"", "SOCK_DGRAM"}},
		{unix.AF_NETLINK, unix.SOCK_RAW, 0, socket{"", "SOCK_RAW"}},
	} {
		fd, err := unix.Socket(test.family, test.kind|unix.SOCK_CLOEXEC, test.protocol)
		if err != nil {
			t.Fatal(err)
		}
		name, err := protocolName("/proc/self/fd/" + strconv.Itoa(fd))
		if got := socketNamed(name); got != test.want || err != nil {
			t.Errorf("family %d, type %d: %q is %+v (%v), want %+v", test.family, test.kind, name, got, err, test.want)
		}
		unix.Close(fd)
	}
	if name, err := protocolName("/proc/self/exe"); err == nil {
		t.Errorf("a file is a socket of %q", name)
	}
	if got := socketNamed("SOMETHING-NEW"); got != (socket{}) {
		t.Errorf("%+v", got)
	}
}

func TestInterpreter(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	head := append([]byte(nil), program[:64]...)
	binary.NativeEndian.PutUint64(head[32:], ^uint64(0)) // program headers nowhere
	resolver, err := paths.New()
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	for _, c := range []struct {
		content, want string
		script        bool
	}{
		{"#!/bin/sh\n", "/bin/sh", true},
		{"#!/usr/bin/env python3\n", "/usr/bin/env", true},
		{"#!  \t/bin/sh -e\n", "/bin/sh", true},
		{"#!/bin/sh", "/bin/sh", true},
		{"#!\n/bin/sh\n", "", true},
		{"#!   \n", "", true},
		{"# !/bin/sh\n", "", true},
		{"", "", false},
		{"#!/" + strings.Repeat("x", 1000) + "\n", "/" + strings.Repeat("x", shebangBytes-3), true},
		{"\x7fELF", "", false},
		{string(head), "", false},
		{string(program), loaderOf(t, sh), false},
		{elfFile(1, 64, progHeader, "/lib/loader\x00rest"), "/lib/loader", false},
		{elfFile(900, 64, progHeader, "/lib/loader\x00"), "/lib/loader", false},
		{elfFile(2, 5000, progHeader, "/lib/loader\x00"), "/lib/loader", false},
		{elfFile(1171, 64, progHeader, "/lib/loader\x00"), "", false}, // more than the kernel reads
		{elfFile(2, 64, progHeader+8, "/lib/loader\x00"), "", false},
		{elfFile(1, 64, progHeader, strings.Repeat("x", unix.PathMax+1)), "", false},
	} {
		name := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(name, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, script := interpreter(resolver, &paths.Result{FD: fd}, true); got != c.want || script != c.script {
			t.Errorf("%.30q: %.30q, %v, want %.30q, %v", c.content, got, script, c.want, c.script)
		}
		if got, script := interpreter(resolver, &paths.Result{FD: fd}, false); script != c.script || !script && got != "" {
			t.Errorf("%.30q without loaders: %.30q, %v", c.content, got, script)
		}
		unix.Close(fd)
	}
}

// elfFile is a program whose last program header, of so many and of such a size, at
// such a place, leads to a loader's name. It does not say that it is a 64-bit file:
// the kernel does not look at that.
func elfFile(headers, at, size int, loader string) string {
	end := at + headers*size
	b := make([]byte, end)
	copy(b, elfMagic)
	binary.NativeEndian.PutUint64(b[32:], uint64(at))
	binary.NativeEndian.PutUint16(b[54:], uint16(size))
	binary.NativeEndian.PutUint16(b[56:], uint16(headers))
	last := b[end-size:]
	binary.NativeEndian.PutUint32(last, ptInterp)
	binary.NativeEndian.PutUint64(last[8:], uint64(end))
	binary.NativeEndian.PutUint64(last[32:], uint64(len(loader)))
	return string(b) + loader
}

// loaderOf is the loader of a program as the standard library reads it.
func loaderOf(t *testing.T, name string) string {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimRight(string(b), "\x00")
		}
	}
	t.Fatalf("%s has no loader", name)
	return ""
}

// The kernel's notion of a script's interpreter and ours, for any file.
func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "program"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(content); err != nil {
			t.Fatal(err)
		}
		if name := loader(int(file.Fd()), content[:min(len(content), 4096)]); len(name) > unix.PathMax || strings.Contains(name, "\x00") {
			t.Errorf("loader %q", name)
		}
		if name := shebang(string(content[:min(len(content), shebangBytes)])); strings.ContainsAny(name, " \t\n\x00") {
			t.Errorf("interpreter %q", name)
		}
	})
}

func TestResultText(t *testing.T) {
	for e, want := range map[unix.Errno]string{unix.EACCES: "Permission denied", unix.EPERM: "Operation not permitted", unix.EISDIR: "Is a directory"} {
		if got := resultOf(e); got != want {
			t.Errorf("%v: %q", e, got)
		}
	}
}
