package notify

import "testing"

// What the engine's own tests need is there, so the probe must find it, and do no
// harm: it can be done again.
func TestProbe(t *testing.T) {
	for range 3 {
		f := Probe(true)
		for what, err := range map[string]error{"listener": f.Listener, "continue": f.Continue, "install": f.Install, "one step": f.OneStep} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if (f.Killable == nil) != waitsKillable() {
			t.Errorf("killable: %v, but %v", f.Killable, waitsKillable())
		}
	}
}
