package differential

import (
	"slices"
	"testing"
)

// mostLines bounds the table of differences. Of longer texts the order of lines
// is not compared.
const mostLines = 2000

// differences gives the lines that only one of two texts has, in their order:
// with - in front those of a, with + those of b.
func differences(a, b []string) []string {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) > mostLines || len(b) > mostLines {
		return append(without(a, b, "-"), without(b, a, "+")...)
	}
	var out []string
	common := longest(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return out
}

// without gives the lines of a that b does not have, or has fewer times.
func without(a, b []string, mark string) []string {
	times := map[string]int{}
	for _, line := range b {
		times[line]++
	}
	var out []string
	for _, line := range a {
		if times[line]--; times[line] < 0 {
			out = append(out, mark+line)
		}
	}
	return out
}

// longest is the table of the longest common parts of the ends of a and b.
func longest(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct{ a, b, want []string }{
		{nil, nil, nil},
		{[]string{"x"}, []string{"x"}, nil},
		{[]string{"x"}, nil, []string{"-x"}},
		{nil, []string{"x"}, []string{"+x"}},
		{[]string{"a", "b", "c", "d"}, []string{"a", "c", "x", "d"}, []string{"-b", "+x"}},
		{[]string{"a", "b"}, []string{"b", "a"}, []string{"-a", "+a"}},
	} {
		if got := differences(c.a, c.b); !slices.Equal(got, c.want) {
			t.Errorf("%q and %q: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}
