package kernels

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is what a guest runs on.
type machine struct{ series, arch string }

func (m machine) String() string { return m.series + "-" + m.arch }

// file is one that .ci/kernel has fetched.
func (m machine) file(name string) string { return filepath.Join(*kernelsDir, m.String(), name) }

// tracer is the built one, which make puts beside that of this machine's own
// architecture for others.
func (m machine) tracer() string {
	if m.arch != runtime.GOARCH {
		return filepath.Join(*bin, m.arch, "tracer")
	}
	return filepath.Join(*bin, "tracer")
}

func (m machine) compiler() string {
	if m.arch != runtime.GOARCH {
		return map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}[m.arch]
	}
	return "gcc"
}

// emulator is the program and what of its arguments differs. The processors are
// emulated: tests may run where there is no other way.
func (m machine) emulator() (name string, args []string, console string) {
	if m.arch == "arm64" {
		return "qemu-system-aarch64", []string{"-M", "virt", "-cpu", "cortex-a72"}, "ttyAMA0"
	}
	return "qemu-system-x86_64", []string{"-M", "q35", "-cpu", "max"}, "ttyS0"
}

// requireAll ends the test where something is missing; in CI nothing is.
func (m machine) requireAll(t *testing.T) {
	t.Helper()
	emulator, _, _ := m.emulator()
	for _, program := range []string{emulator, m.compiler()} {
		_, err := exec.LookPath(program)
		require(t, err)
	}
	for _, file := range []string{m.file("vmlinuz"), m.tracer()} {
		_, err := os.Stat(file)
		require(t, err)
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// programs are those of the checks: where they go, what they are made of, and
// arguments of the compiler.
var programs = []struct{ to, source, flag string }{
	{"bin/as", "testdata/as.c", ""},
	{"bin/opens", "testdata/opens.c", ""},
	{"bin/forks", "testdata/forks.c", ""},
	{"bin/signals", "testdata/signals.c", ""},
	{"bin/landlock", "testdata/landlock.c", ""},
	{"bin/race", "../../tracer/testdata/race.c", ""},
	{"bin/execrace", "../../tracer/testdata/execrace.c", ""},
	{"srv/allowed", "testdata/program.c", ""},
	{"srv/denied", "testdata/program.c", `-DMARKER="marker"`},
}

// root makes the guest's root directory.
func (m machine) root(t *testing.T, checks []check, f form) []byte {
	t.Helper()
	var i initrd
	for _, dir := range []string{"proc", "sys", "dev", "bin", "tmp", "srv", "rules", "checks"} {
		i.dir(dir)
	}
	copied := func(to, from string) {
		t.Helper()
		if err := i.copy(to, 0o755, from); err != nil {
			t.Fatal(err)
		}
	}
	copied("init", "testdata/init")
	copied("overlay.ko", m.file("overlay.ko"))
	copied("bin/busybox", m.file("busybox"))
	copied("bin/tracer", m.tracer())
	for _, rules := range []string{"files", "network"} {
		copied("rules/"+rules+".yaml", "testdata/"+rules+".yaml")
	}
	for _, p := range programs {
		out := filepath.Join(t.TempDir(), "program")
		args := []string{"-O2", "-Wall", "-Werror", "-pthread", "-static", "-o", out, p.source}
		if p.flag != "" {
			args = append(args, p.flag)
		}
		if said, err := exec.Command(m.compiler(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", p.source, err, said)
		}
		copied(p.to, out)
	}
	for name, mode := range map[string]os.FileMode{"public": 0o644, "secret": 0o666, "private": 0o600} {
		i.write("srv/"+name, mode, []byte(name+"\n"))
	}
	i.write("tries", 0o644, []byte(strconv.Itoa(f.tries)))
	i.write("engines", 0o644, []byte(strings.Join(f.engines, " ")))
	i.write("limit", 0o644, []byte(strconv.Itoa(f.limit)))
	for n, c := range checks {
		c.write(t, &i, fmt.Sprintf("checks/%03d", n))
	}
	return i.bytes()
}

// write puts a check where testdata/init looks for it.
func (c *check) write(t *testing.T, i *initrd, dir string) {
	t.Helper()
	lib, err := os.ReadFile("testdata/lib.sh")
	if err != nil {
		t.Fatal(err)
	}
	i.dir(dir)
	for name, content := range map[string]string{"name": c.name, "as": c.as, "rules": c.rules, "want": c.want, "before": c.before} {
		if content != "" {
			i.write(dir+"/"+name, 0o644, []byte(content))
		}
	}
	i.write(dir+"/script", 0o644, []byte(string(lib)+c.script+"\n"))
}

// boot runs a guest to its end and gives what it wrote to its console.
func (m machine) boot(t *testing.T, root []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(file, root, 0o600); err != nil {
		t.Fatal(err)
	}
	name, args, console := m.emulator()
	// Long enough for any machine: it bounds a guest that hangs, it measures nothing.
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append(args, "-m", "1024", "-smp", "2", "-nographic", "-no-reboot", "-net", "none",
		"-kernel", m.file("vmlinuz"), "-initrd", file, "-append", "quiet loglevel=1 panic=1 console="+console)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if *long {
		cmd.Stdout = io.MultiWriter(&out, t.Output()) // somebody waits for it
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return strings.ReplaceAll(out.String(), "\r", "")
}
