package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tries is how often a name is swapped while it is looked at.
const tries = 20000

// control is what no rule forbids: it must go on as before.
const control = "read what is not forbidden"

// outcome is what an attack says of itself: it reached what it wanted, or the error
// that kept it from that.
type outcome struct {
	Name    string
	Reached bool
	Error   string
}

// attack is one step. It makes no noise outside of the scratch directory.
type attack struct {
	name string
	try  func(dir string, port int) error
}

// attacks are tried by the tracer's own program, started anew as a workload: a
// container need not have any other.
func attacks() []attack {
	return []attack{
		{control, func(dir string, _ int) error { return open(filepath.Join(dir, "readonly"), unix.O_RDONLY) }},
		{"read a file", func(dir string, _ int) error { return open(filepath.Join(dir, "secret"), unix.O_RDONLY) }},
		{"read it by a link", func(dir string, _ int) error { return open(filepath.Join(dir, "link"), unix.O_RDONLY) }},
		{"read it by way of /proc", func(dir string, _ int) error {
			return open("/proc/self/root"+filepath.Join(dir, "secret"), unix.O_RDONLY)
		}},
		{"give it another name", func(dir string, _ int) error {
			old, stolen := filepath.Join(dir, "secret"), filepath.Join(dir, "stolen")
			if err := unix.Rename(old, stolen); err != nil {
				return err
			}
			return unix.Rename(stolen, old)
		}},
		{"swap names while they are checked", race},
		{"write to a file that may be read", func(dir string, _ int) error { return open(filepath.Join(dir, "readonly"), unix.O_WRONLY) }},
		{"start a program", func(dir string, _ int) error { return start(filepath.Join(dir, "dropped")) }},
		{"start a program that is in no file", startMemory},
		{"connect", func(_ string, port int) error { return connect([4]byte{127, 0, 0, 1}, port) }},
		{"ask for AWS credentials", func(string, int) error { return connect([4]byte{169, 254, 170, 2}, 80) }},
		{"read the parent's memory", func(string, int) error { return open("/proc/"+strconv.Itoa(os.Getppid())+"/mem", unix.O_RDWR) }},
	}
}

// Attack tries all attacks on what Prove has made, and tells of each on a line.
func Attack(dir, port string, stdout io.Writer) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port %q: %w", port, err)
	}
	out := json.NewEncoder(stdout)
	for _, a := range attacks() {
		o := outcome{Name: a.name, Reached: true}
		if err := a.try(dir, number); err != nil {
			o.Reached, o.Error = false, err.Error()
		}
		if err := out.Encode(o); err != nil {
			return err
		}
	}
	return nil
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// start executes a file without a format: a kernel that is let do it says ENOEXEC.
func start(path string) error {
	if err := unix.Exec(path, []string{path}, nil); err != unix.ENOEXEC {
		return err
	}
	return nil
}

func startMemory(string, int) error {
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("no format\n")); err != nil {
		return err
	}
	return start("/proc/self/fd/" + strconv.Itoa(fd))
}

// connect counts as reached when the network has been asked, whatever it says.
func connect(address [4]byte, port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrInet4{Addr: address, Port: port}); err {
	case unix.EACCES, unix.EPERM:
		return err
	}
	return nil
}

// race opens a name that another thread changes meanwhile, from that of a public file
// to that of the secret and back. It has reached what it wanted if it got the secret.
func race(dir string, _ int) error {
	var secret unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "secret"), &secret); err != nil {
		return err
	}
	names := [2][]byte{append([]byte(filepath.Join(dir, "public")), 0), append([]byte(filepath.Join(dir, "secret")), 0)}
	name := append([]byte(nil), names[0]...)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			copy(name, names[i&1]) // while the kernel reads it: that is the attack
			if i%64 == 0 {
				runtime.Gosched()
			}
		}
	}()
	won := false
	for i := 0; i < tries && !won; i++ {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(0xffffff9c), uintptr(unsafe.Pointer(&name[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno != 0 {
			continue
		}
		var got unix.Stat_t
		if unix.Fstat(int(fd), &got) == nil && got.Ino == secret.Ino && got.Dev == secret.Dev {
			won = true
		}
		_ = unix.Close(int(fd))
	}
	stop.Store(true)
	<-done
	if !won {
		return unix.EACCES
	}
	return nil
}
