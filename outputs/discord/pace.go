package discord

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
)

// rates are what a webhook is sent as long as its answers do not say that it takes
// less. Discord documents no numbers, since they may change, but the headers that
// tell them (https://docs.discord.com/developers/topics/rate-limits): see answered.
func rates() []outputs.Rate {
	return []outputs.Rate{{Messages: 5, Per: 2 * time.Second}, {Messages: 30, Per: time.Minute}}
}

// Account implements outputs.Metered: Discord counts by webhook.
func (o *output) Account() [sha256.Size]byte { return sha256.Sum256([]byte(o.url.Reveal())) }

// Pause implements outputs.Pacer.
func (o *output) Pause() time.Duration { return time.Duration(o.pause.Load()) }

// answered reads how many messages Discord still takes and, if that is none, when
// it takes more.
func (o *output) answered(h http.Header) {
	var pause time.Duration
	if n, err := strconv.Atoi(h.Get("X-RateLimit-Remaining")); err == nil && n <= 0 {
		if seconds, err := strconv.ParseFloat(h.Get("X-RateLimit-Reset-After"), 64); err == nil {
			pause = httppost.Seconds(seconds)
		}
	}
	o.pause.Store(int64(pause))
}
