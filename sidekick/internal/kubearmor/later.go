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
	firstLaterOfAlert protowire.Number = 38
	firstLaterOfLog   protowire.Number = 28
)

// The later fields, as numbers beyond the first.
const (
	laterNodeID protowire.Number = iota
	laterProcessHash
	laterParentHash
	laterResourceHash
	laterHashAlgo
	laterEventData // map<string, string>
	laterUserName
)

// Fields of an entry of a map.
const (
	mapKey   protowire.Number = 1
	mapValue protowire.Number = 2
)

// laterText gives the string of a later field; nil for EventData, and for what is
// none.
func laterText(r *schema.Record, n protowire.Number) *string {
	switch n {
	case laterNodeID:
		return &r.NodeID
	case laterProcessHash:
		return &r.ProcessHash
	case laterParentHash:
		return &r.ParentHash
	case laterResourceHash:
		return &r.ResourceHash
	case laterHashAlgo:
		return &r.HashAlgo
	case laterUserName:
		return &r.UserName
	}
	return nil
}

// appendLater encodes the later fields of r.
func appendLater(b []byte, first protowire.Number, r *schema.Record) []byte {
	for n := laterNodeID; n <= laterUserName; n++ {
		if text := laterText(r, n); text != nil && *text != "" {
			b = appendText(b, first+n, *text)
		}
		if n != laterEventData {
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

// readLater takes the later fields out of what the module did not know. The
// module has checked that it is well-formed, but for what is within the fields.
func readLater(b []byte, first protowire.Number, r *schema.Record) {
	eachText(b, func(n protowire.Number, v []byte) {
		if text := laterText(r, n-first); text != nil {
			*text = validText(v)
		}
		if n-first != laterEventData {
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
