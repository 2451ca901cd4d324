package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sidearmor/sidearmor/schema"
)

// Read tries the events of a file: JSON objects one after the other, as in NDJSON,
// or arrays of them. What is no event is counted with its reason. The error says at
// which value the file is no JSON; the events before it have been tried.
func (s *Simulation) Read(in io.Reader) error {
	values := json.NewDecoder(in)
	for n := 1; ; n++ {
		var value json.RawMessage
		if err := values.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("value %d, byte %d: %w", n, values.InputOffset(), err)
		}
		if !bytes.HasPrefix(value, []byte("[")) {
			s.decode(value)
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return fmt.Errorf("value %d: %w", n, err)
		}
		for _, one := range list {
			s.decode(one)
		}
	}
}

func (s *Simulation) decode(value []byte) {
	e, err := schema.Decode(value)
	if err != nil {
		s.skip("it is no event: " + err.Error())
		return
	}
	s.Add(&e)
}
