package emit

const (
	// blockBytes is the room of one block, and maxShared the longest text that goes
	// into one. A longer one has memory of its own.
	blockBytes = 64 << 10
	maxShared  = blockBytes / 8
	// maxFreeBlocks bounds the blocks that are kept for later.
	maxFreeBlocks = 8
)

// block is memory for the texts of many lines, which are freed together: the lines
// of a kind come and go in order.
type block struct {
	text []byte
	used int // lines that are in it
}

// blocks are the memory of the lines of one kind.
type blocks struct {
	filling *block
	free    []*block
}

// store copies a text and says which block it is in, nil for none.
func (s *blocks) store(text []byte) ([]byte, *block) {
	if len(text) > maxShared {
		return append([]byte(nil), text...), nil
	}
	b := s.filling
	if b == nil || len(b.text)+len(text) > cap(b.text) {
		b = s.next()
	}
	at := len(b.text)
	b.text = append(b.text, text...)
	b.used++
	return b.text[at:len(b.text):len(b.text)], b
}

// next makes an empty block the one that is filled.
func (s *blocks) next() *block {
	if old := s.filling; old != nil && old.used == 0 {
		old.text = old.text[:0]
		return old
	}
	if n := len(s.free); n > 0 {
		s.filling, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.filling = &block{text: make([]byte, 0, blockBytes)}
	}
	return s.filling
}

// release gives up a line's place in its block.
func (s *blocks) release(b *block) {
	if b == nil {
		return
	}
	if b.used--; b.used > 0 {
		return
	}
	b.text = b.text[:0]
	if b != s.filling && len(s.free) < maxFreeBlocks {
		s.free = append(s.free, b)
	}
}
