package emit

// fifo is a queue that grows and shrinks by chunks, so that no push ever copies
// what is already in it.
type fifo[T any] struct {
	head, tail *chunk[T]
	spare      *chunk[T] // one kept back, for queues that run empty again and again
	n          int
}

type chunk[T any] struct {
	items       [64]T
	first, last int
	next        *chunk[T]
}

func (f *fifo[T]) len() int { return f.n }

func (f *fifo[T]) push(v T) {
	if f.tail == nil || f.tail.last == len(f.tail.items) {
		c := f.spare
		if f.spare = nil; c == nil {
			c = &chunk[T]{}
		}
		if f.tail == nil {
			f.head = c
		} else {
			f.tail.next = c
		}
		f.tail = c
	}
	f.tail.items[f.tail.last] = v
	f.tail.last++
	f.n++
}

// front gives the oldest element, nil when there is none.
func (f *fifo[T]) front() *T {
	if f.n == 0 {
		return nil
	}
	return &f.head.items[f.head.first]
}

func (f *fifo[T]) pop() (v T, ok bool) {
	if f.n == 0 {
		return v, false
	}
	c := f.head
	var zero T
	v, c.items[c.first] = c.items[c.first], zero
	c.first++
	f.n--
	if c.first == c.last {
		if f.head = c.next; f.head == nil {
			f.tail = nil
		}
		c.first, c.last, c.next = 0, 0, nil
		f.spare = c
	}
	return v, true
}
