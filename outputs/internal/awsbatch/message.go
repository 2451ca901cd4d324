package awsbatch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Message is an event's JSON for SQS and SNS, which take only characters of XML: the
// two that JSON may have as they are and XML may not are written as escapes. A
// workload could otherwise keep its alerts from being taken by the name of a file.
func Message(e *schema.Event) ([]byte, error) {
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	body = bytes.ReplaceAll(body, []byte("\ufffe"), []byte(`\ufffe`))
	return bytes.ReplaceAll(body, []byte("\uffff"), []byte(`\uffff`)), nil
}

// FIFO are what queues and topics that keep order ask for: the events of a container
// are in order, and an event that is sent again is not a second one.
func FIFO(e *schema.Event) (group, id string) {
	return hash(summary.Place(e)), hash(e.ID)
}

// hash makes of any text one of the characters that names may have.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
