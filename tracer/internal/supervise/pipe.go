package supervise

import (
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// pipeLook is how often, in milliseconds, a named pipe is looked at that nothing
// tells of: a pipe does not say when its other side is opened.
const pipeLook = 10

// openPipe opens a named pipe for one side and gives it to the caller once there
// is another side, as fifo(7) says. It never waits in open(2) itself: a thread
// could not be called back from there when the caller dies.
func openPipe(c *engine.Call, p *process.Process, file *paths.Result, how openHow) opened {
	fifo, err := unix.FcntlInt(uintptr(file.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return opened{errno: unix.EMFILE}
	}
	call := *c // the engine reuses it
	how.flags |= unix.O_NONBLOCK
	side := writeSide
	if how.flags&unix.O_ACCMODE == unix.O_RDONLY {
		side = readSide
	}
	return opened{later: func(stillHeld func() bool) opened {
		defer unix.Close(fifo)
		o := opened{fd: -1}
		for {
			if o.fd < 0 {
				o = reopen(&call, p, fifo, how)
			}
			if done, answer := side(o); done {
				return answer
			}
			await(p, o.fd)
			if !stillHeld() {
				if o.fd >= 0 {
					unix.Close(o.fd)
				}
				return opened{errno: unix.EINTR}
			}
		}
	}}
}

// await waits until it is time to look again: something has come into the pipe
// fd (-1 for none), or the process has died and must not be counted as a reader
// any longer, or a moment has passed.
func await(p *process.Process, fd int) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}}
	if pidfd, err := unix.PidfdOpen(p.PID(), 0); err == nil {
		defer unix.Close(pidfd)
		poll[1].Fd = int32(pidfd)
	}
	_, _ = unix.Poll(poll, pipeLook) // whatever it says, it is time to look
}

// writeSide is done when there is a reader: ENXIO says that there is none yet.
func writeSide(o opened) (bool, opened) {
	if o.errno == unix.ENXIO {
		return false, o
	}
	return true, blocking(o)
}

// readSide is done when there is a writer, or has been one.
func readSide(o opened) (bool, opened) {
	if o.errno != 0 {
		return true, o
	}
	poll := []unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err == nil && n == 0 && !hasWriter(o.fd) {
		return false, o
	}
	return true, blocking(o)
}

// hasWriter asks whether an empty pipe has a writer now. tee(2) takes nothing
// out of it: with a writer there could be something to come (EAGAIN), without
// one there is the end of the file.
func hasWriter(fd int) bool {
	var sink [2]int
	if unix.Pipe2(sink[:], unix.O_CLOEXEC) != nil {
		return true
	}
	defer unix.Close(sink[0])
	defer unix.Close(sink[1])
	n, err := unix.Tee(fd, sink[1], 1, unix.SPLICE_F_NONBLOCK)
	return n > 0 || err == unix.EAGAIN
}

// blocking takes back O_NONBLOCK, which the caller did not ask for.
func blocking(o opened) opened {
	if o.errno != 0 {
		return o
	}
	flags, err := unix.FcntlInt(uintptr(o.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	}
	if err != nil {
		unix.Close(o.fd)
		return opened{errno: unix.EIO}
	}
	return o
}
