// Package differential runs ordinary programs twice, without the tracer and under
// it with rules in force, and compares what they print, how they end and what
// files they leave. It holds no code of the tracer and tests no rule.
package differential
