package learn

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

func open(path string) rules.Access {
	return rules.Access{Operation: rules.FileRead, Path: path, PID: 7}
}

func write(path string) rules.Access {
	return rules.Access{Operation: rules.FileWrite, Path: path, PID: 7}
}

func create(path string) rules.Access {
	return rules.Access{Operation: rules.FileWrite, Path: path, PID: 7, Create: true}
}

func exec(path, source string) rules.Access {
	return rules.Access{Operation: rules.Process, Path: path, Source: source}
}

func connect(source, address string) rules.Access {
	at := netip.MustParseAddrPort(address)
	return rules.Access{Operation: rules.Network, Source: source, Protocol: "TCP", SockType: "SOCK_STREAM", IP: at.Addr(), Port: at.Port()}
}

// learned makes a policy of a run, writes it, and reads it again.
func learned(t testing.TB, l *Learner) (text string, docs []spolicy.Document) {
	t.Helper()
	d, remarks, err := l.Policy()
	if err != nil {
		t.Fatal(err)
	}
	text = YAML(&d, remarks)
	docs, err = spolicy.ParseStrict("p.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return text, docs
}

func all(t testing.TB) []string {
	t.Helper()
	about, err := ParseAbout(Default + ",dns")
	if err != nil {
		t.Fatal(err)
	}
	return about
}

func learner(t testing.TB, did ...rules.Access) *Learner {
	t.Helper()
	l := New(Options{Name: "p", About: all(t)})
	for _, a := range did {
		l.Add(a)
	}
	return l
}

// Of what a run did follows what may be done afterwards, and what not.
func TestGeneralised(t *testing.T) {
	for _, c := range []struct {
		name        string
		did         []rules.Access
		may, mayNot []rules.Access
	}{
		{
			"the file alone",
			[]rules.Access{open("/etc/app.conf"), write("/var/log/app/log")},
			[]rules.Access{open("/var/log/app/log")},
			[]rules.Access{write("/etc/app.conf"), open("/etc/shadow"), open("/etc"), create("/var/log/app/other")},
		},
		{
			"numbers of processes, their own",
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/7/stat", PID: 7}, {Operation: rules.FileRead, Path: "/proc/7/task/9/comm", PID: 7}},
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/123/stat", PID: 123}, {Operation: rules.FileRead, Path: "/proc/123/task/4/comm", PID: 123}},
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/123/stat", PID: 5}, {Operation: rules.FileRead, Path: "/proc/123/environ", PID: 123}},
		},
		{
			"those of others, but not their environment",
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/8/stat", PID: 7}, {Operation: rules.FileRead, Path: "/proc/7/environ", PID: 7}},
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/123/stat", PID: 5}, {Operation: rules.FileRead, Path: "/proc/123/environ", PID: 123}},
			[]rules.Access{{Operation: rules.FileRead, Path: "/proc/123/environ", PID: 5}},
		},
		{
			"temporary names",
			[]rules.Access{create("/tmp/tmpab_cdefg"), create("/tmp/sess-x8Kq2Z"), create("/tmp/build123/out"), create("/tmp/build123"), create("/tmp/lock")},
			[]rules.Access{create("/tmp/tmpzzzzzzzz"), create("/tmp/sess-AbCdEf"), create("/tmp/build9/deep/er"), create("/tmp/a_cd3fgh"), open("/tmp/lock")},
			[]rules.Access{create("/tmp/other"), create("/tmp/tmpzz"), open("/tmp/sess-AbCdEfG"), open("/tmp")},
		},
		{
			"what was there before is not temporary",
			[]rules.Access{open("/tmp/x8Kq2Z"), write("/srv/data.123")},
			nil,
			[]rules.Access{open("/tmp/y8Kq2Z"), write("/srv/data.124")},
		},
		{
			"versions",
			[]rules.Access{open("/usr/lib/python3.11/os.py"), open("/etc/postgresql/15/main/pg_hba.conf"), exec("/usr/lib/postgresql/15/bin/postgres", "/usr/bin/bash"), open("/usr/share/app-1.2.3/data")},
			[]rules.Access{open("/usr/lib/python3.13/os.py"), open("/etc/postgresql/17/main/pg_hba.conf"), exec("/usr/lib/postgresql/17/bin/postgres", "/usr/bin/other"), open("/usr/share/app-2.0/data")},
			[]rules.Access{open("/usr/lib/python3.13/re.py"), write("/usr/lib/python3.13/os.py"), exec("/usr/lib/postgresql/17/bin/initdb", "/usr/bin/bash")},
		},
		{
			"libraries stand for each other",
			[]rules.Access{open("/usr/lib/x86_64-linux-gnu/libc.so.6")},
			[]rules.Access{open("/usr/lib/x86_64-linux-gnu/libnss_files.so.2")},
			[]rules.Access{write("/usr/lib/x86_64-linux-gnu/libc.so.6"), create("/usr/lib/x86_64-linux-gnu/libevil.so")},
		},
		{
			"many files of installed software stand for the rest",
			[]rules.Access{open("/usr/lib/python3.11/a.py"), open("/usr/lib/python3.11/b.py"), open("/usr/lib/python3.11/c.py"), open("/usr/lib/python3.11/d.py"), open("/usr/lib/python3.11/e.py"), write("/usr/lib/python3.11/f.pyc")},
			[]rules.Access{open("/usr/lib/python3.12/encodings/idna.py"), write("/usr/lib/python3.12/f.pyc")},
			[]rules.Access{write("/usr/lib/python3.11/a.py")},
		},
		{
			"many files of /etc do not",
			[]rules.Access{open("/etc/a"), open("/etc/b"), open("/etc/c"), open("/etc/d"), open("/etc/e"), open("/etc/f"), open("/etc/g"), open("/etc/h"), open("/etc/i"), open("/etc")},
			nil,
			[]rules.Access{open("/etc/shadow")},
		},
		{
			"software beside a program",
			[]rules.Access{exec("/home/u/venv/bin/app", "/usr/bin/bash"), open("/home/u/venv/lib/a"), open("/home/u/venv/lib/b"), open("/home/u/venv/lib/c"), open("/home/u/venv/lib/d"), open("/home/u/venv/lib/e")},
			[]rules.Access{open("/home/w/venv/lib/x/y")},
			[]rules.Access{open("/home/u/.ssh/id_rsa"), open("/home/u/venv/etc")},
		},
		{
			"a directory of data, with what is below it",
			[]rules.Access{create("/data/base/1/2619"), create("/data/base/1"), create("/data/base"), create("/data/wal"), create("/data/PG_VERSION"), open("/data/PG_VERSION")},
			[]rules.Access{create("/data/base/5/1234"), write("/data/new")},
			[]rules.Access{create("/database"), write("/srv/x")},
		},
		{
			"a directory that was looked through",
			[]rules.Access{open("/etc/app.d"), open("/etc/app.d/10.conf")},
			[]rules.Access{open("/etc/app.d/20.conf")},
			[]rules.Access{write("/etc/app.d/20.conf"), open("/etc/app.d/below/x")},
		},
		{
			"names with signs of patterns",
			[]rules.Access{open("/srv/a*b"), open("/srv/[x]"), create("/srv/{1}/f"), create("/srv/{1}")},
			[]rules.Access{open("/srv/a*b"), open("/srv/[x]"), create("/srv/{2}/f")},
			[]rules.Access{open("/srv/axb"), open("/srv/x")},
		},
		{
			"programs, by who starts them",
			[]rules.Access{exec("/usr/bin/bash", "/tracer"), exec("/usr/bin/ls", "/usr/bin/bash")},
			[]rules.Access{exec("/usr/bin/bash", "/other")},
			[]rules.Access{exec("/usr/bin/ls", "/usr/sbin/nginx"), exec("/usr/bin/id", "/usr/bin/bash")},
		},
		{
			"whom it talks to: ports of servers, all addresses but those of the machine",
			[]rules.Access{exec("/usr/bin/app", ""), connect("/usr/bin/app", "198.51.100.7:443"), connect("/usr/bin/app", "127.0.0.1:5432"), connect("/usr/bin/app", "169.254.170.2:80")},
			[]rules.Access{connect("/usr/bin/app", "203.0.113.1:443"), connect("/usr/bin/app", "[2001:db8::5]:443"), connect("/usr/bin/app", "127.0.0.1:5432")},
			[]rules.Access{connect("/usr/bin/app", "203.0.113.1:5432"), connect("/usr/bin/app", "169.254.169.254:80"), connect("/usr/bin/curl", "203.0.113.1:443"), connect("/usr/bin/app", "127.0.0.1:22")},
		},
		{
			"nobody",
			[]rules.Access{open("/x")},
			nil,
			[]rules.Access{
				connect("/usr/bin/app", "203.0.113.1:5432"),
				{Operation: rules.Network, Protocol: "UDP", SockType: "SOCK_DGRAM"},
				{Operation: rules.Capabilities, Name: "net_raw"},
			},
		},
		{
			"capabilities and names",
			[]rules.Access{exec("/usr/sbin/x", ""), {Operation: rules.Capabilities, Name: "setuid", Source: "/usr/sbin/x"}, {Operation: rules.NetworkDNS, Name: "example.com", Source: "/usr/sbin/x"}},
			[]rules.Access{{Operation: rules.NetworkDNS, Name: "www.example.com", Source: "/usr/sbin/x"}},
			[]rules.Access{{Operation: rules.Capabilities, Name: "setgid", Source: "/usr/sbin/x"}, {Operation: rules.Capabilities, Name: "setuid", Source: "/y"}, {Operation: rules.NetworkDNS, Name: "example.org", Source: "/usr/sbin/x"}},
		},
	} {
		text, docs := learned(t, learner(t, c.did...))
		compiled, err := rules.Compile(docs, spolicy.Target{}, rules.Posture{})
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range [][]rules.Access{c.did, c.may, c.mayNot} {
			for _, a := range list {
				if v := compiled.Decide(&a); v.Deny != (i == 2) || v.Alert != v.Deny {
					t.Errorf("%s: %+v: %+v\n%s", c.name, a, v, text)
				}
			}
		}
	}
}

// What two runs did is allowed, in whichever order, as if they were one.
func TestMerge(t *testing.T) {
	one := []rules.Access{exec("/usr/bin/a", "/usr/bin/b"), exec("/usr/bin/b", ""), open("/srv/x"), connect("/usr/bin/a", "192.0.2.7:443")}
	two := []rules.Access{exec("/usr/bin/a", "/usr/bin/c"), exec("/usr/bin/c", ""), write("/srv/x"), create("/tmp/abcd1234ef"), {Operation: rules.Capabilities, Name: "chown"}}
	for _, runs := range [][2][]rules.Access{{one, two}, {two, one}} {
		_, before := learned(t, learner(t, runs[0]...))
		l := learner(t, runs[1]...)
		l.Merge(before)
		text, docs := learned(t, l)
		compiled, err := rules.Compile(docs, spolicy.Target{}, rules.Posture{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range append(append([]rules.Access{}, one...), two...) {
			if v := compiled.Decide(&a); v.Deny {
				t.Errorf("%+v: %+v\n%s", a, v, text)
			}
		}
		for _, a := range []rules.Access{open("/srv/y"), exec("/usr/bin/a", "/usr/bin/d"), {Operation: rules.Capabilities, Name: "setuid"}} {
			if v := compiled.Decide(&a); !v.Deny {
				t.Errorf("%+v: passes\n%s", a, text)
			}
		}
		again := New(Options{Name: "p", About: all(t)})
		again.Merge(docs)
		if same, _ := learned(t, again); same != text {
			t.Errorf("merged with nothing it is another:\n%s\n%s", text, same)
		}
	}
}

func TestNothingWasDone(t *testing.T) {
	if _, _, err := learner(t).Policy(); err == nil {
		t.Error("a policy of nothing")
	}
	if _, err := ParseAbout("process,files"); err == nil || !strings.Contains(err.Error(), `"files"`) {
		t.Error(err)
	}
}

// What no rule can name is told.
func TestRemarks(t *testing.T) {
	l := learner(t, exec("memfd:x (deleted)", "/usr/bin/a"), open("/x"), rules.Access{Operation: rules.Network, Protocol: "RAW", SockType: "SOCK_RAW", IP: netip.IPv4Unspecified()})
	text, _ := learned(t, l)
	for _, want := range []string{"no rule can name", "reaches whom it likes"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Events without opens that read make a policy that is not about files.
func TestRead(t *testing.T) {
	const file = `{"Type":"ContainerLog","Operation":"File","ProcessName":"/usr/bin/app","Source":"/usr/bin/app","Resource":"%s","Data":"syscall=SYS_OPENAT fd=-100 flags=%s","Result":"%s"}` + "\n"
	writes, reads := fmt.Sprintf(file, "/srv/w", "O_WRONLY|O_CREAT", "Passed"), fmt.Sprintf(file, "/srv/r", "O_RDONLY", "Passed")
	denied := fmt.Sprintf(file, "/etc/shadow", "O_RDONLY", "Permission denied")
	for _, c := range []struct {
		events        string
		taken, others int
		has, hasNot   string
	}{
		{writes, 1, 0, "do not tell of opens", "/srv/w"},
		{writes + "[" + reads + "," + denied + "]{}", 2, 2, "/srv/r", "/etc/shadow"},
	} {
		l := New(Options{Name: "p", About: []string{Processes, Files, Network}})
		taken, others, err := l.Read(strings.NewReader(c.events))
		if err != nil || taken != c.taken || others != c.others {
			t.Errorf("%d, %d, %v", taken, others, err)
		}
		if text, _ := learned(t, l); !strings.Contains(text, c.has) || strings.Contains(text, c.hasNot) {
			t.Errorf("%s", text)
		}
	}
	if _, _, err := New(Options{}).Read(strings.NewReader(writes + "{")); err == nil || !strings.Contains(err.Error(), "value 2") {
		t.Error(err)
	}
}

// Whatever a run has named, the policy can be read, and allows it.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{"/tmp/a b", "/x/\xff\n", "/usr/lib/1.2/\"", "/proc/1/task/2", "/a/{b,c}/[", "/home/u/: #"} {
		f.Add(path, path, true)
	}
	f.Fuzz(func(t *testing.T, one, two string, made bool) {
		var did []rules.Access
		for i, path := range []string{one, two, one + "/" + two} {
			path = "/" + strings.Trim(path, "/")
			if strings.Contains(path, "//") || strings.ContainsRune(path, 0) || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
				return // no path of the kernel's
			}
			did = append(did, rules.Access{Operation: rules.FileWrite, Path: path, Create: made && i > 0})
		}
		text, docs := learned(t, learner(t, did...))
		compiled, err := rules.Compile(docs, spolicy.Target{}, rules.Posture{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range did {
			if v := compiled.Decide(&a); v.Deny {
				t.Errorf("%q: %+v\n%s", a.Path, v, text)
			}
		}
	})
}
