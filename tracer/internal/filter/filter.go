// Package filter turns the syscall table and what is wanted of it into the BPF
// program that decides, in the kernel, which calls of the workload stop at all.
// It loads nothing: package launch does, in the workload's process.
package filter

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	seccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// guard is a call that would get around the filter and is refused by it, for
// every workload and without asking the tracer.
type guard struct {
	name  string
	errno unix.Errno
}

// guards lists what reaches files, sockets or the tracer past the held calls.
// Container runtimes' default profiles refuse nearly all of them as well, so
// that programs cope. io_uring answers ENOSYS, which makes its users fall back
// to ordinary calls.
func guards() []guard {
	return []guard{
		{"io_uring_setup", unix.ENOSYS},
		{"io_uring_enter", unix.ENOSYS},
		{"io_uring_register", unix.ENOSYS},
		{"open_by_handle_at", unix.EPERM}, // opens by inode, no path
		{"userfaultfd", unix.EPERM},       // stalls the tracer's reads of the workload's memory
		{"pidfd_getfd", unix.EPERM},       // takes descriptors from other processes
		{"fsopen", unix.EPERM},            // the mount API aliases paths
		{"fsmount", unix.EPERM},
		{"fsconfig", unix.EPERM},
		{"fspick", unix.EPERM},
		{"open_tree", unix.EPERM},
		{"move_mount", unix.EPERM},
		{"mount_setattr", unix.EPERM},
	}
}

// Options choose what the program does.
type Options struct {
	Hold rules.Operation // classes whose calls stop; State calls stop whenever one of the others does
	Arch string          // "amd64" or "arm64"; "" is this machine's
}

// Program builds the filter: held calls notify, guarded calls fail, calls of a
// foreign architecture or of x32 fail with ENOSYS (so that a 32-bit entry into
// the kernel cannot get around it), everything else runs.
func Program(o Options) ([]unix.SockFilter, error) {
	// The program must not depend on what the building kernel can do.
	if err := seccomp.SetAPI(6); err != nil {
		return nil, fmt.Errorf("seccomp: choosing libseccomp's API level 6: %w", err)
	}
	f, err := newFilter(o.Arch)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	if err := addGuards(f); err != nil {
		return nil, err
	}
	if err := addHeld(f, o.Hold); err != nil {
		return nil, err
	}
	return export(f)
}

func newFilter(arch string) (*seccomp.ScmpFilter, error) {
	f, err := seccomp.NewFilter(seccomp.ActAllow)
	if err != nil {
		return nil, fmt.Errorf("seccomp: making a filter: %w", err)
	}
	enosys := seccomp.ActErrno.SetReturnCode(int16(unix.ENOSYS))
	steps := []struct {
		what string
		do   func() error
	}{
		{"setting the action for foreign architectures", func() error { return f.SetBadArchAction(enosys) }},
		// A binary tree instead of a chain: the cost of a call that nobody asked for.
		{"asking for the binary tree", func() error { return f.SetOptimize(2) }},
		{"choosing architecture " + arch, func() error { return setArch(f, arch) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			f.Release()
			return nil, fmt.Errorf("seccomp: %s: %w", s.what, err)
		}
	}
	return f, nil
}

// setArch replaces the native architecture by another one, for tests and for
// building on one machine what runs on the other.
func setArch(f *seccomp.ScmpFilter, arch string) error {
	if arch == "" {
		return nil
	}
	want, err := seccomp.GetArchFromString(arch)
	if err != nil {
		return err
	}
	native, err := seccomp.GetNativeArch()
	if err != nil || native == want {
		return err
	}
	if err := f.AddArch(want); err != nil {
		return err
	}
	return f.RemoveArch(native)
}

func addGuards(f *seccomp.ScmpFilter) error {
	for _, g := range guards() {
		nr, err := seccomp.GetSyscallFromName(g.name)
		if err != nil {
			return fmt.Errorf("seccomp: %s is unknown to libseccomp: %w", g.name, err)
		}
		if err := f.AddRule(nr, seccomp.ActErrno.SetReturnCode(int16(g.errno))); err != nil {
			return fmt.Errorf("seccomp: refusing %s: %w", g.name, err)
		}
	}
	return nil
}

func addHeld(f *seccomp.ScmpFilter, hold rules.Operation) error {
	if hold == 0 {
		return nil
	}
	for _, s := range syscalls.Table() {
		if s.Op != 0 && s.Op&hold == 0 {
			continue
		}
		nr, err := seccomp.GetSyscallFromName(s.Name)
		if err != nil {
			return fmt.Errorf("seccomp: %s is unknown to libseccomp: %w", s.Name, err)
		}
		if s.When == nil {
			err = f.AddRule(nr, seccomp.ActNotify)
		} else {
			err = f.AddRuleConditional(nr, seccomp.ActNotify, []seccomp.ScmpCondition{{Argument: s.When.Arg, Op: seccomp.CompareEqual, Operand1: s.When.Value}})
		}
		if err != nil {
			return fmt.Errorf("seccomp: holding %s: %w", s.Name, err)
		}
	}
	return nil
}

// export takes the finished program out of libseccomp, which writes it to a
// file as an array of struct sock_filter in the machine's byte order. The
// program is loaded by our own seccomp(2) call: the flags that it needs are
// newer than the library.
func export(f *seccomp.ScmpFilter) ([]unix.SockFilter, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("seccomp: making a file for the program: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer file.Close()
	if err := f.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("seccomp: exporting the program: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("seccomp: reading the program: %w", err)
	}
	raw, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("seccomp: reading the program: %w", err)
	}
	prog := make([]unix.SockFilter, len(raw)/8)
	for i := range prog {
		b := raw[i*8:]
		prog[i] = unix.SockFilter{Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])}
	}
	return prog, nil
}
