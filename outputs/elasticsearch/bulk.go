package elasticsearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
)

// maxID is the longest id that a document may have, in bytes.
const maxID = 512

// query asks for no more of the answer than read needs.
func query(pipeline string) string {
	q := url.Values{"filter_path": {"errors,items.*.status,items.*.error.type,error.type"}}
	if pipeline != "" {
		q.Set("pipeline", pipeline)
	}
	return q.Encode()
}

// add writes the two lines of one document. "create" with the event's id stores
// an event once, however often it is sent, and is the one action that data
// streams take.
func (o *output) add(b *bytes.Buffer, e *schema.Event) error {
	body, err := e.Body()
	if err != nil {
		return err
	}
	at := when(e).UTC()
	var action struct {
		Create struct {
			Index string `json:"_index"`
			ID    string `json:"_id,omitempty"`
		} `json:"create"`
	}
	action.Create.Index = o.index + at.Format(o.suffix)
	if len(e.ID) <= maxID {
		action.Create.ID = e.ID
	}
	line, err := json.Marshal(action)
	if err != nil {
		return err
	}
	b.Write(line)
	b.WriteByte('\n')
	fmt.Fprintf(b, `{"@timestamp":%q`, at.Format(time.RFC3339Nano))
	if len(body) > len("{}") {
		b.WriteByte(',')
	}
	b.Write(body[1:])
	b.WriteByte('\n')
	return nil
}

// when is the time that an index is chosen by and a document is found by.
func when(e *schema.Event) time.Time {
	if t := e.Time(); !t.IsZero() {
		return t
	}
	return e.Received
}

// answer is what the bulk API says about each document, in their order.
type answer struct {
	Errors bool              `json:"errors"`
	Items  []map[string]item `json:"items"` // one key each: the action
}

type item struct {
	Status int `json:"status"`
	Error  struct {
		Type string `json:"type"`
	} `json:"error"`
}

// read finds the documents that were not stored. Its class is that of those that
// may be stored later, if there are any: the others are refused again then.
func read(body []byte, n int) error {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return &outputs.Error{Class: outputs.Transient, Err: errors.New("the answer is not that of the bulk API of Elasticsearch")}
	}
	if len(a.Items) != n {
		return &outputs.Error{Class: outputs.Transient, Err: fmt.Errorf("bulk request to Elasticsearch: answered about %d of %d documents", len(a.Items), n)}
	}
	e := &outputs.Error{Class: outputs.Permanent}
	for i, actions := range a.Items {
		for _, it := range actions {
			class, ok := it.judge()
			if ok {
				continue
			}
			e.Failed = append(e.Failed, i)
			if e.Err == nil || (e.Class == outputs.Permanent && class != outputs.Permanent) {
				e.Class = class
				e.Err = fmt.Errorf("bulk request to Elasticsearch: %d %s%s", it.Status, http.StatusText(it.Status), it.reason())
			}
		}
	}
	if e.Err == nil {
		return nil
	}
	return e
}

// judge says what the status of a document means. 409 is an event that is there
// already.
func (it *item) judge() (class outputs.Class, ok bool) {
	if it.Status == http.StatusConflict {
		return 0, true
	}
	return httppost.Judge(it.Status)
}

// errorType is the form of Elasticsearch's names of errors.
var errorType = regexp.MustCompile(`^[a-z_]+$`)

// reason is the name of the error: its text repeats the document.
func (it *item) reason() string {
	if len(it.Error.Type) <= 80 && errorType.MatchString(it.Error.Type) {
		return ": " + it.Error.Type
	}
	return ""
}
