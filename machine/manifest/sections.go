package manifest

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/coreos/ignition/v2/config/v3_5/types"

	"github.com/sluice-gitops/sluice/machine"
)

type part struct {
	name string // the dotted field in the Ignition config
	at   any    // points to it
}

// firstBoot are the parts of an Ignition config that only a first boot applies. Reading and
// writing go through this one table, so that neither can forget a part.
func firstBoot(c *types.Config) []part {
	return []part{
		{"ignition.config", &c.Ignition.Config},
		{"ignition.proxy", &c.Ignition.Proxy},
		{"ignition.security", &c.Ignition.Security},
		{"ignition.timeouts", &c.Ignition.Timeouts},
		{"kernelArguments.shouldExist", &c.KernelArguments.ShouldExist},
		{"kernelArguments.shouldNotExist", &c.KernelArguments.ShouldNotExist},
		{"passwd.groups", &c.Passwd.Groups},
		{"passwd.users", &c.Passwd.Users},
		{"storage.directories", &c.Storage.Directories},
		{"storage.disks", &c.Storage.Disks},
		{"storage.filesystems", &c.Storage.Filesystems},
		{"storage.links", &c.Storage.Links},
		{"storage.luks", &c.Storage.Luks},
		{"storage.raid", &c.Storage.Raid},
	}
}

func sections(c *types.Config) []machine.Section {
	var out []machine.Section
	for _, p := range firstBoot(c) {
		if reflect.ValueOf(p.at).Elem().IsZero() {
			continue // as most are: it saves the writing
		}
		if body := canonical(p.at); body != nil {
			out = append(out, machine.Section{Name: p.name, Body: body})
		}
	}
	return out
}

// canonical is the one JSON of a value: keys sorted, and without what is empty. It is nil when
// nothing is left.
func canonical(v any) json.RawMessage {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic("manifest: an Ignition type is no JSON: " + err.Error()) // strings, numbers and lists of them
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		panic("manifest: own JSON does not decode: " + err.Error())
	}
	tree = prune(tree)
	if empty(tree) {
		return nil
	}
	if encoded, err = json.Marshal(tree); err != nil {
		panic("manifest: own JSON does not encode: " + err.Error())
	}
	return encoded
}

// prune takes empty fields out of objects. List elements stay, whatever they hold: their number
// and place have a meaning.
func prune(tree any) any {
	switch tree := tree.(type) {
	case map[string]any:
		for k, v := range tree {
			if v = prune(v); empty(v) {
				delete(tree, k)
			} else {
				tree[k] = v
			}
		}
	case []any:
		for i := range tree {
			tree[i] = prune(tree[i])
		}
	}
	return tree
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}
