package supervise

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Sizes of struct msghdr and struct mmsghdr of 64-bit machines (sendmmsg(2)), and
// bounds of the kernel's.
const (
	msghdrSize  = 56
	mmsghdrSize = 64
	maxMessages = 1024 // UIO_MAXIOV: no more are sent at once
	maxVectors  = 1024 // the same, of one message
	maxControl  = 64 << 10
	// maxData is how much of a stream is read at once, and more than a datagram can be.
	maxData = 1 << 20
)

// message is one that the caller sends.
type message struct {
	to      sockaddr
	vectors []unix.RemoteIovec // where its data are
	size    int
	control []byte
}

// sendsTo answers the calls that can send to an address: sendto where it has one,
// and the others, whose messages have theirs in memory.
func (w *worker) sendsTo(c *call) engine.Answer {
	if w.asks(c) {
		return engine.Fail(unix.EACCES)
	}
	if c.Spec.Op == rules.NetworkDNS {
		return engine.Continue()
	}
	u := socketUse{op: rules.NetworkSend, fd: -1}
	if c.flags()&unix.MSG_FASTOPEN != 0 {
		u.op = rules.Network // it opens a connection by what it sends
	}
	if u.op == rules.Network && w.couldDeny(c, u.op) || w.couldDenyEndpoint(c, u.op) {
		if err := w.borrow(c, &u); err != nil {
			return w.unknownUse(c, err)
		}
		if u.fd >= 0 {
			defer u.close()
			return w.carrySends(c, &u)
		}
	}
	if (c.rules.Wants()|w.Visible())&u.op == 0 {
		return engine.Continue()
	}
	for i := range c.messages() {
		var err error
		if u.to, err = c.name(i); err != nil {
			return w.unknownUse(c, err)
		}
		if u.to.raw == nil {
			continue
		}
		if a := w.uses(c, &u, nil); !a.Continues() || u.op == rules.Network {
			return a // of several messages, the first opens the connection
		}
	}
	return engine.Continue()
}

// messages is how many messages the call sends.
func (c *call) messages() int {
	if c.Spec.ID != syscalls.Sendmmsg {
		return 1
	}
	return int(min(uint32(c.Args[c.Spec.Msg+1]), maxMessages))
}

// header is where the struct msghdr of a message is.
func (c *call) header(message int) uint64 {
	return c.Args[c.Spec.Msg] + uint64(message)*mmsghdrSize
}

// name reads the address of a message; it is nil where it has none.
func (c *call) name(message int) (sockaddr, error) {
	if c.Spec.Msg == syscalls.None {
		return readName(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1])
	}
	var b [16]byte // struct msghdr begins with the address of the name and its length
	if err := c.process.ReadMemory(c.TID, c.header(message), b[:]); err != nil {
		return sockaddr{}, err
	}
	return nameOf(c, b[:])
}

// nameOf reads the name of a struct msghdr. The kernel takes no more than it may be
// long.
func nameOf(c *call, header []byte) (sockaddr, error) {
	length := int32(binary.NativeEndian.Uint32(header[8:]))
	return readName(c, binary.NativeEndian.Uint64(header), uint64(min(length, maxSockaddr)))
}

func readName(c *call, addr, length uint64) (sockaddr, error) {
	if addr == 0 {
		return sockaddr{}, nil
	}
	to, err := readSockaddr(c, addr, length)
	if raw := to.raw; len(raw) >= 8 && binary.NativeEndian.Uint16(raw) == unix.AF_UNSPEC {
		// The kernel takes it for an IPv4 address where the socket is one for that.
		as := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
		to = decodeSockaddr(append(as, raw[2:]...))
		to.raw = raw
	}
	return to, err
}

// readMessage reads a message but for its data.
func (w *worker) readMessage(c *call, number int) (m message, err error) {
	switch c.Spec.ID {
	case syscalls.Sendto, syscalls.Write:
		m.vectors = []unix.RemoteIovec{{Base: uintptr(c.Args[1]), Len: int(min(c.Args[2], 1<<31-1))}}
		m.size = m.vectors[0].Len
		if c.Spec.Addr != syscalls.None {
			m.to, err = c.name(number)
		}
		return m, err
	case syscalls.Writev:
		return m, m.readVectors(c, c.Args[1], c.Args[2])
	}
	var b [msghdrSize]byte
	if err := c.process.ReadMemory(c.TID, c.header(number), b[:]); err != nil {
		return m, err
	}
	if m.to, err = nameOf(c, b[:]); err != nil {
		return m, err
	}
	control := binary.NativeEndian.Uint64(b[40:])
	if control > maxControl {
		return m, unix.ENOBUFS
	}
	if err := m.readVectors(c, binary.NativeEndian.Uint64(b[16:]), binary.NativeEndian.Uint64(b[24:])); err != nil {
		return m, err
	}
	m.control = make([]byte, control)
	return m, c.process.ReadMemory(c.TID, binary.NativeEndian.Uint64(b[32:]), m.control)
}

// readVectors reads where the data of a message are.
func (m *message) readVectors(c *call, addr, count uint64) error {
	if count > maxVectors {
		return unix.EMSGSIZE
	}
	vectors := make([]byte, 16*count)
	if err := c.process.ReadMemory(c.TID, addr, vectors); err != nil {
		return err
	}
	for v := vectors; len(v) > 0; v = v[16:] {
		n := binary.NativeEndian.Uint64(v[8:])
		if n > 1<<31-1 || m.size > 1<<31-1-int(n) {
			return unix.EINVAL
		}
		m.vectors = append(m.vectors, unix.RemoteIovec{Base: uintptr(binary.NativeEndian.Uint64(v)), Len: int(n)})
		m.size += int(n)
	}
	return nil
}

// data reads up to maxData bytes of a message, from one of its bytes on.
func (m *message) data(c *call, from int) ([]byte, error) {
	data := make([]byte, 0, min(m.size-from, maxData))
	for _, v := range m.vectors {
		if from >= v.Len {
			from -= v.Len
			continue
		}
		n := min(v.Len-from, cap(data)-len(data))
		if err := c.process.ReadMemory(c.TID, uint64(v.Base)+uint64(from), data[len(data):len(data)+n]); err != nil {
			return data, err
		}
		data, from = data[:len(data)+n], 0
	}
	return data, nil
}
