package interrupt_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

func TestThreadIsCalledBack(t *testing.T) {
	for range 2 {
		if err := interrupt.Catch(); err != nil {
			t.Fatal(err)
		}
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	tid, result := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		_, err := unix.Read(p[0], make([]byte, 1))
		result <- err
	}()
	id := <-tid
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-result:
			if err != unix.EINTR {
				t.Errorf("the read failed with %v", err)
			}
			return
		case <-tick.C:
			interrupt.Thread(id)
		case <-t.Context().Done():
			t.Fatal("the read still waits")
		}
	}
}
