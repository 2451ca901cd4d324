package differential

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// filesIn lists what is in a directory, a line each: type and mode, owner, links,
// extended attributes, and size and digest of a file, target of a link, number of
// a device.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		status, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no status", path)
		}
		about, err := contents(path, info, status)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q %v %d:%d %s%s\n", name, info.Mode(), status.Uid, status.Gid, about, attributes(path))
		return nil
	})
	if err != nil {
		t.Errorf("the files that were left: %v", err)
	}
	return b.String()
}

func contents(path string, info fs.FileInfo, status *syscall.Stat_t) (string, error) {
	switch info.Mode().Type() {
	case 0:
		body, err := os.ReadFile(path)
		return fmt.Sprintf("links %d size %d %x", status.Nlink, info.Size(), sha256.Sum256(body)), err
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		return "-> " + target, err
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return fmt.Sprintf("device %d:%d", unix.Major(status.Rdev), unix.Minor(status.Rdev)), nil
	}
	return "", nil
}

// attributes gives names and values of extended attributes, access lists among them.
func attributes(path string) string {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return "" // a file system without them
	}
	var out string
	for name := range strings.SplitSeq(strings.Trim(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, name, value); err == nil && name != "" {
			out += fmt.Sprintf(" %s=%x", name, value[:n])
		}
	}
	return out
}
