package manifest

import (
	"github.com/coreos/ignition/v2/config/v3_5/types"
)

// config2 is an Ignition config of 2.0 to 2.4, with everything that one of them has. Parts that
// have the same shape in Ignition 3 are those of Ignition 3.
type config2 struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct {
			Append  []types.Resource `json:"append"`
			Replace *types.Resource  `json:"replace"`
		} `json:"config"`
		Timeouts types.Timeouts `json:"timeouts"`
		Security types.Security `json:"security"`
		Proxy    types.Proxy    `json:"proxy"`
	} `json:"ignition"`
	Networkd struct {
		Units []dropInUnit2 `json:"units"`
	} `json:"networkd"`
	Passwd struct {
		Groups []types.PasswdGroup `json:"groups"`
		Users  []user2             `json:"users"`
	} `json:"passwd"`
	Storage struct {
		Disks       []disk2       `json:"disks"`
		Raid        []types.Raid  `json:"raid"`
		Filesystems []filesystem2 `json:"filesystems"`
		Files       []file2       `json:"files"`
		Directories []directory2  `json:"directories"`
		Links       []link2       `json:"links"`
	} `json:"storage"`
	Systemd struct {
		Units []unit2 `json:"units"`
	} `json:"systemd"`
}

type user2 struct {
	types.PasswdUser
	Create *types.PasswdUser `json:"create"` // deprecated: of the user itself since 2.1
}

type disk2 struct {
	Device     string       `json:"device"`
	WipeTable  bool         `json:"wipeTable"`
	Partitions []partition2 `json:"partitions"`
}

type partition2 struct {
	types.Partition
	Size  int `json:"size"` // in sectors, of which only the disk knows how large they are
	Start int `json:"start"`
}

type filesystem2 struct {
	Name  string  `json:"name"` // "root" is the one that the OS stands on
	Path  *string `json:"path"`
	Mount *struct {
		types.Filesystem
		Create *struct {
			Force   bool     `json:"force"`
			Options []string `json:"options"`
		} `json:"create"`
	} `json:"mount"`
}

type node2 struct {
	Filesystem string          `json:"filesystem"`
	Path       string          `json:"path"`
	Overwrite  *bool           `json:"overwrite"`
	User       types.NodeUser  `json:"user"`
	Group      types.NodeGroup `json:"group"`
}

type file2 struct {
	node2
	Append   bool           `json:"append"`
	Contents types.Resource `json:"contents"`
	Mode     *int           `json:"mode"`
}

type directory2 struct {
	node2
	Mode *int `json:"mode"`
}

type link2 struct {
	node2
	Hard   bool   `json:"hard"`
	Target string `json:"target"`
}

type dropIn2 struct {
	Name     string `json:"name"`
	Contents string `json:"contents"`
}

type dropInUnit2 struct {
	dropIn2
	Dropins []dropIn2 `json:"dropins"`
}

type unit2 struct {
	dropInUnit2
	Enable  bool  `json:"enable"` // deprecated: enabled wins
	Enabled *bool `json:"enabled"`
	Mask    bool  `json:"mask"`
}
