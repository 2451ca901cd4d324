package summary

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/sidearmor/sidearmor/schema"
)

// Incident is the same for all events of one policy, operation and process in one
// container of a workload: that of every pod or task which runs it, since a name that
// changes with each restart would page for each restart. Events of the default posture
// and system events have no policy to tell them apart by, and need none. Each Falco
// event is an incident of its own.
func Incident(e *schema.Event) string {
	if e.Falco != nil {
		return e.ID
	}
	r, policy := Record(e), ""
	if e.Alert != nil {
		policy = e.Alert.PolicyName
	}
	sum := sha256.New()
	for _, part := range []string{
		policy, r.Type, r.Operation, r.ProcessName,
		r.ClusterName, r.NamespaceName, cmp.Or(r.ContainerName, r.ContainerID),
	} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return "kubearmor-" + hex.EncodeToString(sum.Sum(nil)[:16])
}
