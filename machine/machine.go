// Package machine says what one node should look like. It is the leaf that the controller and
// the agent share, and it imports nothing of ours.
package machine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Config is the whole of what Sluice keeps on one node. It is a value: nothing changes it once
// it has been rendered, so copies may share their slices.
type Config struct {
	Files      []File    `json:"files,omitempty"`
	Units      []Unit    `json:"units,omitempty"`
	Users      []User    `json:"users,omitempty"`
	KernelArgs []string  `json:"kernelArguments,omitempty"` // in order; repeats are kept, as MCO main does
	OSImage    string    `json:"osImageURL,omitempty"`      // an image reference; "" leaves the OS as it is
	Extensions []string  `json:"extensions,omitempty"`
	KernelType string    `json:"kernelType,omitempty"` // "" is default; else realtime or 64k-pages
	FIPS       bool      `json:"fips,omitempty"`
	FirstBoot  []Section `json:"firstBoot,omitempty"`

	// ExtensionsImage is the image that extensions are installed from; "" is that of the OS.
	ExtensionsImage string `json:"baseOSExtensionsContainerImage,omitempty"`
}

// File is a regular file that is wholly Sluice's.
type File struct {
	Path     string `json:"path"` // absolute and clean
	Mode     uint32 `json:"mode"` // permission bits, at most 0777
	User     string `json:"user,omitempty"`
	Group    string `json:"group,omitempty"` // a name or a number; "" is root
	Contents []byte `json:"contents"`
}

// Unit is a systemd unit, or drop-ins for one that the OS ships.
type Unit struct {
	Name       string     `json:"name"`
	Contents   string     `json:"contents,omitempty"` // "" keeps the unit that the OS ships
	Enablement Enablement `json:"enablement,omitempty"`
	Mask       bool       `json:"mask,omitempty"`
	DropIns    []DropIn   `json:"dropIns,omitempty"`
}

// Enablement is what a config says of a unit's start at boot.
type Enablement string

const (
	Preset   Enablement = "" // as the OS presets it
	Enabled  Enablement = "enabled"
	Disabled Enablement = "disabled"
)

// DropIn is one file below NAME.d/ of a unit.
type DropIn struct {
	Name     string `json:"name"` // ends in .conf
	Contents string `json:"contents"`
}

// User is an account whose ssh keys or password hash Sluice keeps.
type User struct {
	Name         string   `json:"name"`
	SSHKeys      []string `json:"sshAuthorizedKeys,omitempty"`
	PasswordHash string   `json:"passwordHash,omitempty"`
}

// Section is a part of the Ignition config that only a first boot applies (storage.disks,
// storage.links, ...). It is kept whole, so that joining nodes get it and a change is seen.
type Section struct {
	Name string          `json:"name"` // the dotted field in the Ignition config
	Body json.RawMessage `json:"body"` // canonical JSON
}

// Digest names a Config by its content: 64 hexadecimal digits, the sha256 of its canonical
// encoding. "" stands for a node of which nothing is known.
type Digest string

// Short is the digest as people read it: its first twelve digits.
func (d Digest) Short() string { return string(d[:min(12, len(d))]) }

// Canonical returns the config with everything that has a name in the order of its name, so
// that two configs which ask for the same node are equal. The order of kernel arguments and ssh
// keys has a meaning and stays.
func (c Config) Canonical() Config {
	c.Files = sorted(c.Files, func(f File) string { return f.Path })
	for i := range c.Files {
		if c.Files[i].Contents == nil {
			c.Files[i].Contents = []byte{} // an empty file has one encoding
		}
	}
	c.Units = sorted(c.Units, func(u Unit) string { return u.Name })
	for i := range c.Units {
		c.Units[i].DropIns = sorted(c.Units[i].DropIns, func(d DropIn) string { return d.Name })
	}
	c.Users = sorted(c.Users, func(u User) string { return u.Name })
	c.FirstBoot = sorted(c.FirstBoot, func(s Section) string { return s.Name })
	return c
}

// MaxEncoded is how many bytes of JSON a config may take. While an agent goes from one config to
// another it needs up to thirteen times as much memory as one takes: some 210 MiB at this size, with
// the other half of its container's 512 MiB for what stood on the node before.
const MaxEncoded = 16 << 20

// Digest is the identity of the config: equal configs have one digest, whoever rendered them.
func (c Config) Digest() Digest {
	d, _ := c.Weigh()
	return d
}

// Weigh is the digest, and how many bytes of JSON the config takes.
func (c Config) Weigh() (Digest, int) {
	encoded, err := json.Marshal(c.Canonical())
	if err != nil {
		panic("machine: a section holds no JSON: " + err.Error()) // render wrote it with json.Marshal
	}
	sum := sha256.Sum256(encoded)
	return Digest(hex.EncodeToString(sum[:])), len(encoded)
}

func sorted[T any](in []T, key func(T) string) []T {
	if len(in) == 0 {
		return nil // an empty list and none are the same node
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return out
}
