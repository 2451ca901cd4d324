package supervise

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
)

const (
	shebangBytes = 256 // BINPRM_BUF_SIZE: what the kernel reads to find the interpreter
	maxProgs     = 64  // program headers that are looked at; programs have a dozen
)

// interpreter reads which file the kernel takes besides one that is executed: the
// program that a script asks for in its first line, or the loader that an ELF
// file names. It is "" when there is none, or the file cannot be read.
func interpreter(r *paths.Resolver, file *paths.Result) (name string, script bool) {
	fd, err := unix.Openat(r.Descriptors(), strconv.Itoa(file.FD), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	f := os.NewFile(uintptr(fd), file.Path)
	defer f.Close()
	var buf [shebangBytes]byte
	n, err := f.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return "", false
	}
	if bytes.HasPrefix(buf[:n], []byte(elf.ELFMAG)) {
		return loader(f), false
	}
	return shebang(string(buf[:n])), true
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

// loader is the PT_INTERP of a 64-bit ELF file. Only the headers that say where it
// is are read: the file is the workload's.
func loader(f *os.File) string {
	var head elf.Header64
	r := io.NewSectionReader(f, 0, 1<<62)
	if binary.Read(r, binary.NativeEndian, &head) != nil || elf.Class(head.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return ""
	}
	for i := range min(int64(head.Phnum), maxProgs) {
		var p elf.Prog64
		at := io.NewSectionReader(f, int64(head.Phoff)+i*int64(head.Phentsize), int64(binary.Size(p)))
		if binary.Read(at, binary.NativeEndian, &p) != nil {
			return ""
		}
		if elf.ProgType(p.Type) != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := f.ReadAt(b, int64(p.Off)); err != nil {
			return ""
		}
		name, _, _ := bytes.Cut(b, []byte{0})
		return string(name)
	}
	return ""
}
