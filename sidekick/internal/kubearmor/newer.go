package kubearmor

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sidearmor/sidearmor/schema"
)

// KubeArmor has added seven fields since the newest version of its protobuf
// module. They travel as fields that the module does not know. In alerts they
// begin with number 38, in logs with 28, and stand in the same order
// (protobuf/kubearmor.proto).
const (
	firstNewerOfAlert protowire.Number = 38
	firstNewerOfLog   protowire.Number = 28
)

// The newer fields, as numbers beyond the first.
const (
	newerNodeID protowire.Number = iota
	newerProcessHash
	newerParentHash
	newerResourceHash
	newerHashAlgo
	newerEventData // map<string, string>
	newerUserName
)

// Fields of an entry of a map.
const (
	mapKey   protowire.Number = 1
	mapValue protowire.Number = 2
)

// newerText gives the string of a newer field; nil for EventData, and for what is
// none.
func newerText(r *schema.Record, n protowire.Number) *string {
	switch n {
	case newerNodeID:
		return &r.NodeID
	case newerProcessHash:
		return &r.ProcessHash
	case newerParentHash:
		return &r.ParentHash
	case newerResourceHash:
		return &r.ResourceHash
	case newerHashAlgo:
		return &r.HashAlgo
	case newerUserName:
		return &r.UserName
	}
	return nil
}

// appendNewer encodes the newer fields of r.
func appendNewer(b []byte, first protowire.Number, r *schema.Record) []byte {
	for n := newerNodeID; n <= newerUserName; n++ {
		if text := newerText(r, n); text != nil && *text != "" {
			b = appendText(b, first+n, *text)
		}
		if n != newerEventData {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(r.EventData)) {
			entry := appendText(appendText(nil, mapKey, key), mapValue, r.EventData[key])
			b = protowire.AppendTag(b, first+n, protowire.BytesType)
			b = protowire.AppendBytes(b, entry)
		}
	}
	return b
}

// appendText sees to it that text is UTF-8, without which the receiver would
// refuse the message. Custom fields come from the environment, which may hold any
// bytes.
func appendText(b []byte, n protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return protowire.AppendString(b, strings.ToValidUTF8(text, "\uFFFD"))
}

// readNewer takes the newer fields out of what the module did not know. The
// module has checked that it is well-formed, but for what is within the fields.
func readNewer(b []byte, first protowire.Number, r *schema.Record) {
	eachText(b, func(n protowire.Number, v []byte) {
		if text := newerText(r, n-first); text != nil {
			*text = validText(v)
		}
		if n-first != newerEventData {
			return
		}
		var key, value string
		eachText(v, func(n protowire.Number, v []byte) {
			switch n {
			case mapKey:
				key = validText(v)
			case mapValue:
				value = validText(v)
			}
		})
		if r.EventData == nil {
			r.EventData = map[string]string{}
		}
		r.EventData[key] = value
	})
}

// eachText calls f for each field of length-delimited type, up to the first that
// is malformed.
func eachText(b []byte, f func(n protowire.Number, v []byte)) {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		if kind == protowire.BytesType {
			if v, whole := protowire.ConsumeBytes(b); whole >= 0 {
				f(n, v)
			}
		}
		if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
			return
		}
		b = b[size:]
	}
}

func validText(v []byte) string { return strings.ToValidUTF8(string(v), "\uFFFD") }
