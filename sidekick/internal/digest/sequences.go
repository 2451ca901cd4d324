package digest

import "iter"

// span is sequences that follow one another, both ends included.
type span struct{ from, to uint64 }

// Sequences are those of an aggregate, in order.
type Sequences []span

// add takes in one more; it says whether that took a new span.
func (s *Sequences) add(seq uint64) (grown bool) {
	if n := len(*s); n > 0 && (*s)[n-1].to+1 == seq {
		(*s)[n-1].to = seq
		return false
	}
	*s = append(*s, span{seq, seq})
	return true
}

// All gives each of them.
func (s Sequences) All() iter.Seq[uint64] {
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

// First is the one that came first. There must be one.
func (s Sequences) First() uint64 { return s[0].from }

// Highest is the highest of them, 0 of none.
func (s Sequences) Highest() (seq uint64) {
	for _, a := range s {
		seq = max(seq, a.to)
	}
	return seq
}

// without gives what is left when one is taken out.
func (s Sequences) without(seq uint64) Sequences {
	left := make(Sequences, 0, len(s)+1)
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

// dropFirst takes the first one out.
func (s *Sequences) dropFirst() {
	if first := &(*s)[0]; first.from < first.to {
		first.from++
		return
	}
	*s = (*s)[1:]
}
