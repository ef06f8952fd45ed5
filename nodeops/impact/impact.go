// Package impact says what a change costs a node. One pure function serves the pull request,
// the controller and the agent, so that what was previewed is what is done.
package impact

import "fmt"

// Kind is a class of disturbance, in order: a later one is worse.
type Kind int

const (
	Nothing Kind = iota
	Reload
	Restart
	Drain
	Reboot
	Impossible // cannot be done in place: refused before a node is touched
)

var words = [...]string{"none", "reload", "restart", "drain", "reboot", "impossible"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(words) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return words[k]
}

// ParseKind reads the word that String writes. A word not known is an error: an agent must
// refuse what it does not understand.
func ParseKind(word string) (Kind, error) {
	for k, w := range words {
		if w == word {
			return Kind(k), nil
		}
	}
	return Impossible, fmt.Errorf("impact kind %q is not known", word)
}

// MarshalText writes the kind by name: kinds travel by name, not by number.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *Kind) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKind(string(text))
	return err
}

// Action is one thing that must follow a change, and what asks for it.
type Action struct {
	Kind  Kind   `json:"kind"`
	Unit  string `json:"unit"`  // of a reload or restart; "" on a reload is the daemon-reload of systemd itself
	Cause string `json:"cause"` // the path, unit or field that asks for it
}

// Worst is the kind of the whole: the worst of its actions.
func Worst(actions []Action) Kind {
	worst := Nothing
	for _, a := range actions {
		worst = max(worst, a.Kind)
	}
	return worst
}

// Drains says whether the node must be drained first: as MCO main does, for a reboot or a drain.
func Drains(k Kind) bool { return k == Drain || k == Reboot }
