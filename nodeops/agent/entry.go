package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/nodeops"
)

// Kind is what stands at a path.
type Kind string

const (
	Absent  Kind = "absent"
	Vacant  Kind = "vacant" // wanted only: no directory of ours; one that others have filled may stay
	Regular Kind = "file"
	Symlink Kind = "symlink"
	Dir     Kind = "dir"
	Other   Kind = "other" // a device, a socket, or a path that leads out of the root; Target says what
)

// Anyone is an owner that is not known and does not count: what an ordinary user sees, who could
// not change it either.
const Anyone = -1

// Entry is all that Sluice keeps of one path, or sees there. Security labels and times are not
// part of it.
type Entry struct {
	Kind   Kind   `json:"kind"`
	Mode   uint32 `json:"mode,omitempty"` // permission, setuid, setgid and sticky bits, as chmod takes them
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
	Data   []byte `json:"data,omitempty"`
	Target string `json:"target,omitempty"` // of a symlink

	Unit    string `json:"-"` // the unit that this path is a part of
	Enables string `json:"-"` // the unit that this path starts at boot, or keeps from being started
}

// Tree is what stands at each path, or what should: absolute, clean paths, "/" being the root
// that Sluice was given.
type Tree map[string]Entry

// Paths are the paths of the trees and every directory above them, sorted: all that has to be
// looked at in order to decide on them.
func Paths(trees ...Tree) []string {
	seen := map[string]bool{}
	for _, t := range trees {
		for p := range t {
			for ; p != "/" && !seen[p]; p = path.Dir(p) {
				seen[p] = true
			}
		}
	}
	return sortedKeys(seen)
}

// Met says that the path is as wanted.
func Met(want, have Entry) bool {
	kind, _ := differ(want, have)
	return kind == ""
}

// differ says in which way a path is not as wanted; "" is none. The words hold sizes and hashes,
// never contents.
func differ(want, have Entry) (nodeops.DriftKind, string) {
	switch {
	case want.Kind == Vacant:
		return "", ""
	case want.Kind == Absent && have.Kind == Absent:
		return "", ""
	case want.Kind == Absent:
		return nodeops.DriftType, "there is " + named(have) + ", expected nothing"
	case have.Kind == Absent:
		return nodeops.DriftMissing, "is missing"
	case have.Kind != want.Kind:
		return nodeops.DriftType, "is " + named(have) + ", expected " + named(want)
	case want.Kind == Symlink && want.Target != have.Target:
		return nodeops.DriftContent, fmt.Sprintf("points to %q, expected %q", have.Target, want.Target)
	case want.Kind == Regular && !bytes.Equal(want.Data, have.Data):
		return nodeops.DriftContent, fmt.Sprintf("holds %s, expected %s", summary(have.Data), summary(want.Data))
	case want.Kind != Symlink && want.Mode != have.Mode:
		return nodeops.DriftMode, fmt.Sprintf("has mode %04o, expected %04o", have.Mode, want.Mode)
	case other(want.UID, have.UID) || other(want.GID, have.GID):
		return nodeops.DriftOwner, fmt.Sprintf("belongs to %d:%d, expected %s:%s", have.UID, have.GID, owner(want.UID), owner(want.GID))
	}
	return "", ""
}

func other(want, have int) bool { return want != have && want != Anyone && have != Anyone }

func owner(id int) string {
	if id == Anyone {
		return "*"
	}
	return fmt.Sprint(id)
}

func named(e Entry) string {
	switch e.Kind {
	case Absent, Vacant:
		return "nothing"
	case Regular:
		return "a file"
	case Symlink:
		return fmt.Sprintf("a symlink to %q", e.Target)
	case Dir:
		return "a directory"
	case Other:
	}
	return strings.TrimSpace("no plain file " + e.Target)
}

func summary(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%d bytes (sha256 %s)", len(data), hex.EncodeToString(sum[:4]))
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
