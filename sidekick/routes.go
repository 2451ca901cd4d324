package main

import (
	"net/http"

	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/ingest"
	"github.com/sidearmor/sidearmor/sidekick/internal/policyapi"
)

// routes is every path that the sidekick serves over HTTP: there are no others. Who
// may use a path, and within which limits, follows from its class. Without parts
// (nil) it is what there is to say of them before they exist.
//
// Other than FalcoSidekick, which takes events on every path and answers a wrong
// method with 400, it takes them on / alone, and answers 404 and 405.
func routes(intake *ingest.Intake, policies *policyapi.Handlers, events http.HandlerFunc) []api.Route {
	return append([]api.Route{
		{Path: "/", Method: http.MethodPost, Class: api.Post, Limits: api.Limits{Body: ingest.MaxBodyBytes}, Handler: intake.Events},
		{Path: "/test", Method: http.MethodPost, Class: api.Post, Handler: intake.Test},

		{Path: "/events", Method: http.MethodGet, Class: api.Read, Stream: true, Handler: events},

		{Path: "/ping", Class: api.Probe, Handler: ingest.Ping},
		{Path: "/healthz", Class: api.Probe, Handler: ingest.Healthz},
		{Path: "/readyz", Class: api.Probe, Handler: intake.Readyz},
		{Path: "/metrics", Class: api.Probe, Handler: intake.Metrics},
	}, policies.Routes()...)
}
