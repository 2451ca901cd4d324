// Package e2e runs the built programs together: a workload under the tracer, a
// sidekick, and the services it delivers to. It tests no part by itself.
package e2e
