package queue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// span is a row of sequences, both ends included.
type span struct{ from, to uint64 }

// spans are rows of sequences, ascending, that do not touch.
type spans []span

// add takes in a sequence higher than all before.
func (s spans) add(seq uint64) spans {
	if n := len(s); n > 0 && s[n-1].to+1 == seq {
		s[n-1].to = seq
		return s
	}
	return append(s, span{seq, seq})
}

func (s spans) has(seq uint64) bool {
	i, found := slices.BinarySearchFunc(s, seq, func(a span, seq uint64) int {
		switch {
		case a.to < seq:
			return -1
		case a.from > seq:
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// without gives what is left when the sequences, which must be ascending, are
// taken out.
func (s spans) without(seqs []uint64) spans {
	left := make(spans, 0, len(s)+1)
	for _, a := range s {
		for len(seqs) > 0 && seqs[0] <= a.to {
			seq := seqs[0]
			seqs = seqs[1:]
			if seq < a.from {
				continue // not there
			}
			if seq > a.from {
				left = append(left, span{a.from, seq - 1})
			}
			a.from = seq + 1
		}
		if a.from <= a.to {
			left = append(left, a)
		}
	}
	return left
}

// upTo gives what is not beyond last.
func (s spans) upTo(last uint64) spans {
	for i := range s {
		if s[i].from > last {
			return s[:i]
		}
		s[i].to = min(s[i].to, last)
	}
	return s
}

// count is how many sequences there are.
func (s spans) count() (n uint64) {
	for _, a := range s {
		n += a.to - a.from + 1
	}
	return n
}

// maxSpans bounds a stored position to some 40 KB.
const maxSpans = 1000

// position is how far an output has come in a stream: everything up to last is
// delivered, but for what is open. Created tells the stream from one before it of
// the same name.
type position struct {
	created int64
	last    uint64
	open    spans
}

// floor is the last sequence up to which nothing is open.
func (p *position) floor() uint64 {
	if len(p.open) > 0 {
		return p.open[0].from - 1
	}
	return p.last
}

// encode gives "created last from-to from-to …". Where there are too many rows the
// position ends before them: what follows comes again after a restart, which is
// better than not at all.
func (p *position) encode() []byte {
	last, open := p.last, p.open
	if len(open) > maxSpans {
		last, open = open[maxSpans].from-1, open[:maxSpans]
	}
	text := strconv.AppendUint(append(strconv.AppendInt(nil, p.created, 10), ' '), last, 10)
	for _, a := range open {
		text = strconv.AppendUint(append(text, ' '), a.from, 10)
		text = strconv.AppendUint(append(text, '-'), a.to, 10)
	}
	return text
}

func parsePosition(text string) (position, error) {
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return position{}, fmt.Errorf("position %.100q is not one", text)
	}
	var p position
	var err error
	if p.created, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return position{}, fmt.Errorf("position %.100q: %w", text, err)
	}
	if p.last, err = strconv.ParseUint(words[1], 10, 64); err != nil {
		return position{}, fmt.Errorf("position %.100q: %w", text, err)
	}
	for _, word := range words[2:] {
		from, to, _ := strings.Cut(word, "-")
		var a span
		if a.from, err = strconv.ParseUint(from, 10, 64); err != nil {
			return position{}, fmt.Errorf("position %.100q: %w", text, err)
		}
		if a.to, err = strconv.ParseUint(to, 10, 64); err != nil {
			return position{}, fmt.Errorf("position %.100q: %w", text, err)
		}
		if n := len(p.open); a.from == 0 || a.to < a.from || a.to > p.last || n > 0 && a.from <= p.open[n-1].to {
			return position{}, fmt.Errorf("position %.100q: %d-%d is out of place", text, a.from, a.to)
		}
		p.open = append(p.open, a)
	}
	return p, nil
}
