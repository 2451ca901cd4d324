package ingest

import (
	"net/http"
	"slices"
)

// Only serves paths of h, and 404 elsewhere.
func Only(h *Intake, paths []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(paths, r.URL.Path) {
			h.handler.wrongPath(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Without serves h but for paths, as FalcoSidekick moves those that it serves
// without TLS.
func Without(h *Intake, paths []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(paths, r.URL.Path) {
			h.handler.wrongPath(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}
