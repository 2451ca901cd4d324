package supervise

import (
	"encoding/binary"
	"strings"
	"testing"
)

// asking is a query for a name, as resolvers send it.
func asking(name string, kind uint16) []byte {
	b := []byte{0x12, 0x34, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	b = binary.BigEndian.AppendUint16(append(b, 0), kind)
	return append(b, 0, 1, 0, 0, 41, 4, 176, 0, 0, 0, 0, 0, 0) // its class, and EDNS
}

func overTCP(query []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
}

func TestDecodeQuery(t *testing.T) {
	for _, c := range []struct {
		data []byte
		name string
		kind string
	}{
		{asking("example.com", 1), "example.com", "A"},
		{asking("WWW.Example.com.", 28), "WWW.Example.com", "AAAA"},
		{asking("_ldap._tcp.example.com", 33), "_ldap._tcp.example.com", "SRV"},
		{asking(".", 2), "", "NS"},
		{overTCP(asking("example.com", 16)), "example.com", "TXT"},
		{asking("a\x00 b\\.c", 999), `a\000\032b\092.c`, "999"},
	} {
		q, ok := decodeQuery(c.data)
		if !ok || q.name != c.name || q.kindName() != c.kind {
			t.Errorf("%q: %+v, %v, want %s %s", c.data, q, ok, c.name, c.kind)
		}
	}
	answer, update, two := asking("a.b", 1), asking("a.b", 1), asking("a.b", 1)
	answer[2] |= 0x80
	update[2] |= 5 << 3
	two[5] = 2
	for _, data := range [][]byte{nil, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), answer, update, two, asking("a.b", 1)[:14], append(asking("a", 1)[:12], 0xc0, 12, 0, 1, 0, 1)} {
		if q, ok := decodeQuery(data); ok {
			t.Errorf("%q: %+v", data, q)
		}
	}
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add(asking("example.com", 1))
	f.Add(overTCP(asking("a.b", 28)))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, ok := decodeQuery(data)
		if ok && (strings.ContainsAny(q.name, " \x00\n") || len(q.name) > 4*maxName+4*64 || q.kindName() == "") {
			t.Errorf("%q: %+v", data, q)
		}
	})
}
