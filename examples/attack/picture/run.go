// Picture draws messages that were posted to Slack, as Slack shows them: the blocks and
// attachments that SideArmor's messages have, and no others.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
)

// message is what was posted.
type message struct {
	Username    string  `json:"username"`
	Blocks      []block `json:"blocks"`
	Attachments []struct {
		Color  string  `json:"color"`
		Blocks []block `json:"blocks"`
	} `json:"attachments"`
}

type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text"`
	Fields   []text `json:"fields"`
	Elements []text `json:"elements"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: picture DIR OUT.png, where DIR has messages as JSON")
	}
	files, err := filepath.Glob(filepath.Join(args[0], "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no messages in %s: %w", args[0], errors.Join(err, os.ErrNotExist))
	}
	slices.Sort(files)
	var messages []message
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		messages = append(messages, m)
	}
	img, err := draw(messages)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, img); err != nil {
		return err
	}
	return os.WriteFile(args[1], out.Bytes(), 0o644)
}
