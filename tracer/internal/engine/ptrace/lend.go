package ptrace

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A thread lends what it has under a descriptor by sending it: it makes a socket, sends
// the descriptor to one of the service's, and closes its own. Then it stands where it has
// stopped, at the beginning of the held call. Another thread of the process can have it
// send something else. So what has come is what must be asked about, and used.

// lend gives a descriptor of the service's own for what a stopped thread has under fd.
func (s *service) lend(tid, fd int) (int, error) {
	if own, ok := s.lent[fd]; ok {
		return unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
	}
	in, err := s.begin(tid, &s.regs, false)
	if err != nil {
		return -1, fmt.Errorf("lend descriptor %d of thread %d: %w", fd, tid, err)
	}
	own, err := in.handOver(fd)
	if errors.Is(err, errGone) {
		return -1, err
	}
	if rewindErr := in.rewind(); rewindErr != nil {
		err = errors.Join(err, rewindErr)
	}
	var refused refusal
	switch {
	case err == nil:
	case errors.As(err, &refused) && unix.Errno(refused) == unix.EBADF:
		err = unix.EBADF
	default:
		err = fmt.Errorf("lend descriptor %d of thread %d: %w", fd, tid, err)
	}
	if err != nil {
		if own >= 0 {
			unix.Close(own)
		}
		return -1, err
	}
	return own, s.keepLent(fd, own)
}

// keepLent keeps a copy for as long as the call is looked at: where another thread is
// to look at it again, the caller sends nothing any more.
func (s *service) keepLent(fd, own int) error {
	kept, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(own)
		return err
	}
	if s.lent == nil {
		s.lent = map[int]int{}
	}
	s.lent[fd] = kept
	return nil
}

// takeBack closes what was lent.
func takeBack(lent map[int]int) {
	for _, own := range lent {
		unix.Close(own)
	}
}

// handOver has the thread send fd to the service.
func (in *injection) handOver(fd int) (int, error) {
	if err := in.mayInject(); err != nil {
		return -1, err
	}
	var random [2 * nonceSize]byte
	_, _ = rand.Read(random[:]) // never fails
	name, nonce := hex.EncodeToString(random[:nonceSize]), random[nonceSize:]
	receiver, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(receiver)
	if err := unix.Bind(receiver, &unix.SockaddrUnix{Name: "@" + name}); err != nil {
		return -1, err
	}
	socket, err := in.call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	page, err := in.memory()
	if err == nil {
		err = in.write(page, outgoing(page, name, nonce, fd))
	}
	if err == nil {
		_, err = in.call(unix.SYS_SENDMSG, uint64(socket), page+atHeader, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	if errors.Is(err, errGone) {
		return -1, err
	}
	if _, closeErr := in.call(unix.SYS_CLOSE, uint64(socket)); errors.Is(closeErr, errGone) {
		return -1, closeErr
	}
	in.putBack(page)
	if err != nil {
		return -1, err
	}
	return arrived(receiver, nonce)
}

// arrived takes the descriptor that was sent with a nonce. Others can send to the socket, too.
func arrived(receiver int, nonce []byte) (int, error) {
	for range maxForged {
		var data [nonceSize + 1]byte
		control := make([]byte, controlLen)
		n, oobn, _, _, err := unix.Recvmsg(receiver, data[:], control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != nil {
			return -1, fmt.Errorf("receiving a descriptor: %w", err)
		}
		own := -1
		if oobn == controlLen {
			own = int(int32(binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr:])))
		}
		if own >= 0 && bytes.Equal(data[:n], nonce) {
			return own, nil
		}
		if own >= 0 {
			unix.Close(own)
		}
	}
	return -1, errors.New("receiving a descriptor: others send to the socket")
}

// outgoing is what the memory for injected calls holds to send a descriptor.
func outgoing(page uint64, name string, nonce []byte, fd int) []byte {
	b := layout(page, name)
	put := func(at int, v uint64) { binary.NativeEndian.PutUint64(b[at:], v) }
	put(atHeader, page+atAddress)
	put(atHeader+8, uint64(2+1+len(name)))
	copy(b[atNonce:], nonce)
	put(atControl, controlLen)
	put(atControl+8, unix.SOL_SOCKET|unix.SCM_RIGHTS<<32)
	put(atControl+unix.SizeofCmsghdr, uint64(uint32(fd)))
	return b
}
