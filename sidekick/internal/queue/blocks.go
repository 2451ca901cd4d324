package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/minio/highwayhash"
)

// The store's files of messages, as the server writes them: records without a
// gap, each of
//
//	length u32 | sequence u64 | time u64 | subject length u16 | subject | body | checksum u64
//
// in little endian. The length is of all of it; its highest bit says that the body
// begins with headers and their length. A record without subject and body marks a
// deleted message. The checksum is of sequence to body, but for a headers' length.
const (
	recordHead     = 22
	recordChecksum = 8
	recordMin      = recordHead + recordChecksum
	recordMax      = 32 << 20 // the server takes no longer one for sound
	recordHeaders  = 1 << 31  // bit of the length
)

// part is one of a file: from is in it, to is not.
type part struct{ from, to int }

func (p part) len() int { return p.to - p.from }

// blockHash makes the checksums of one file of messages.
func blockHash(stream string, index int) (hash.Hash64, error) {
	return streamHash(fmt.Sprintf("%s-%d", stream, index))
}

// streamHash makes the checksums that are keyed by a name, which no secret is.
func streamHash(name string) (hash.Hash64, error) {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, fmt.Errorf("make checksums: %w", err)
	}
	return h, nil
}

// scanBlock tells the records of a file from what is none. After damage it goes on
// with the next record whose checksum is right, where the server would give up the
// rest of the file.
func scanBlock(buf []byte, h hash.Hash64) (records, damage []part) {
	bad := -1
	for at := 0; at < len(buf); {
		n := recordAt(buf[at:], h)
		if n == 0 {
			if bad < 0 {
				bad = at
			}
			at++
			continue
		}
		if bad >= 0 {
			damage = append(damage, part{bad, at})
			bad = -1
		}
		records = append(records, part{at, at + n})
		at += n
	}
	if bad >= 0 {
		damage = append(damage, part{bad, len(buf)})
	}
	return records, damage
}

// recordAt gives the length of the record that buf begins with, 0 if it is none.
// It looks at the checksum last, so that a search at every byte is quick.
func recordAt(buf []byte, h hash.Hash64) int {
	if len(buf) < recordMin {
		return 0
	}
	length := binary.LittleEndian.Uint32(buf)
	subject := int(binary.LittleEndian.Uint16(buf[20:]))
	n := int(length &^ recordHeaders)
	body := recordHead + subject
	headers := length&recordHeaders != 0
	if headers {
		body += 4
	}
	if n > recordMax || n > len(buf) || body+recordChecksum > n || subject == 0 && n != recordMin {
		return 0
	}
	if !knownSubject(buf[recordHead : recordHead+subject]) {
		return 0
	}
	if headers && !soundHeaders(buf[body-4:n-recordChecksum]) {
		return 0
	}
	h.Reset()
	_, _ = h.Write(buf[4:20]) // a hash takes everything
	_, _ = h.Write(buf[recordHead : recordHead+subject])
	_, _ = h.Write(buf[body : n-recordChecksum])
	var sum [recordChecksum]byte
	if !bytes.Equal(h.Sum(sum[:0]), buf[n-recordChecksum:n]) {
		return 0
	}
	return n
}

// soundHeaders looks at what the checksum leaves out, the length of the headers, by
// how they begin and end.
func soundHeaders(body []byte) bool {
	length, body := binary.LittleEndian.Uint32(body), body[4:]
	return uint64(length) <= uint64(len(body)) &&
		bytes.HasPrefix(body[:length], []byte("NATS/1.0")) && bytes.HasSuffix(body[:length], []byte("\r\n\r\n"))
}

// recordID gives the ID by which a record's message is recognised when it comes
// again, "" if it has none.
func recordID(record []byte) string {
	body := record[recordHead+int(binary.LittleEndian.Uint16(record[20:])) : len(record)-recordChecksum]
	if binary.LittleEndian.Uint32(record)&recordHeaders == 0 {
		return batchID(body)
	}
	headers := body[4 : 4+binary.LittleEndian.Uint32(body)]
	_, value, ok := bytes.Cut(headers, []byte("\r\n"+headerID+": "))
	if !ok {
		return ""
	}
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	return string(value)
}

// knownSubject spares the checksum of most of what is no record.
func knownSubject(subject []byte) bool {
	return len(subject) == 0 || string(subject) == Alerts.subject() || string(subject) == Logs.subject() ||
		bytes.HasPrefix(subject, []byte("deadletters.")) || bytes.HasPrefix(subject, []byte("positions."))
}

// Bits of the sequence.
const (
	recordErased  = 1 << 63
	recordDeletes = 1 << 62 // the record is none of a message, but says that one is deleted
)

// recordSeq is the sequence that a record is about, and whether it deletes it.
func recordSeq(record []byte) (seq uint64, deletes bool) {
	seq = binary.LittleEndian.Uint64(record[4:])
	return seq &^ (recordErased | recordDeletes), seq&recordDeletes != 0
}
