package outputs

// Failures collects what became of the events of a batch that were not delivered,
// for services that answer for each event.
type Failures struct {
	Failed  []int // indexes into the batch
	Again   error // the first that may pass, nil if there is none
	Refused error // the last that will not
}

// Retry notes that an event may be taken later.
func (f *Failures) Retry(i int, err error) {
	f.Failed = append(f.Failed, i)
	if f.Again == nil {
		f.Again = err
	}
}

// Refuse notes that an event will never be taken.
func (f *Failures) Refuse(i int, err error) {
	f.Failed = append(f.Failed, i)
	f.Refused = err
}

// Err makes one error of them, nil if there are none; describe gives its text. Its
// class is that of the failures that may pass, if there are any: events that were
// refused are refused again then.
func (f *Failures) Err(describe func(error) error) error {
	switch {
	case f.Again != nil:
		return &Error{Class: Transient, Failed: f.Failed, Err: describe(f.Again)}
	case f.Refused != nil:
		return &Error{Class: Permanent, Failed: f.Failed, Err: describe(f.Refused)}
	}
	return nil
}
