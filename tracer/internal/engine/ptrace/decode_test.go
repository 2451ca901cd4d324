package ptrace

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseStatus(t *testing.T) {
	const text = "Name:\tTgid:\nUmask:\t0022\nTgid:\t42\nPid:\t43\nSigPnd:\t1\nShdPnd:\t2\nSigBlk:\t4\nSigCgt:\t0000000180004002\nSeccomp:\t2\nSeccomp_filters:\t3\n"
	if st, err := parseStatus([]byte(text)); err != nil || st != (status{leader: 42, pending: 3, blocked: 4, caught: 0x180004002, filters: 3}) {
		t.Errorf("%+v, %v", st, err)
	}
	for _, bad := range []string{"Tgid:\tx\n", "SigCgt:\t0x1\n", "Seccomp_filters:\t\n"} {
		if st, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, st)
		}
	}
}

// A process chooses its name, which stands in the file.
func FuzzParseStatus(f *testing.F) {
	f.Add("x\\nTgid: 1")
	f.Add("\t:Seccomp_filters:9")
	f.Fuzz(func(t *testing.T, name string) {
		if bytes.ContainsAny([]byte(name), "\n") {
			return // the kernel writes \n
		}
		st, err := parseStatus([]byte("Name:\t" + name + "\nTgid:\t42\nSigCgt:\t2\nSeccomp_filters:\t3\n"))
		if err != nil || st != (status{leader: 42, caught: 2, filters: 3}) {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// received is what a thread has received of a message with a descriptor.
func received(nonce []byte, fd uint32) []byte {
	b := make([]byte, atEnd-atNonce)
	copy(b, nonce)
	binary.NativeEndian.PutUint64(b[nonceSize:], controlLen)
	binary.NativeEndian.PutUint32(b[nonceSize+unix.SizeofCmsghdr:], fd)
	return b
}

func TestOpened(t *testing.T) {
	ours, theirs := bytes.Repeat([]byte{1}, nonceSize), bytes.Repeat([]byte{2}, nonceSize)
	for name, c := range map[string]struct {
		b      []byte
		size   int64
		fd     int
		forged bool
	}{
		"ours":           {received(ours, 7), nonceSize, 7, false},
		"short":          {received(ours, 7), nonceSize - 1, 7, true},
		"another's":      {received(theirs, 7), nonceSize, 7, true},
		"no descriptor":  {append(bytes.Clone(ours), make([]byte, atEnd-atNonce-nonceSize)...), nonceSize, -1, false},
		"no such number": {received(ours, 1<<32-1), nonceSize, -1, false},
	} {
		if fd, forged := opened(c.b, c.size, ours); fd != c.fd || forged != c.forged {
			t.Errorf("%s: %d, %v", name, fd, forged)
		}
	}
}

// What the thread has received stands in its memory, which others can write.
func FuzzOpened(f *testing.F) {
	nonce := bytes.Repeat([]byte{1}, nonceSize)
	f.Add(received(nonce, 7), int64(nonceSize))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		memory := make([]byte, atEnd-atNonce)
		copy(memory, b)
		fd, forged := opened(memory, size, nonce)
		if !forged && (size != nonceSize || !bytes.HasPrefix(memory, nonce)) || fd < -1 {
			t.Errorf("%d, %v of %x", fd, forged, memory)
		}
	})
}
