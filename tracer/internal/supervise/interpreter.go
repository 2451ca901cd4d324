package supervise

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
)

const (
	shebangBytes = 256  // BINPRM_BUF_SIZE: what the kernel reads to find the interpreter
	headBytes    = 4096 // programs have all that is looked for in their first page
	maxProgs     = 64   // program headers that are looked at; programs have a dozen
)

// head is the beginning of a file that is to be executed. The file is the
// workload's: what it says of itself can be anything.
type head struct {
	fd    int
	first []byte
}

// readHead reads the beginning of an open file; there is none of an empty one.
func readHead(fd int) (h head, ok bool) {
	buf := make([]byte, headBytes)
	n, err := pread(fd, buf, 0)
	return head{fd, buf[:max(n, 0)]}, err == nil && n > 0
}

// at gives size bytes of the file at offset, nil where it has none.
func (h *head) at(offset uint64, size int) []byte {
	if end := offset + uint64(size); end >= offset && end <= uint64(len(h.first)) {
		return h.first[offset:end]
	}
	buf := make([]byte, size)
	if n, err := pread(h.fd, buf, int64(offset)); err != nil || n < size { // EINVAL for one that is too large
		return nil
	}
	return buf
}

func pread(fd int, buf []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, offset)
		if err != unix.EINTR {
			return n, err
		}
	}
}

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
	h, ok := readHead(fd)
	if !ok {
		return "", false
	}
	if !bytes.HasPrefix(h.first, []byte(elf.ELFMAG)) {
		return shebang(string(h.first[:min(len(h.first), shebangBytes)])), true
	}
	if !loaders {
		return "", false
	}
	return h.loader(), false
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

// Sizes of the headers of a 64-bit ELF file.
const (
	elfHeader  = 64
	elfProgram = 56
)

// loader is the PT_INTERP of a 64-bit ELF file. Only the headers that say where it
// is are read.
func (h *head) loader() string {
	var header elf.Header64
	if !decode(h.at(0, elfHeader), &header) || elf.Class(header.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return ""
	}
	for i := range min(uint64(header.Phnum), maxProgs) {
		var p elf.Prog64
		if !decode(h.at(header.Phoff+i*uint64(header.Phentsize), elfProgram), &p) {
			return ""
		}
		if elf.ProgType(p.Type) != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		name, _, _ := bytes.Cut(h.at(p.Off, int(p.Filesz)), []byte{0})
		return string(name)
	}
	return ""
}

// decode reports whether there was something to decode.
func decode(b []byte, v any) bool {
	_, err := binary.Decode(b, binary.NativeEndian, v)
	return err == nil
}
