package policies

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

// events reads server-sent events, as the HTML Standard has them (section 9.2):
// their data alone.
type events struct {
	in    *bufio.Reader
	alive func() // called for each line, also of what only says that there is a connection
}

var errTooLong = errors.New("a message is too long")

// next gives the data of the next event. Its error is the reader's, or says that an
// event is too long.
func (e *events) next() ([]byte, error) {
	var data []byte
	for {
		line, err := e.line(policystream.MaxState + 64 - len(data))
		if err != nil {
			return nil, err
		}
		e.alive()
		if len(line) == 0 {
			if len(data) > 0 {
				return data, nil
			}
			continue
		}
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		}
	}
}

// line gives a line without its end.
func (e *events) line(most int) ([]byte, error) {
	var all []byte
	for {
		part, err := e.in.ReadSlice('\n')
		if all = append(all, part...); len(all) > most {
			return nil, errTooLong
		}
		switch {
		case err == nil:
			return bytes.TrimRight(all, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the stream has ended: %w", err)
		default:
			return nil, err
		}
	}
}
