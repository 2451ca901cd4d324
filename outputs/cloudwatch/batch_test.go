package cloudwatch

import (
	"strings"
	"testing"
)

func TestSplitByCount(t *testing.T) {
	entries := make([]entry, 2*maxRequestEvents+1)
	requests := split(entries)
	if len(requests) != 3 || len(requests[0]) != maxRequestEvents || len(requests[2]) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	if len(split(nil)) != 0 {
		t.Error("nothing becomes a request")
	}
}

// TestSplitToTheByte: a request may be as long as the limit, not one byte more.
func TestSplitToTheByte(t *testing.T) {
	half := strings.Repeat("x", maxRequestBytes/2-eventOverhead)
	if n := len(split([]entry{{message: half}, {message: half}})); n != 1 {
		t.Errorf("%d requests for exactly the limit", n)
	}
	if n := len(split([]entry{{message: half}, {message: half + "x"}})); n != 2 {
		t.Errorf("%d requests for one byte more", n)
	}
	if n := len(split([]entry{{message: strings.Repeat("x", maxMessage)}})); n != 1 {
		t.Errorf("%d requests for the largest event", n)
	}
}
