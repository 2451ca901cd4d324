package syscalls

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// flagName is one bit pattern of a flag word and KubeArmor's name for it.
type flagName struct {
	bits uint64
	name string
}

// oLargefile is O_LARGEFILE as the kernel means it; libc headers, and so x/sys,
// say 0 on 64-bit machines. arm64 moves it, and its neighbours, about.
const oLargefile = 0o100000 + (unix.O_DIRECTORY&0o40000)/0o40000*(0o400000-0o100000)

// openFlagNames lists open(2) flags in the order in which KubeArmor writes
// them (monitor/syscallParser.go), after the access mode.
var openFlagNames = [...]flagName{
	{unix.O_CREAT, "O_CREAT"},
	{unix.O_EXCL, "O_EXCL"},
	{unix.O_NOCTTY, "O_NOCTTY"},
	{unix.O_TRUNC, "O_TRUNC"},
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_SYNC, "O_SYNC"},
	{unix.O_ASYNC, "O_ASYNC"},
	{oLargefile, "O_LARGEFILE"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_CLOEXEC, "O_CLOEXEC"},
	{unix.O_DIRECT, "O_DIRECT"},
	{unix.O_NOATIME, "O_NOATIME"},
	{unix.O_PATH, "O_PATH"},
	{unix.O_TMPFILE &^ unix.O_DIRECTORY, "O_TMPFILE"},
}

// OpenFlags writes open(2) flags as KubeArmor does: the access mode, then the
// other flags, joined by "|". Bits that have no name are left out.
func OpenFlags(flags uint64) string {
	var b strings.Builder
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		b.WriteString("O_RDONLY")
	case unix.O_RDWR:
		b.WriteString("O_RDWR")
	default: // 3 asks for both rights without using either; KubeArmor tests the write bit first
		b.WriteString("O_WRONLY")
	}
	for _, f := range openFlagNames {
		if flags&f.bits == f.bits {
			b.WriteByte('|')
			b.WriteString(f.name)
		}
	}
	return b.String()
}

// ExecFlags writes execveat(2) flags as KubeArmor does; "0" for none.
func ExecFlags(flags uint64) string {
	var names []string
	for _, f := range []flagName{{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}, {unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}} {
		if flags&f.bits == f.bits {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, "|")
}

// flagWords writes the flags of a call that changes names, "" for none.
func flagWords(id ID, flags uint64) string {
	var known []flagName
	switch id {
	case Unlinkat:
		known = []flagName{{unix.AT_REMOVEDIR, "AT_REMOVEDIR"}}
	case Renameat2:
		known = []flagName{{unix.RENAME_NOREPLACE, "RENAME_NOREPLACE"}, {unix.RENAME_EXCHANGE, "RENAME_EXCHANGE"}, {unix.RENAME_WHITEOUT, "RENAME_WHITEOUT"}}
	default:
		known = []flagName{{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}}
	}
	var names []string
	for _, f := range known {
		if flags&f.bits == f.bits {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, "|")
}

// Data writes the Data field of an event in KubeArmor's form, such as
// "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY|O_CLOEXEC". flags is the open or
// exec flag word: for openat2 it is what the open_how structure says, for creat
// what creat stands for. Of other calls it is not used.
func (s *Spec) Data(args *[6]uint64, flags uint64) string {
	out := "syscall=SYS_" + strings.ToUpper(s.Name)
	if s.Dirfd != None && s.ID != Unlinkat && s.ID != Fchownat { // these two KubeArmor tells otherwise
		out += " fd=" + strconv.Itoa(int(int32(args[s.Dirfd])))
	}
	switch s.ID {
	case Execveat:
		out += " flag=" + ExecFlags(flags)
	case Open, Creat, Openat, Openat2:
		out += " flags=" + OpenFlags(flags)
	}
	if s.FD != None && s.words == nil {
		out += " fd=" + strconv.Itoa(int(int32(args[s.FD])))
	}
	return out + s.changeWords(args)
}

// changeWords is what a call that changes files says of the change.
func (s *Spec) changeWords(args *[6]uint64) (out string) {
	if s.Op != rules.FileWrite || s.ID == Creat {
		return ""
	}
	if s.Owner != None { // -1 leaves an owner as it is
		out += " userid=" + strconv.Itoa(int(int32(args[s.Owner]))) + " group=" + strconv.Itoa(int(int32(args[s.Owner+1])))
	}
	if s.Mode != None {
		out += " mode=" + fmt.Sprintf("%#o", uint32(args[s.Mode]))
	}
	switch {
	case s.ID == Fchownat:
		out += " mode=" + flagWords(s.ID, args[s.Flags]) // KubeArmor's word
	case s.Flags != None:
		out += " flags=" + flagWords(s.ID, args[s.Flags])
	case s.ID == Truncate:
		out += " length=" + strconv.FormatInt(int64(args[1]), 10)
	}
	return out
}
