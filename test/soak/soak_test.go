package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A short run of everything: the sidekick is killed, receivers fail, nothing is lost.
func TestShort(t *testing.T) {
	bin := filepath.Join("..", "..", "bin")
	if _, err := os.Stat(filepath.Join(bin, "sidekick")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var out strings.Builder
	ok, err := soak(t.Context(), options{
		bin: bin, dir: t.TempDir(), duration: 6 * time.Second, rate: 200, killEvery: 3 * time.Second, failEvery: 2 * time.Second, seed: 1,
	}, &out)
	if err != nil || !ok {
		t.Errorf("%v\n%s", err, &out)
	}
	if strings.Contains(out.String(), ", 0 kills,") {
		t.Errorf("it was never killed:\n%s", &out)
	}
}

// The ledger finds what it is there to find.
func TestLedger(t *testing.T) {
	alerts, logs := &poster{number: 0}, &poster{number: 1}
	alerts.taken.Store(6)
	logs.taken.Store(2)
	l := newLedger([]*poster{alerts, logs})
	take := func(ids ...id) {
		t.Helper()
		if err := l.take(ids); err != nil {
			t.Fatal(err)
		}
	}
	take(id{0, 0}, id{0, 1}, id{1, 0})
	take(id{0, 1}) // again, without a kill
	l.nextLife()
	take(id{0, 1}, id{0, 5}) // after a kill, then a gap
	take(id{0, 3})           // late
	if l.unforced != 1 || l.disorder != 1 || l.afterKills[1] != 1 {
		t.Errorf("%+v", l)
	}
	if got := join(l.gaps(), 2); got != "soak-0-2 to 2 (1), soak-0-4 to 4 (1), …" {
		t.Errorf("gaps: %s", got)
	}
	if l.missing() != 3 || l.wanted() != 8 || l.distinct() != 5 {
		t.Errorf("%d missing of %d, %d distinct", l.missing(), l.wanted(), l.distinct())
	}
	if err := l.take([]id{{7, 0}}); err == nil {
		t.Error("an event of nobody was taken")
	}
	if _, err := parseID("/etc/shadow"); err == nil {
		t.Error("another event is taken for one of ours")
	}
}
