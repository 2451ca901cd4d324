// Package filter turns the syscall table and what is wanted of it into the BPF
// program that decides, in the kernel, which calls of the workload stop at all.
// It loads nothing: package launch does, in the workload's process.
package filter

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	seccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Options choose what the program does.
type Options struct {
	// Hold is the operations whose calls stop. The calls that keep the facts about
	// processes, execve among them, stop whenever one of the others does.
	Hold rules.Operation
	// Sockets holds each socket(2), where a rule could be about a protocol; else only
	// those that the row names.
	Sockets bool
	// Starts holds a call that programs make as they start: where the tracer may not
	// follow all execs, they are looked at there.
	Starts bool
	// FollowCwd holds chdir(2) and fchdir(2): where the tracer may not look at all
	// processes of the workload. Natively they never fail with EINTR; held, they can.
	FollowCwd bool
	// Trace has held calls stop for a tracer (SECCOMP_RET_TRACE) instead of telling a
	// listener.
	Trace bool
	// Tracer is the process that the workload is kept from; 0 is this one.
	Tracer int
	Arch   string // "amd64" or "arm64"; "" is this machine's
}

// holds says whether the calls of a row stop, and for which of them.
func (o Options) holds(s *syscalls.Spec) (when []syscalls.Condition, held bool) {
	if o.Hold == 0 {
		return nil, false
	}
	when = s.When
	if s.Op&o.Hold != 0 && s.WhenTold != nil {
		when = slices.Concat(when, s.WhenTold)
	}
	for _, n := range s.Narrow {
		if o.Hold&s.Op&^n.Op == 0 {
			when = n.When
			break
		}
	}
	switch s.ID {
	case syscalls.Socket:
		if o.Sockets {
			return nil, true
		}
	case syscalls.SetTidAddress, syscalls.SchedGetaffinity:
		return when, o.Starts
	case syscalls.Chdir, syscalls.Fchdir:
		return when, o.FollowCwd
	}
	return when, s.Op == 0 || s.State || s.Op == rules.Process || s.Op&o.Hold != 0
}

// Program builds the filter: held calls notify, or stop for ptrace, guarded calls fail, calls of a
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
	if err := addGuards(f, o); err != nil {
		return nil, err
	}
	if err := addRows(f, o); err != nil {
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

func addGuards(f *seccomp.ScmpFilter, o Options) error {
	for _, g := range o.guards() {
		if err := add(f, g.name, seccomp.ActErrno.SetReturnCode(int16(g.errno)), g.when); err != nil {
			return fmt.Errorf("seccomp: refusing %s: %w", g.name, err)
		}
	}
	return nil
}

// addRows holds what is held, and refuses what is refused by the tracer elsewhere.
func addRows(f *seccomp.ScmpFilter, o Options) error {
	hold := seccomp.ActNotify
	if o.Trace {
		hold = seccomp.ActTrace
	}
	table := syscalls.Table()
	for i := range table {
		s := &table[i]
		when, held := o.holds(s)
		action := hold
		switch {
		case held:
		case s.Refuse != 0:
			action, when = seccomp.ActErrno.SetReturnCode(int16(s.Refuse)), nil
		default:
			continue
		}
		if err := add(f, s.Name, action, when); err != nil {
			return fmt.Errorf("seccomp: holding %s: %w", s.Name, err)
		}
	}
	return nil
}

// add gives a call an action: when one of the conditions is true, or always if
// there are none.
func add(f *seccomp.ScmpFilter, name string, action seccomp.ScmpAction, when []syscalls.Condition) error {
	nr, err := seccomp.GetSyscallFromName(name)
	if err != nil {
		return fmt.Errorf("unknown to libseccomp: %w", err)
	}
	if len(when) == 0 {
		return f.AddRule(nr, action)
	}
	for _, all := range when {
		conditions := make([]seccomp.ScmpCondition, len(all))
		for i, m := range all {
			conditions[i] = comparison(m)
		}
		if err := f.AddRuleConditional(nr, action, conditions); err != nil {
			return err
		}
	}
	return nil
}

func comparison(m syscalls.Match) seccomp.ScmpCondition {
	switch {
	case m.Least:
		return seccomp.ScmpCondition{Argument: m.Arg, Op: seccomp.CompareGreaterEqual, Operand1: m.Value}
	case m.Not:
		return seccomp.ScmpCondition{Argument: m.Arg, Op: seccomp.CompareNotEqual, Operand1: m.Value}
	case m.Mask == syscalls.All:
		return seccomp.ScmpCondition{Argument: m.Arg, Op: seccomp.CompareEqual, Operand1: m.Value}
	}
	return seccomp.ScmpCondition{Argument: m.Arg, Op: seccomp.CompareMaskedEqual, Operand1: m.Mask, Operand2: m.Value}
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
