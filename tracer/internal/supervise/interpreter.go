package supervise

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
)

// What the kernel reads of a program (fs/exec.c, fs/binfmt_elf.c, include/uapi/linux/elf.h).
const (
	shebangBytes = 256 // BINPRM_BUF_SIZE: what it reads to find the interpreter
	elfMagic     = "\x7fELF"
	elfHeader    = 64      // struct elf64_hdr
	progHeader   = 56      // struct elf64_phdr: entries of another size it takes for no program
	progHeaders  = 1 << 16 // bytes of them at most
	ptInterp     = 3
)

// interpreter reads which file the kernel takes besides one that is executed: the
// program that a script asks for in its first line, or, where that is of interest,
// the loader that an ELF file names. It is "" when there is none, or the file
// cannot be read.
func interpreter(r *paths.Resolver, file *paths.Result, loaders bool) (name string, script bool) {
	fd, err := unix.Openat(r.Descriptors(), strconv.Itoa(file.FD), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	// One read has the headers of a usual program as well as the name that they lead to.
	head := readAt(fd, make([]byte, 4096), 0)
	switch isELF := bytes.HasPrefix(head, []byte(elfMagic)); {
	case isELF && loaders:
		return loader(fd, head), false
	case isELF:
		return "", false
	}
	return shebang(string(head[:min(len(head), shebangBytes)])), len(head) > 0
}

// readAt reads what there is at a place of a file: less than buf at its end, nothing
// where it cannot be read.
func readAt(fd int, buf []byte, at uint64) []byte {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], int64(at)+int64(n))
		if err == unix.EINTR {
			continue
		}
		if m <= 0 || err != nil {
			break
		}
		n += m
	}
	return buf[:n]
}

// shebang finds the interpreter in a script's first bytes.
func shebang(head string) string {
	line, ok := strings.CutPrefix(head, "#!")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == 0 })
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// loader is the PT_INTERP of a 64-bit ELF file that begins with head. The file is the
// workload's, and is read as the kernel reads it, which looks at no more than this.
func loader(fd int, head []byte) string {
	part := func(at, size uint64) []byte {
		if end := at + size; end >= at && end <= uint64(len(head)) {
			return head[at:end]
		}
		if b := readAt(fd, make([]byte, size), at); uint64(len(b)) == size {
			return b
		}
		return nil
	}
	if len(head) < elfHeader {
		return ""
	}
	at := binary.NativeEndian.Uint64(head[32:])                 // e_phoff
	size := uint64(binary.NativeEndian.Uint16(head[54:]))       // e_phentsize
	all := size * uint64(binary.NativeEndian.Uint16(head[56:])) // e_phnum
	if size != progHeader || all > progHeaders {
		return ""
	}
	for table := part(at, all); len(table) >= progHeader; table = table[progHeader:] {
		if binary.NativeEndian.Uint32(table) != ptInterp {
			continue
		}
		offset, length := binary.NativeEndian.Uint64(table[8:]), binary.NativeEndian.Uint64(table[32:])
		if length > unix.PathMax {
			return ""
		}
		name, _, _ := bytes.Cut(part(offset, length), []byte{0})
		return string(name)
	}
	return ""
}
