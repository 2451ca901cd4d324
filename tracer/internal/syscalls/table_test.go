package syscalls

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTableRowsAreInOrderAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for i, s := range Table() {
		if int(s.ID) != i {
			t.Errorf("row %d holds id %d", i, s.ID)
		}
		if seen[s.Name] {
			t.Errorf("%s stands twice", s.Name)
		}
		seen[s.Name] = true
	}
}

// x/sys generates its numbers from the kernel's headers, for each architecture.
func TestNumbersAreTheKernels(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`)
	for arch, number := range map[string]func(Spec) int{
		"amd64": func(s Spec) int { return s.AMD64 },
		"arm64": func(s Spec) int { return s.ARM64 },
	} {
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go"))
		if err != nil {
			t.Fatal(err)
		}
		numbers := map[string]int{}
		for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
			if numbers[strings.ToLower(m[1])], err = strconv.Atoi(m[2]); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range Table() {
			want, ok := numbers[s.Name]
			if !ok {
				want = Absent
			}
			if got := number(s); got != want {
				t.Errorf("%s: %s is %d, the table says %d", arch, s.Name, want, got)
			}
		}
	}
}

func TestIndexFindsEveryCall(t *testing.T) {
	ix := NewIndex(Table())
	for _, s := range Table() {
		if s.Number() == Absent {
			continue
		}
		got := ix.Lookup(s.Number())
		if got == nil || got.ID != s.ID {
			t.Errorf("%s: found %v", s.Name, got)
		}
	}
	for _, nr := range []int{-1, 3, 100000} {
		if ix.Lookup(nr) != nil {
			t.Errorf("found a row for %d", nr)
		}
	}
}

func TestData(t *testing.T) {
	fdcwd := unix.AT_FDCWD
	table := Table()
	for _, c := range []struct {
		id    ID
		args  [6]uint64
		flags uint64
		want  string
	}{
		{Execve, [6]uint64{}, 0, "syscall=SYS_EXECVE"},
		{Execveat, [6]uint64{3}, unix.AT_EMPTY_PATH, "syscall=SYS_EXECVEAT fd=3 flag=AT_EMPTY_PATH"},
		{Execveat, [6]uint64{uint64(fdcwd)}, 0, "syscall=SYS_EXECVEAT fd=-100 flag=0"},
		{Openat, [6]uint64{uint64(fdcwd)}, unix.O_RDONLY | unix.O_CLOEXEC, "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY|O_CLOEXEC"},
		{Openat, [6]uint64{0xffffff9c}, unix.O_RDWR | unix.O_CREAT | unix.O_APPEND, "syscall=SYS_OPENAT fd=-100 flags=O_RDWR|O_CREAT|O_APPEND"},
		{Open, [6]uint64{}, unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, "syscall=SYS_OPEN flags=O_WRONLY|O_CREAT|O_TRUNC"},
		{Open, [6]uint64{}, unix.O_RDWR | unix.O_TMPFILE, "syscall=SYS_OPEN flags=O_RDWR|O_DIRECTORY|O_TMPFILE"},
		{Open, [6]uint64{}, unix.O_SYNC | unix.O_DIRECT | unix.O_NOFOLLOW | unix.O_PATH, "syscall=SYS_OPEN flags=O_RDONLY|O_SYNC|O_NOFOLLOW|O_DIRECT|O_PATH"},
		{Open, [6]uint64{}, oLargefile, "syscall=SYS_OPEN flags=O_RDONLY|O_LARGEFILE"},
		{Connect, [6]uint64{10}, 0, "syscall=SYS_CONNECT fd=10"},
		{Sendto, [6]uint64{7}, 0, "syscall=SYS_SENDTO fd=7"},
		{Socket, [6]uint64{unix.AF_INET}, 0, "syscall=SYS_SOCKET"},
		{Unlink, [6]uint64{}, 0, "syscall=SYS_UNLINK"},
		{Unlinkat, [6]uint64{5, 0, 0}, 0, "syscall=SYS_UNLINKAT flags="},
		{Unlinkat, [6]uint64{5, 0, unix.AT_REMOVEDIR}, 0, "syscall=SYS_UNLINKAT flags=AT_REMOVEDIR"},
		{Rmdir, [6]uint64{}, 0, "syscall=SYS_RMDIR"},
		{Renameat2, [6]uint64{5, 0, 6, 0, unix.RENAME_EXCHANGE}, 0, "syscall=SYS_RENAMEAT2 fd=5 flags=RENAME_EXCHANGE"},
		{Linkat, [6]uint64{uint64(fdcwd), 0, 6, 0, unix.AT_SYMLINK_FOLLOW}, 0, "syscall=SYS_LINKAT fd=-100 flags=AT_SYMLINK_FOLLOW"},
		{Mkdir, [6]uint64{0, 0o755}, 0, "syscall=SYS_MKDIR mode=0755"},
		{Mknodat, [6]uint64{5, 0, unix.S_IFIFO | 0o600}, 0, "syscall=SYS_MKNODAT fd=5 mode=010600"},
		{Truncate, [6]uint64{0, 7}, 0, "syscall=SYS_TRUNCATE length=7"},
		{Fchmod, [6]uint64{3, 0o4755}, 0, "syscall=SYS_FCHMOD fd=3 mode=04755"},
		{Chown, [6]uint64{0, 1000, 0xffffffff}, 0, "syscall=SYS_CHOWN userid=1000 group=-1"},
		{Fchownat, [6]uint64{5, 0, 0, 7, unix.AT_SYMLINK_NOFOLLOW}, 0, "syscall=SYS_FCHOWNAT userid=0 group=7 mode=AT_SYMLINK_NOFOLLOW"},
	} {
		if got := table[c.id].Data(&c.args, c.flags); got != c.want {
			t.Errorf("%s %#x: %q, want %q", table[c.id].Name, c.flags, got, c.want)
		}
	}
}
