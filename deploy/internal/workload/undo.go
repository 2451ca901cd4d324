package workload

import (
	"errors"
	"fmt"
)

// Undone says whether a change can be undone: back is what undoing gave, or err why it
// could not be done.
func Undone(original, back string, err error) error {
	if err != nil {
		return fmt.Errorf("what was made cannot be read again: %w", err)
	}
	if back != original {
		return errors.New("what was made cannot be undone exactly; this is a fault of inject, please report it")
	}
	return nil
}
