package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// refusal is why a request is not taken as a whole.
type refusal struct {
	status int
	reason string        // metric label
	after  time.Duration // when to try again; 0 to leave it to the status
	problem
}

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, problem: problem{Error: fmt.Sprintf(format, args...)}}
}

// Error lets a refusal be given back where an error is.
func (r *refusal) Error() string { return r.problem.Error }

// body reads the body, uncompressed, into memory that it reserves. A compressed one is unpacked when
// all of it is here: a slow client costs what it has sent, and no decompressor.
func (h *handler) body(w http.ResponseWriter, r *http.Request, memory *reservation) ([]byte, *refusal) {
	encoding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ",")))
	if !known(encoding) {
		return nil, refuse(http.StatusUnsupportedMediaType, "encoding", "content encoding %q is not supported, use gzip or zstd", encoding)
	}
	if r.ContentLength > MaxBodyBytes {
		w.Header().Set("Connection", "close") // or else the body is read, to get past it
		return nil, readRefusal(&http.MaxBytesError{Limit: MaxBodyBytes})
	}
	body, err := memory.read(r.Context(), r.Body, r.ContentLength)
	if err != nil {
		return nil, readRefusal(err)
	}
	if h.arrived != nil {
		h.arrived(r.Context())
	}
	if encoding == "" || encoding == "identity" {
		return body, nil
	}
	if err := memory.take(r.Context(), unpacked, unpackedBytes); err != nil {
		return nil, readRefusal(err)
	}
	body, err = h.inflate.unpack(encoding, body)
	memory.shrink(bodies, 0)
	if err != nil {
		return nil, readRefusal(err)
	}
	return body, nil
}

// read reads what a client sends. What it says about the length is believed when an
// eighth of it is there.
func (h *reservation) read(ctx context.Context, in io.Reader, declared int64) ([]byte, error) {
	size := 4 << 10
	if declared >= 0 {
		size = int(min(declared+1, freeBody)) // one more, to see the end
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			size := grown(len(buf), declared)
			if size > freeBody {
				if err := h.take(ctx, bodies, int64(size)); err != nil {
					return nil, err
				}
			}
			buf = append(make([]byte, 0, size), buf...)
		}
		h.await(bodies)
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case !h.stay():
			return nil, errNoMemory
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// grown is the next size of a full buffer.
func grown(size int, declared int64) int {
	next := min(max(2*size, freeBody), MaxBodyBytes+1)
	if declared > int64(next) && declared <= 8*int64(size) {
		return int(declared) + 1
	}
	return next
}

func readRefusal(err error) *refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errNoMemory):
		return refuse(http.StatusServiceUnavailable, "busy", "%v", err)
	case errors.As(err, &tooLarge), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "body has more than %d bytes", MaxBodyBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "timeout", "body did not arrive in time")
	}
	return refuse(http.StatusBadRequest, "malformed", "reading the body: %v", err)
}
