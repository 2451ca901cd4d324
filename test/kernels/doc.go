// Package kernels holds the tests that run the built tracer on kernels other than
// the machine's own, as old as Fargate's may be, in emulated machines without a
// network. The checks are in checks.go; it holds no code of either program.
package kernels
