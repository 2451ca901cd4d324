package kernels

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
)

// An initrd is a root directory for a kernel to start with, in cpio's newc form.
type initrd struct {
	out  bytes.Buffer
	last int // inode number
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// dir adds a directory. Those on the way to it must have been added before.
func (i *initrd) dir(name string) {
	i.entry(name, modeDir|0o755, nil)
}

// write adds a file.
func (i *initrd) write(name string, mode fs.FileMode, content []byte) {
	i.entry(name, modeFile|uint32(mode.Perm()), content)
}

// copy adds a file with the content of one of this machine.
func (i *initrd) copy(name string, mode fs.FileMode, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	i.write(name, mode, content)
	return nil
}

// bytes ends the archive.
func (i *initrd) bytes() []byte {
	i.entry("TRAILER!!!", 0, nil)
	return i.out.Bytes()
}

// entry writes thirteen numbers of eight hexadecimal digits, the name and the
// content; both are padded to a multiple of four.
func (i *initrd) entry(name string, mode uint32, content []byte) {
	i.last++
	const user, group, links, changed, device, check = 0, 0, 1, 0, 0, 0
	fmt.Fprintf(&i.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", i.last, mode, user, group, links, changed,
		len(content), device, device, device, device, len(name)+1, check)
	i.out.WriteString(name)
	i.out.WriteByte(0)
	i.pad()
	i.out.Write(content)
	i.pad()
}

func (i *initrd) pad() {
	for i.out.Len()%4 != 0 {
		i.out.WriteByte(0)
	}
}
