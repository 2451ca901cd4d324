package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is the window that a decoder must have according to RFC 8878,
	// §3.1.1.1.2.
	zstdWindow = 8 << 20
	// zstdBlock is the largest that comes out at a time (§3.1.1.2.4).
	zstdBlock = 128 << 10

	// spaceIdle is how long space is kept that nobody uses.
	spaceIdle = 10 * time.Second
)

// known says whether bodies with this content encoding can be read.
func known(encoding string) bool {
	switch encoding {
	case "", "identity", "gzip", "x-gzip", "zstd":
		return true
	}
	return false
}

// inflater uncompresses one body at a time. What it does that with is kept for the
// next one: to make it costs far more than to use it, and how large a body gets is
// not known before, so that many make much garbage.
type inflater struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder

	mu    sync.Mutex
	space []byte // nil when it has not been needed for spaceIdle
	drop  *time.Timer
}

func newInflater() *inflater {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(MaxBodyBytes))
	if err != nil {
		panic(err) // the options are constants
	}
	return &inflater{gzip: new(gzip.Reader), zstd: z}
}

// unpack gives body uncompressed.
func (p *inflater) unpack(encoding string, body []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.space == nil {
		p.space = make([]byte, 0, MaxBodyBytes+zstdBlock)
		p.drop = time.AfterFunc(spaceIdle, p.forget)
	}
	p.drop.Reset(spaceIdle)
	inflate := p.gunzip
	if encoding == "zstd" {
		inflate = p.zstd.DecodeAll // at once: with no window beside what comes out
	}
	out, err := inflate(body, p.space)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(out), nil
}

func (p *inflater) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.space = nil
}

func (p *inflater) gunzip(body, out []byte) ([]byte, error) {
	if err := p.gzip.Reset(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	defer func() { _ = p.gzip.Reset(bytes.NewReader(nil)) }() // or else it would keep the body
	for len(out) <= MaxBodyBytes {
		n, err := p.gzip.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, &http.MaxBytesError{Limit: MaxBodyBytes}
}
