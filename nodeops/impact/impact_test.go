package impact

import (
	"encoding/json"
	"testing"
)

func TestKindsTravelByName(t *testing.T) {
	for k := Nothing; k <= Impossible; k++ {
		text, err := json.Marshal(Action{Kind: k})
		if err != nil {
			t.Fatal(err)
		}
		var back Action
		if err := json.Unmarshal(text, &back); err != nil || back.Kind != k {
			t.Errorf("%v became %s, then %v (%v)", k, text, back.Kind, err)
		}
	}
	var a Action
	if err := json.Unmarshal([]byte(`{"kind":"explode"}`), &a); err == nil {
		t.Error("a word that is not known was taken")
	}
	if a.Kind != Impossible {
		t.Errorf("a word that is not known became %v, want impossible", a.Kind)
	}
	if got := Kind(9).String(); got != "kind(9)" {
		t.Errorf("a number without a word is %q", got)
	}
}

func TestDrains(t *testing.T) {
	for k, want := range map[Kind]bool{Nothing: false, Reload: false, Restart: false, Drain: true, Reboot: true, Impossible: false} {
		if got := Drains(k); got != want {
			t.Errorf("%v: drains %v, want %v", k, got, want)
		}
	}
}
