package learn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	html   = "hello\n"
	python = "/usr/bin/python3.11"
)

// page makes what web servers answer with.
func page(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "page.html"), []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
}

// asNobody is the command in front of one that may not be root's.
func asNobody() []string {
	if os.Getuid() != 0 {
		return nil
	}
	return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}
}

var services = []service{
	{
		name: "nginx", commands: []string{"nginx"},
		prepare: func(t *testing.T, r *running) {
			conf, err := os.ReadFile("testdata/nginx.conf")
			if err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer("DIR", r.dir, "PORT", r.port).Replace(string(conf))
			if err := os.WriteFile(filepath.Join(r.dir, "nginx.conf"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, d := range []string{"html", "tmp"} {
				if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			page(t, filepath.Join(r.dir, "html"))
			if err := os.WriteFile(filepath.Join(r.dir, "html", "index.html"), []byte(html), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		argv: func(r *running) []string {
			return []string{"nginx", "-e", filepath.Join(r.dir, "error.log"), "-c", filepath.Join(r.dir, "nginx.conf"), "-p", r.dir}
		},
		use: func(t *testing.T, r *running) {
			r.answers(t, "/page.html")
			r.answers(t, "/")
			r.post(t, "/stored")
			reloadNginx(t, r)
			r.answers(t, "/page.html")
			r.end(t)
		},
		abuse: func(t *testing.T, r *running, _ *collector) {
			r.answers(t, "/page.html")
			r.refused(t, "/etc/hosts", "/etc/hostname", "/away/")
			r.end(t)
		},
		denied: []string{"/etc/hosts", "/etc/hostname", "remoteip=127.0.0.2 port=9"},
	},
	{
		name: "postgres", commands: []string{"pgbench", "psql", "setpriv"},
		prepare: func(*testing.T, *running) {},
		argv: func(r *running) []string {
			return append(append(asNobody(), "bash", filepath.Join(filepath.Dir(r.dir), "postgres.sh")), r.asked...)
		},
		use: func(t *testing.T, r *running) {
			r.wait(t)
			if r.cmd.ProcessState.ExitCode() != 0 {
				t.Errorf("%v\n%s", r.cmd.ProcessState, r.out.String())
			}
		},
		asked: []string{"select pg_read_file('/etc/hostname')", "copy (select 1) to program '/usr/bin/id'", "copy (select 1) to '/var/tmp/sidearmor-learn'"},
		abuse: func(t *testing.T, r *running, _ *collector) {
			r.wait(t)
			if n := strings.Count(r.out.String(), "ERROR:"); n != 3 {
				t.Errorf("%d of 3 were refused\n%s", n, r.out.String())
			}
		},
		denied: []string{"/etc/hostname", "/usr/bin/id", "/var/tmp/sidearmor-learn"},
	},
	{
		name: "redis", commands: []string{"redis-server", "redis-cli"},
		prepare: func(*testing.T, *running) {},
		argv: func(r *running) []string {
			return []string{"redis-server", "--bind", "127.0.0.1", "--port", r.port, "--dir", r.dir, "--appendonly", "yes", "--enable-protected-configs", "yes"}
		},
		use: func(t *testing.T, r *running) {
			r.await(t, "answering", func() bool { return redis(r, "ping") == "PONG" })
			for i := range 50 {
				redis(r, "set", "key"+strconv.Itoa(i), strings.Repeat("v", 100))
			}
			for _, what := range []string{"bgsave", "bgrewriteaof"} {
				redis(r, what)
				r.await(t, what+" is done", func() bool {
					info := redis(r, "info", "persistence")
					return strings.Contains(info, "rdb_bgsave_in_progress:0") && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
				})
			}
			if got := redis(r, "save"); got != "OK" {
				t.Errorf("save: %s", got)
			}
			redis(r, "shutdown")
			r.wait(t)
		},
		abuse: func(t *testing.T, r *running, c *collector) {
			r.await(t, "answering", func() bool { return redis(r, "ping") == "PONG" })
			elsewhere := filepath.Join(filepath.Dir(r.dir), "elsewhere")
			if err := os.MkdirAll(elsewhere, 0o777); err != nil {
				t.Fatal(err)
			}
			redis(r, "config", "set", "dir", elsewhere)
			if got := redis(r, "save"); !strings.Contains(got, "ERR") {
				t.Errorf("save elsewhere: %s", got)
			}
			redis(r, "replicaof", "127.0.0.2", "9")
			r.await(t, "refused", func() bool { return c.has("remoteip=127.0.0.2 port=9") })
			redis(r, "shutdown", "nosave")
			r.wait(t)
		},
		denied: []string{"DIR/elsewhere/", "remoteip=127.0.0.2 port=9"},
	},
	{
		name: "python", commands: []string{python},
		prepare: func(t *testing.T, r *running) { page(t, r.dir) },
		argv: func(r *running) []string {
			return []string{python, filepath.Join(filepath.Dir(r.dir), "web.py"), r.port}
		},
		use:    useWeb,
		abuse:  abuseWeb,
		denied: []string{"/etc/hostname", "/usr/bin/id", "remoteip=127.0.0.2 port=9"},
	},
	{
		name: "node", commands: []string{"node"},
		prepare: func(t *testing.T, r *running) { page(t, r.dir) },
		argv: func(r *running) []string {
			return []string{"node", filepath.Join(filepath.Dir(r.dir), "web.js"), r.port}
		},
		use:    useWeb,
		abuse:  abuseWeb,
		denied: []string{"/etc/hostname", "/usr/bin/id", "remoteip=127.0.0.2 port=9"},
	},
}

func useWeb(t *testing.T, r *running) {
	r.answers(t, "/page.html")
	for range 3 {
		r.post(t, "/")
	}
	r.end(t)
}

func abuseWeb(t *testing.T, r *running, _ *collector) {
	r.answers(t, "/page.html")
	r.refused(t, "/open?path=/etc/hostname", "/run?path=/usr/bin/id", "/connect?host=127.0.0.2&port=9")
	r.end(t)
}

// reloadNginx reloads the configuration, and waits until both workers before have ended.
func reloadNginx(t *testing.T, r *running) {
	t.Helper()
	log := filepath.Join(r.dir, "error.log")
	lines := func(what string) int {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), what)
	}
	if err := syscall.Kill(masterOf(t, r), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.await(t, "reloaded", func() bool { return lines("exited with code 0") >= 2 })
}

func masterOf(t *testing.T, r *running) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "nginx.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// redis asks the server, and gives what it says.
func redis(r *running, args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", r.port}, args...)...).CombinedOutput() // it says why
	return strings.TrimSpace(string(out))
}
