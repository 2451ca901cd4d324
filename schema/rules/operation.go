package rules

// Operation is what a workload does, as far as policies and events tell it
// apart: one bit each, so that several are a set. The kernel filter, the rules,
// visibility, postures and events all speak of these. The zero Operation is
// none: calls that only change facts about a process.
type Operation uint8

// The operations. An open for writing, with O_CREAT or with O_TRUNC is a
// FileWrite, any other open a FileRead.
const (
	Process Operation = 1 << iota
	FileRead
	FileWrite
	Network
)

// File is both operations on files.
const File = FileRead | FileWrite

// String is the operation's name in KubeArmor's events.
func (op Operation) String() string {
	switch {
	case op == Process:
		return "Process"
	case op == Network:
		return "Network"
	case op != 0 && op&^File == 0:
		return "File"
	}
	return "Unknown"
}
