package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// EventData takes the "key=value" words out of data, and for network events out
// of resource too, whose words win. Keys get a capital first letter. It is nil
// when there are none (KubeArmor feeder/feeder.go). Of more than MaxEntries
// words the rest is left out: the texts may be the workload's own.
func EventData(operation, resource, data string) map[string]string {
	var words map[string]string
	add := func(text string) {
		for word := range strings.FieldsSeq(text) {
			key, value, ok := strings.Cut(word, "=")
			if !ok || key == "" {
				continue
			}
			first, size := utf8.DecodeRuneInString(key)
			if !unicode.IsUpper(first) {
				key = string(unicode.ToUpper(first)) + key[size:]
			}
			if words == nil {
				words = make(map[string]string)
			}
			if _, known := words[key]; known || len(words) < MaxEntries {
				words[key] = value
			}
		}
	}
	add(data)
	if operation == OperationNetwork {
		add(resource)
	}
	return words
}
