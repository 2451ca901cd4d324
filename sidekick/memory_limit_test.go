package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"100000000\n":         90000000,
		"max\n":               0,
		"9223372036854771712": 0, // none, under cgroup v1
		"":                    0,
		"-1":                  0,
	} {
		if got := memoryLimit(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
