// Package access decides who reaches the sidekick, and how much of it: sockets,
// TLS, tokens, and limits on connections and sources. It does not look at events.
package access
