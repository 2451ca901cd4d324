package dispatch

import "iter"

// span is a row of sequences, both ends included.
type span struct{ from, to uint64 }

// spans are the sequences of a tally, in the order in which they came.
type spans []span

// add takes in one more; it says whether that took a new span.
func (s *spans) add(seq uint64) (grown bool) {
	if n := len(*s); n > 0 && (*s)[n-1].to+1 == seq {
		(*s)[n-1].to = seq
		return false
	}
	*s = append(*s, span{seq, seq})
	return true
}

func (s spans) all() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, a := range s {
			for seq := a.from; seq <= a.to; seq++ {
				if !yield(seq) {
					return
				}
			}
		}
	}
}

// without gives what is left when one is taken out.
func (s spans) without(seq uint64) spans {
	left := make(spans, 0, len(s)+1)
	for _, a := range s {
		if seq < a.from || a.to < seq {
			left = append(left, a)
			continue
		}
		if a.from < seq {
			left = append(left, span{a.from, seq - 1})
		}
		if seq < a.to {
			left = append(left, span{seq + 1, a.to})
		}
	}
	return left
}

// drop takes the first one out.
func (s *spans) drop() {
	if first := &(*s)[0]; first.from < first.to {
		first.from++
		return
	}
	*s = (*s)[1:]
}
