// Package containers holds the tests that run the built programs as they run on
// Fargate: containers of one network namespace, with Fargate's capabilities and
// moby's seccomp profile. It holds no code of either program.
package containers
