package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// pageSize is the smallest one of amd64 and arm64: a read that stays within it never crosses into a page that is
	// not mapped, whatever the real size.
	pageSize = 4096
	// firstRead is as much of a string as is read at first: nearly all paths are shorter.
	firstRead   = 256
	pointerSize = 8
)

// ReadMemory fills buf from the memory of the process at addr. tid is a thread that is held in a system call. The
// error is EFAULT when not all of it is mapped, and ErrUnreadable when the tracer may not read the process.
//
// A page that is backed by a stalled file system holds the caller up; the filter keeps userfaultfd from the workload.
func (p *Process) ReadMemory(tid int, addr uint64, buf []byte) error {
	for n := 0; n < len(buf); {
		m, err := p.read(tid, addr+uint64(n), buf[n:])
		if err != nil {
			return readError(tid, addr, err)
		}
		if m == 0 {
			return readError(tid, addr, unix.EFAULT)
		}
		n += m
	}
	return nil
}

// ReadString reads a string that ends in NUL. limit counts the NUL, as PATH_MAX does; a longer string is ENAMETOOLONG.
func (p *Process) ReadString(tid int, addr uint64, limit int) (string, error) {
	scratch := p.table.scratch()
	defer p.table.release(scratch)
	buf := *scratch
	if limit > len(buf) {
		buf = make([]byte, limit)
	}
	buf = buf[:max(limit, 0)]
	for n := 0; n < len(buf); {
		size := min(len(buf)-n, toPageEnd(addr+uint64(n)))
		if n == 0 {
			size = min(size, firstRead)
		}
		m, err := p.read(tid, addr+uint64(n), buf[n:n+size])
		if err != nil {
			return "", readError(tid, addr, err)
		}
		if i := bytes.IndexByte(buf[n:n+m], 0); i >= 0 {
			return string(buf[:n+i]), nil
		}
		if m < size {
			return "", readError(tid, addr, unix.EFAULT)
		}
		n += m
	}
	return "", readError(tid, addr, unix.ENAMETOOLONG)
}

// ReadStrings reads an array of pointers to strings that ends in a null pointer, as execve takes it; a null array is
// an empty one. At most count strings and size bytes (without NULs) are read; truncated says that there was more.
// On an error the strings before it are returned as well.
func (p *Process) ReadStrings(tid int, addr uint64, count, size int) (strs []string, truncated bool, err error) {
	if addr == 0 {
		return nil, false, nil
	}
	pointers, truncated, err := p.readPointers(tid, addr, count)
	for len(pointers) > 0 {
		batch := pointers[:min(len(pointers), batchStrings)]
		got, readErr := p.readBatch(tid, batch, size)
		strs = append(strs, got...)
		for _, s := range got {
			size -= len(s)
		}
		switch {
		case readErr != nil:
			return strs, truncated, readErr
		case size < 0: // only the last one can be too long
			last := &strs[len(strs)-1]
			*last = (*last)[:len(*last)+size]
			return strs, true, err
		}
		pointers = pointers[len(batch):]
	}
	return strs, truncated, err
}

// readPointers reads pointers up to a null one.
func (p *Process) readPointers(tid int, addr uint64, count int) (pointers []uint64, truncated bool, err error) {
	scratch := p.table.scratch()
	defer p.table.release(scratch)
	buf := (*scratch)[:pageSize]
	held := 0 // bytes in buf that do not make a whole pointer: an array need not be aligned
	for len(pointers) < count {
		size := min(toPageEnd(addr), len(buf)-held)
		if len(pointers) == 0 {
			size = min(size, firstRead)
		}
		n, err := p.read(tid, addr, buf[held:held+size])
		if err == nil && n == 0 {
			err = unix.EFAULT
		}
		if err != nil {
			return pointers, false, readError(tid, addr, err)
		}
		addr += uint64(n)
		held += n
		whole := held / pointerSize * pointerSize
		for b := buf[:whole]; len(b) > 0 && len(pointers) < count; b = b[pointerSize:] {
			ptr := binary.NativeEndian.Uint64(b)
			if ptr == 0 {
				return pointers, false, nil
			}
			pointers = append(pointers, ptr)
		}
		held = copy(buf, buf[whole:held])
	}
	return pointers, true, nil
}

const (
	// batchStrings strings of up to batchRead bytes are read with one system call.
	batchStrings = 64
	batchRead    = scratchSize / batchStrings
)

// readBatch reads strings until one crosses the bound of size bytes, which it may do by less than a page.
func (p *Process) readBatch(tid int, pointers []uint64, size int) ([]string, error) {
	scratch := p.table.scratch()
	defer p.table.release(scratch)
	remote := make([]unix.RemoteIovec, len(pointers))
	for i, ptr := range pointers {
		remote[i] = unix.RemoteIovec{Base: uintptr(ptr), Len: min(batchRead, toPageEnd(ptr))}
	}
	n, _ := p.readv(tid, *scratch, remote) // whatever is missing is read below, one by one, with its own error
	strs := make([]string, 0, len(pointers))
	rest := (*scratch)[:n]
	for i, ptr := range pointers {
		have := rest[:min(len(rest), remote[i].Len)]
		rest = rest[len(have):]
		s, err := p.finishString(tid, ptr, have, max(size, 0))
		if err != nil {
			return strs, err
		}
		strs = append(strs, s)
		if size -= len(s); size < 0 {
			break
		}
	}
	return strs, nil
}

// finishString makes a string of its first bytes, and reads on when they do not hold its end. A string of more than
// size bytes comes back cut, but with more than size bytes.
func (p *Process) finishString(tid int, addr uint64, have []byte, size int) (string, error) {
	if i := bytes.IndexByte(have, 0); i >= 0 {
		return string(have[:i]), nil
	}
	s := append([]byte(nil), have...)
	chunk := make([]byte, pageSize)
	for len(s) <= size {
		at := addr + uint64(len(s))
		n, err := p.read(tid, at, chunk[:toPageEnd(at)])
		if err == nil && n == 0 {
			err = unix.EFAULT
		}
		if err != nil {
			return "", readError(tid, addr, err)
		}
		if i := bytes.IndexByte(chunk[:n], 0); i >= 0 {
			return string(append(s, chunk[:i]...)), nil
		}
		s = append(s, chunk[:n]...)
	}
	return string(s), nil
}

// read reads up to len(buf) bytes, less when not all of it is mapped; none at all is EFAULT.
func (p *Process) read(tid int, addr uint64, buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	n, err := p.readv(tid, buf, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}})
	if err != errRefused {
		return n, err
	}
	return p.preadMemory(tid, addr, buf)
}

// errRefused is internal: process_vm_readv is not to be had, by credentials or by the seccomp profile.
var errRefused = fmt.Errorf("process_vm_readv: %w", unix.EPERM)

func (p *Process) readv(tid int, buf []byte, remote []unix.RemoteIovec) (int, error) {
	if p.vmRefused() {
		return 0, errRefused
	}
	local := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	n, _, errno := unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid), uintptr(unsafe.Pointer(&local)), 1,
		uintptr(unsafe.Pointer(&remote[0])), uintptr(len(remote)), 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EPERM, unix.ENOSYS:
		p.refuseVM()
		return 0, errRefused
	default:
		return 0, errno
	}
}

func (p *Process) vmRefused() bool {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return p.noVMReadv && !p.execs.some()
}

func (p *Process) refuseVM() {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.noVMReadv = true
}

func toPageEnd(addr uint64) int { return pageSize - int(addr%pageSize) }

func readError(tid int, addr uint64, err error) error {
	return fmt.Errorf("read memory of thread %d at %#x: %w", tid, addr, err)
}
