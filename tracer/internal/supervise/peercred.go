package supervise

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// The kernel tells the other side of a Unix socket who has connected it: for a
// connection that was made in the place of the workload, the tracer. The user and the
// group are right, for the thread has them; the process is put right here, where one of
// the workload asks.

// connections are the Unix sockets that were connected here, by their inodes, and for
// which process.
type connections struct {
	some    atomic.Bool
	mu      sync.Mutex
	callers map[uint64]int
}

// maxConnections bounds them; of more, those are forgotten that come first.
const maxConnections = 16384

func (s *connections) add(fd, pid int) {
	id, err := process.Identify(fd, "")
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callers == nil {
		s.callers = map[uint64]int{}
	}
	for old := range s.callers {
		if len(s.callers) < maxConnections {
			break
		}
		delete(s.callers, old)
	}
	s.callers[id.Ino] = pid
	s.some.Store(true)
}

func (s *connections) caller(inode uint64) (pid int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, ok = s.callers[inode]
	return pid, ok
}

// peerCredentials answers getsockopt(SO_PEERCRED).
func (w *worker) peerCredentials(c *call) engine.Answer {
	if !w.connections.some.Load() {
		return engine.Continue()
	}
	fd, err := c.own(int(int32(c.Args[c.Spec.FD])))
	if err != nil {
		return engine.Continue()
	}
	defer unix.Close(fd)
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(cred.Pid) != os.Getpid() {
		return engine.Continue()
	}
	id, err := process.Identify(fd, "")
	if err != nil {
		return engine.Continue()
	}
	peer, err := peerOf(uint32(id.Ino))
	if err != nil {
		return engine.Continue()
	}
	pid, ok := w.connections.caller(uint64(peer))
	if !ok || !c.Hold.Valid() {
		return engine.Continue()
	}
	if err := c.writeCredentials(pid, cred); err != nil {
		return w.failed(c, err)
	}
	return engine.Return(0)
}

// writeCredentials writes struct ucred to where the caller wants it, as far as it has
// room.
func (c *call) writeCredentials(pid int, cred *unix.Ucred) error {
	var size [4]byte
	if err := c.process.ReadMemory(c.TID, c.Args[4], size[:]); err != nil {
		return err
	}
	room := int32(binary.NativeEndian.Uint32(size[:]))
	if room < 0 {
		return unix.EINVAL
	}
	var b []byte
	for _, word := range []uint32{uint32(pid), cred.Uid, cred.Gid} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	b = b[:min(int(room), len(b))]
	binary.NativeEndian.PutUint32(size[:], uint32(len(b)))
	if err := c.process.WriteMemory(c.TID, c.Args[3], b); err != nil {
		return err
	}
	return c.process.WriteMemory(c.TID, c.Args[4], size[:])
}

// What sock_diag(7) takes and gives for one Unix socket (linux/unix_diag.h).
const (
	sockDiagByFamily = 20
	unixDiagShowPeer = 4 // in the request
	unixDiagPeer     = 2 // of an attribute
	unixDiagRequest  = 24
	unixDiagMessage  = 16
)

// peerOf gives the inode of the Unix socket that the one with an inode is connected to.
func peerOf(inode uint32) (uint32, error) {
	diag, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(diag)
	e := binary.NativeEndian
	r := make([]byte, unix.NLMSG_HDRLEN+unixDiagRequest)
	e.PutUint32(r, uint32(len(r)))
	e.PutUint16(r[4:], sockDiagByFamily)
	e.PutUint16(r[6:], unix.NLM_F_REQUEST)
	body := r[unix.NLMSG_HDRLEN:]
	body[0] = unix.AF_UNIX
	e.PutUint32(body[4:], ^uint32(0)) // in any state
	e.PutUint32(body[8:], inode)
	e.PutUint32(body[12:], unixDiagShowPeer)
	e.PutUint64(body[16:], ^uint64(0)) // no cookie
	if err := unix.Sendto(diag, r, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(diag, answer, unix.MSG_DONTWAIT) // it is there when the request returns
	if err != nil || n < unix.NLMSG_HDRLEN+unixDiagMessage || e.Uint16(answer[4:]) != sockDiagByFamily {
		return 0, unix.ENOENT
	}
	for at := answer[unix.NLMSG_HDRLEN+unixDiagMessage : n]; len(at) >= 8; {
		length := int(e.Uint16(at))
		if e.Uint16(at[2:]) == unixDiagPeer && length >= 8 {
			return e.Uint32(at[4:]), nil
		}
		if length = (length + 3) &^ 3; length < 4 || length > len(at) {
			break
		}
		at = at[length:]
	}
	return 0, unix.ENOENT
}
