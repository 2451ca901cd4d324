package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// DefaultDir chooses a state directory: systemd's $STATE_DIRECTORY, then
// $XDG_STATE_HOME/sidearmor, then /var/lib/sidearmor, whichever is the first that
// can be written. As the last resort it is a directory below the temporary one,
// and lasting is false: it may not survive a reboot.
func DefaultDir(getenv func(string) string) (dir string, lasting bool, err error) {
	var candidates []string
	if d := getenv("STATE_DIRECTORY"); d != "" {
		candidates = append(candidates, filepath.SplitList(d)[0])
	}
	if d := getenv("XDG_STATE_HOME"); d != "" {
		candidates = append(candidates, filepath.Join(d, "sidearmor"))
	}
	candidates = append(candidates, "/var/lib/sidearmor")
	for _, d := range candidates {
		if writable(d) == nil {
			return d, true, nil
		}
	}
	d := filepath.Join(os.TempDir(), "sidearmor-"+strconv.Itoa(os.Geteuid()))
	if err := private(d); err != nil {
		return "", false, fmt.Errorf("no directory for the queue, set QUEUE_DIR: %w", err)
	}
	return d, false, nil
}

// writable creates dir when it is missing and tries to write in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".write-test-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// private is writable for a place where everybody may create files: it takes a
// directory that exists only when nobody else can have put anything into it.
func private(dir string) error {
	if err := writable(dir); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not ours alone", dir)
	}
	return nil
}

// ErrInUse is why a directory cannot be opened that another process has.
var ErrInUse = errors.New("is in use by another sidekick")

// lockDir makes dir ours until the file that it returns is closed, which the
// kernel does for a process that was killed.
func lockDir(dir string) (*os.File, error) {
	if err := writable(dir); err != nil {
		return nil, fmt.Errorf("queue directory %s: %w", dir, err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("queue directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("queue directory %s %w: give each its own QUEUE_DIR", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// lowDisk is the free space below which nothing more is taken: the store shuts
// itself down when a write fails, so it must never come to that.
const lowDisk = 32 << 20

// tightDisk is the free space below which logs are refused.
const tightDisk = lowDisk + lowDisk/2

// shortDisk is the free space below which what was delivered makes room at once.
const shortDisk = 2 * lowDisk

func (q *Queue) checkDisk() {
	var st unix.Statfs_t
	if err := unix.Statfs(q.dir, &st); err != nil {
		return // the next write tells
	}
	q.diskTight.Store(st.Bavail*uint64(st.Bsize) < tightDisk)
	q.diskShort.Store(st.Bavail*uint64(st.Bsize) < shortDisk)
	low := st.Bavail*uint64(st.Bsize) < lowDisk
	if low != q.diskLow.Swap(low) {
		if low {
			q.log.Error("disk is nearly full, events are refused", "dir", q.dir, "least_free_bytes", lowDisk)
		} else {
			q.log.Info("disk has room again", "dir", q.dir)
		}
	}
}

// ifDiskFull says what the server does not always say of a start that failed.
func (q *Queue) ifDiskFull() string {
	var st unix.Statfs_t
	if err := unix.Statfs(q.dir, &st); err != nil || st.Bavail*uint64(st.Bsize) >= 1<<20 {
		return ""
	}
	return ", whose disk is full"
}
