package cloudwatch

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// rejection names the events of a request that the service took note of and
// threw away.
type rejection struct {
	indexes []int // in the batch
	reason  error
}

// rejectionOf reads RejectedLogEventsInfo. A request counts as a success even
// if all of its events were rejected. The events of a request are in order of
// time, so the old ones are its beginning and the new ones its end.
func rejectionOf(info *types.RejectedLogEventsInfo, request []entry) rejection {
	if info == nil {
		return rejection{}
	}
	old := max(index(info.TooOldLogEventEndIndex, 0), index(info.ExpiredLogEventEndIndex, 0))
	// The documentation calls the end index exclusive; zero can then name
	// nothing, so a service that sends it counts in the other way.
	if old == 0 && (info.TooOldLogEventEndIndex != nil || info.ExpiredLogEventEndIndex != nil) {
		old = 1
	}
	old = min(old, len(request))
	young := min(max(index(info.TooNewLogEventStartIndex, len(request)), old), len(request))
	return rejection{
		indexes: append(indexes(request[:old]), indexes(request[young:])...),
		reason: fmt.Errorf("%d are older than 14 days or than the group keeps, %d are more than 2 hours in the future",
			old, len(request)-young),
	}
}

func index(i *int32, absent int) int {
	if i == nil {
		return absent
	}
	return max(int(*i), 0)
}
