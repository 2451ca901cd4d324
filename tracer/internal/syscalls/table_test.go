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

	"github.com/sidearmor/sidearmor/schema/rules"
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
		{Bind, [6]uint64{10}, 0, "syscall=SYS_BIND fd=10"},
		{Listen, [6]uint64{3, 128}, 0, "syscall=SYS_LISTEN fd=3"},
		{Accept4, [6]uint64{3}, 0, "syscall=SYS_ACCEPT4 fd=3"},
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

// Rules about calls by their names know the calls that are always held while their
// operation is wanted.
func TestRulesKnowTheCalls(t *testing.T) {
	known := map[string]rules.Operation{}
	for _, s := range Table() {
		if whole := s.When == nil && s.Op != 0 && s.Op&rules.NetworkSend == 0; whole || s.ID == Ptrace {
			known[s.Name] = s.Op &^ rules.Capabilities
			if s.ID == Bind { // of which either of its operations is enough
				known[s.Name] = rules.Network
			}
		}
	}
	for _, s := range Table() {
		if got := rules.SyscallOperation(s.Name); got != known[s.Name] {
			t.Errorf("%s: rules take it for %q, the table for %q", s.Name, got.Words(), known[s.Name].Words())
		}
	}
}

func TestWords(t *testing.T) {
	read := func(addr uint64) string { return map[uint64]string{1: "here", 2: "there", 3: "tmpfs"}[addr] }
	table := Table()
	for _, c := range []struct {
		id   ID
		args [6]uint64
		want string
	}{
		{Setuid, [6]uint64{1000 | 1<<32}, " userid=1000"},
		{Setresgid, [6]uint64{0xffffffff, 5, 0}, " rgroupid=-1 egroupid=5 sgroupid=0"},
		{Mount, [6]uint64{1, 2, 3, 4096, 0}, " source=here target=there filesystem=tmpfs mountflag=4096 data="},
		{Umount2, [6]uint64{2, 2}, " target=there flag=2"},
		{Unshare, [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_NEWNS}, " flags=CLONE_NEWNS|CLONE_NEWUSER"},
		{Ptrace, [6]uint64{unix.PTRACE_SEIZE, 7}, " request=PTRACE_SEIZE pid=7"},
		{Prctl, [6]uint64{unix.PR_SET_PTRACER, 7}, " option=PR_SET_PTRACER value=7"},
		{Kill, [6]uint64{7, 9}, " pid=7 signal=9"},
		{MemfdCreate, [6]uint64{1, unix.MFD_CLOEXEC}, " flags=MFD_CLOEXEC"},
		{Mmap, [6]uint64{0, 0, unix.PROT_READ | unix.PROT_EXEC}, " prot=PROT_READ|PROT_EXEC"},
		{Capset, [6]uint64{1, 2}, ""},
	} {
		if got := table[c.id].Words(&c.args, read); got != c.want {
			t.Errorf("%s: %q, want %q", table[c.id].Name, got, c.want)
		}
	}
}
