// Package learn has the tracer learn the policies of ordinary servers, runs them under
// what was learned, and has them do what they did not do before.
package learn
