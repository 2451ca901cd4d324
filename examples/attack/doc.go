// Package attack attacks a vulnerable web application, without and with the tracer:
// see README.md. Its test runs it as a user does.
package attack
