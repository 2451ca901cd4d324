package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// MapsAnonymous says whether any of size bytes from start on is memory of the thread tid with no file behind it.
func (p *Process) MapsAnonymous(tid int, start, size uint64) (anonymous bool, err error) {
	err = p.Reach(tid, func() error {
		f, err := os.Open("/proc/" + strconv.Itoa(tid) + "/maps")
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<10)
		for lines.Scan() {
			from, to, inode, ok := parseMapping(lines.Bytes())
			if !ok {
				return fmt.Errorf("maps of thread %d: %q", tid, lines.Bytes())
			}
			if from >= start+size {
				break
			}
			if to > start && inode == 0 {
				anonymous = true
				return nil
			}
		}
		return lines.Err()
	})
	return anonymous, err
}

// parseMapping reads a line of /proc/PID/maps: range, rights, offset, device, inode, name.
func parseMapping(line []byte) (from, to, inode uint64, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 5 {
		return 0, 0, 0, false
	}
	low, high, _ := bytes.Cut(fields[0], []byte("-"))
	var errs [3]error
	from, errs[0] = strconv.ParseUint(string(low), 16, 64)
	to, errs[1] = strconv.ParseUint(string(high), 16, 64)
	inode, errs[2] = strconv.ParseUint(string(fields[4]), 10, 64)
	return from, to, inode, errs == [3]error{}
}
