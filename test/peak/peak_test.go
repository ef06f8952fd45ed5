package peak

import "testing"

var held []byte

func TestWhatIsHeldForAMomentIsSeen(t *testing.T) {
	got := MiB(func() {
		held = make([]byte, 64<<20)
	})
	held = nil
	if got < 64 || got > 128 {
		t.Errorf("64 MiB were held, and %.1f seen", got)
	}
}
