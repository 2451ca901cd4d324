package awsbatch

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sidearmor/sidearmor/outputs"
)

// Name is what Send calls the entry at place i of a request, for services that name
// what they did not take.
func Name(i int) *string { return aws.String(strconv.Itoa(i)) }

// Named reads such an answer to a request of n entries, of which so many were taken.
// One that does not speak of all, or names what was not sent, cannot be relied on.
func Named[T any](failed []T, taken, n int, read func(T) (name *string, f Fault)) ([]Fault, error) {
	if len(failed)+taken != n {
		return nil, fmt.Errorf("the answer is about %d of %d entries", len(failed)+taken, n)
	}
	faults := make([]Fault, 0, len(failed))
	for _, item := range failed {
		name, f := read(item)
		i, err := strconv.Atoi(aws.ToString(name))
		if err != nil || i < 0 || i >= n {
			return nil, errors.New("the answer names an entry that was not sent")
		}
		f.Entry = i
		faults = append(faults, f)
	}
	return faults, nil
}

// Placed reads the answer of a service that answers for each of n entries in their
// order. An entry without an error code was taken.
func Placed[T any](results []T, n int, read func(T) (code, message *string)) ([]Fault, error) {
	if len(results) != n {
		return nil, fmt.Errorf("the answer is about %d of %d entries", len(results), n)
	}
	var faults []Fault
	for i, item := range results {
		if code, message := read(item); aws.ToString(code) != "" {
			faults = append(faults, Fault{Entry: i, Code: *code, Message: aws.ToString(message), Class: outputs.Transient})
		}
	}
	return faults, nil
}

// Sender is the class of a fault by what the service says of whose it is.
func Sender(sender bool) outputs.Class {
	if sender {
		return outputs.Permanent
	}
	return outputs.Transient
}
