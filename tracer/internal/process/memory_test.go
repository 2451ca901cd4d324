package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

// place puts data right before memory that is not mapped.
func place(v *processtest.Victim, data string) uint64 {
	return v.Do(command{Op: "place", Data: []byte(data)}).Addr
}

func TestReadString(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	long := strings.Repeat("0123456789abcdef", 4096/16)
	for _, tt := range []struct {
		name, data string
		limit      int
		want       string
		err        error
	}{
		{"at the end of a page", "/etc/passwd\x00", 4096, "/etc/passwd", nil},
		{"empty", "\x00", 4096, "", nil},
		{"no NUL before the page ends", "/etc/passwd", 4096, "", unix.EFAULT},
		{"no NUL in a whole page", long, 8192, "", unix.EFAULT},
		{"PATH_MAX", long[1:] + "\x00", 4096, long[1:], nil},
		{"one too many", long + "\x00", 4096, "", unix.ENAMETOOLONG},
		{"two pages", long + long[1:] + "\x00", 8192, long + long[1:], nil},
		{"over a page's edge", long[:100] + "\x00" + long, 4096, long[:100], nil},
		{"longer than the scratch buffer", strings.Repeat(long, 4) + "\x00", 5 * 4096, strings.Repeat(long, 4), nil},
		{"no room", "\x00", 0, "", unix.ENAMETOOLONG},
		{"negative room", "\x00", -1, "", unix.ENAMETOOLONG},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := p.ReadString(v.PID, place(v, tt.data), tt.limit)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%d bytes, %v; want %d, %v", len(got), err, len(tt.want), tt.err)
			}
		})
	}
}

func TestReadFromNowhere(t *testing.T) {
	table := newTable(t, Options{})
	v := processtest.Start(t)
	p := get(t, table, v.PID)
	end := place(v, "x") + 1
	for _, addr := range []uint64{0, 1, end, 1 << 47, 1<<63 - 1, 1 << 63, ^uint64(0)} {
		if s, err := p.ReadString(v.PID, addr, 4096); !errors.Is(err, unix.EFAULT) {
			t.Errorf("string at %#x: %q, %v", addr, s, err)
		}
		if err := p.ReadMemory(v.PID, addr, make([]byte, 16)); !errors.Is(err, unix.EFAULT) {
			t.Errorf("memory at %#x: %v", addr, err)
		}
	}
	if err := p.ReadMemory(v.PID, end-1, make([]byte, 2)); !errors.Is(err, unix.EFAULT) {
		t.Errorf("memory that ends too early: %v", err)
	}
	v.Stop()
	if err := p.ReadMemory(v.PID, end-1, make([]byte, 1)); err == nil {
		t.Error("a dead process was read")
	}
}

func TestReadMemoryOverPages(t *testing.T) {
	v := processtest.Start(t)
	p := get(t, newTable(t, Options{}), v.PID)
	data := bytes.Repeat([]byte("sidearmor"), 5000)
	got := make([]byte, len(data))
	if err := p.ReadMemory(v.PID, place(v, string(data)), got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other data, %v", err)
	}
}

// placeStrings lays out an array of pointers as execve takes it.
func placeStrings(v *processtest.Victim, strs []string, end string) uint64 {
	addr := place(v, strings.Join(append(strs, ""), "\x00"))
	var array []byte
	for _, s := range strs {
		array = binary.NativeEndian.AppendUint64(array, addr)
		addr += uint64(len(s) + 1)
	}
	return place(v, string(array)+end)
}

const null = "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestReadStrings(t *testing.T) {
	v := processtest.Start(t)
	table := newTable(t, Options{})
	many := make([]string, 1500)
	for i := range many {
		many[i] = fmt.Sprintf("argument number %d", i)
	}
	mixed := []string{"sh", "-c", strings.Repeat("long ", 3000), "", "x", strings.Repeat("y", batchRead-1), strings.Repeat("z", batchRead)}
	for _, tt := range []struct {
		name        string
		strs        []string
		end         string
		count, size int
		want        []string
		truncated   bool
		err         error
	}{
		{"none", nil, null, 100, 1000, nil, false, nil},
		{"few", []string{"ls", "-l"}, null, 100, 1000, []string{"ls", "-l"}, false, nil},
		{"many", many, null, 2000, 1 << 20, many, false, nil},
		{"mixed", mixed, null, 100, 1 << 20, mixed, false, nil},
		{"too many", many, null, 700, 1 << 20, many[:700], true, nil},
		{"too long", []string{"abc", "defgh", "i"}, null, 10, 5, []string{"abc", "de"}, true, nil},
		{"exactly", []string{"abc", "de"}, null, 10, 5, []string{"abc", "de"}, false, nil},
		{"the array does not end", []string{"a", "b"}, "", 10, 1000, []string{"a", "b"}, false, unix.EFAULT},
		{"part of a pointer", []string{"a"}, "\x00\x00\x00", 10, 1000, []string{"a"}, false, unix.EFAULT},
		{"unaligned", []string{"a"}, null + "\x00", 10, 1000, []string{"a"}, false, nil},
		{"a bad pointer", []string{"a"}, "\x01" + null[1:] + null, 10, 1000, []string{"a"}, false, unix.EFAULT},
	} {
		for _, viaFile := range []bool{false, true} {
			p := get(t, table, v.PID)
			p.noVMReadv = viaFile
			got, truncated, err := p.ReadStrings(v.PID, placeStrings(v, tt.strs, tt.end), tt.count, tt.size)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || truncated != tt.truncated || !errors.Is(err, tt.err) {
				t.Errorf("%s (by file: %v): %d strings, truncated %v, %v; want %d, %v, %v",
					tt.name, viaFile, len(got), truncated, err, len(tt.want), tt.truncated, tt.err)
			}
			p.noVMReadv = false
		}
	}
	strs, truncated, err := get(t, table, v.PID).ReadStrings(v.PID, 0, 10, 10)
	if strs != nil || truncated || err != nil {
		t.Errorf("null array: %v, %v, %v", strs, truncated, err)
	}
}
