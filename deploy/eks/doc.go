// Package eks has the manifests that run SideArmor on EKS, and the code that puts
// it into pods. It talks to no API server.
package eks
