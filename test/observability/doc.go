// Package observability tests what docs/observability holds, the dashboard and the
// alert rules, against a real Prometheus that scrapes a real sidekick. It tests
// nothing of the sidekick itself.
package observability
