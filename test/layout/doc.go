// Package layout holds the tests that keep the repository in its shape: which
// package may import which, how large files and functions may be, what no file
// may contain. It holds no code that anything runs.
package layout
