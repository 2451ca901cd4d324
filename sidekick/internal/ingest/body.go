package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// A body beyond smallBody waits for one of maxLargeBodies places, so that
	// many clients with large bodies do not fill the memory.
	smallBody      = 256 << 10
	maxLargeBodies = 4
	largeBodyWait  = 5 * time.Second

	// The window that a zstd decoder must have according to RFC 8878, §3.1.1.1.2.
	zstdWindow = 8 << 20
)

// refusal is why a request is not taken as a whole.
type refusal struct {
	status int
	reason string // metric label
	problem
}

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, problem: problem{Error: fmt.Sprintf(format, args...)}}
}

// body reads the body, uncompressed. release gives its memory free again.
func (h *handler) body(w http.ResponseWriter, r *http.Request) (body []byte, release func(), refused *refusal) {
	release = func() {}
	in, done, refused := h.inflate.reader(r.Header.Values("Content-Encoding"), http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if refused != nil {
		return nil, release, refused
	}
	defer done()

	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 {
		buf.Grow(int(min(n, smallBody)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(in, smallBody))
	if err == nil && buf.Len() == smallBody {
		select {
		case h.large <- struct{}{}:
			release = func() { <-h.large }
		case <-time.After(largeBodyWait):
			return nil, release, refuse(http.StatusServiceUnavailable, "busy", "too many large bodies at once")
		case <-r.Context().Done():
			return nil, release, refuse(http.StatusRequestTimeout, "aborted", "request was given up")
		}
		_, err = buf.ReadFrom(io.LimitReader(in, MaxBodyBytes-smallBody+1))
	}
	if refused := readError(err, buf.Len()); refused != nil {
		release()
		return nil, func() {}, refused
	}
	return buf.Bytes(), release, nil
}

func readError(err error, size int) *refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case size > MaxBodyBytes, errors.As(err, &tooLarge), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "body has more than %d bytes", MaxBodyBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "timeout", "body did not arrive in time")
	case err != nil:
		return refuse(http.StatusBadRequest, "malformed", "reading the body: %v", err)
	}
	return nil
}

// inflaters keeps decompressors for the next request: a new one costs far more
// than what it reads.
type inflaters struct {
	gzip, zstd sync.Pool
}

func newInflaters() *inflaters {
	return &inflaters{
		gzip: sync.Pool{New: func() any { return new(gzip.Reader) }},
		zstd: sync.Pool{New: func() any {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(MaxBodyBytes+1))
			if err != nil {
				panic(err) // the options are constants
			}
			return d
		}},
	}
}

// reader gives in uncompressed. done must be called when it has been read.
func (p *inflaters) reader(encodings []string, in io.Reader) (out io.Reader, done func(), refused *refusal) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(encodings, ","))); encoding {
	case "", "identity":
		return in, func() {}, nil
	case "gzip", "x-gzip":
		z := p.gzip.Get().(*gzip.Reader)
		if err := z.Reset(in); err != nil {
			p.gzip.Put(z)
			return nil, nil, refuse(http.StatusBadRequest, "malformed", "reading the body: %v", err)
		}
		return z, func() { p.gzip.Put(z) }, nil
	case "zstd":
		z := p.zstd.Get().(*zstd.Decoder)
		if err := z.Reset(in); err != nil {
			return nil, nil, refuse(http.StatusBadRequest, "malformed", "reading the body: %v", err)
		}
		return z, func() {
			// Without a reset the pool would keep the request's connection.
			if z.Reset(nil) == nil {
				p.zstd.Put(z)
			}
		}, nil
	default:
		return nil, nil, refuse(http.StatusUnsupportedMediaType, "encoding", "content encoding %q is not supported, use gzip or zstd", encoding)
	}
}
