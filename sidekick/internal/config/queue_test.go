package config

import (
	"strings"
	"testing"
	"time"
)

func TestQueue(t *testing.T) {
	const week = 7 * 24 * time.Hour
	hour := History{MaxAge: time.Hour, MaxBytes: 64 << 20}
	for _, c := range []struct {
		name string
		env  []string
		want Queue
		err  string
	}{
		{"nothing given", nil, Queue{MaxBytes: 384 << 20, MaxAge: week, History: hour}, ""},
		{"all", []string{"QUEUE_DIR=/q", "QUEUE_MAX_BYTES=50000000", "QUEUE_SYNC=always", "QUEUE_MAX_AGE=0"}, Queue{Dir: "/q", MaxBytes: 50000000, SyncAlways: true, History: hour}, ""},
		{"interval", []string{"QUEUE_SYNC=interval", "QUEUE_MAX_BYTES=2 GiB"}, Queue{MaxBytes: 2 << 30, MaxAge: week, History: hour}, ""},
		{"unit", []string{"QUEUE_MAX_BYTES=64MiB"}, Queue{MaxBytes: 64 << 20, MaxAge: week, History: hour}, ""},
		{"small", []string{"QUEUE_MAX_BYTES=1024"}, Queue{}, `QUEUE_MAX_BYTES: "1024" is not within`},
		{"negative", []string{"QUEUE_MAX_BYTES=-1GiB"}, Queue{}, `QUEUE_MAX_BYTES: "-1GiB" is not within`},
		{"overflow", []string{"QUEUE_MAX_BYTES=17179869184GiB"}, Queue{}, "is not within"},
		{"other unit", []string{"QUEUE_MAX_BYTES=5GB"}, Queue{}, `"5GB" is not a number of bytes`},
		{"unit alone", []string{"QUEUE_MAX_BYTES=MiB"}, Queue{}, `"MiB" is not a number of bytes`},
		{"age", []string{"QUEUE_MAX_AGE=90m"}, Queue{MaxBytes: 384 << 20, MaxAge: 90 * time.Minute, History: hour}, ""},
		{"short age", []string{"QUEUE_MAX_AGE=59s"}, Queue{}, `QUEUE_MAX_AGE: "59s" is not within 1m0s and`},
		{"negative age", []string{"QUEUE_MAX_AGE=-1h"}, Queue{}, `QUEUE_MAX_AGE: "-1h" is not within`},
		{"age without a unit", []string{"QUEUE_MAX_AGE=7"}, Queue{}, `QUEUE_MAX_AGE: "7" is not a duration`},
		{"history", []string{"HISTORY_MAX_AGE=24h", "HISTORY_MAX_BYTES=1GiB"}, Queue{MaxBytes: 384 << 20, MaxAge: week, History: History{24 * time.Hour, 1 << 30}}, ""},
		{"no history", []string{"HISTORY_MAX_AGE=0", "HISTORY_MAX_BYTES=0"}, Queue{MaxBytes: 384 << 20, MaxAge: week}, ""},
		{"short history", []string{"HISTORY_MAX_AGE=1s"}, Queue{}, `HISTORY_MAX_AGE: "1s" is not within 1m0s and`},
		{"small history", []string{"HISTORY_MAX_BYTES=100"}, Queue{}, `HISTORY_MAX_BYTES: "100" is not within 1MiB and 1024GiB, or 0`},
		{"sync", []string{"QUEUE_SYNC=never"}, Queue{}, `QUEUE_SYNC: "never" is not possible, use interval or always`},
	} {
		got, err := Load(Input{Environ: c.env})
		switch {
		case c.err == "" && (err != nil || got.Queue != c.want):
			t.Errorf("%s: %+v, %v", c.name, got.Queue, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}
