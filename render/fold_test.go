package render

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	v3 "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// The fold is allowed only because it gives what Ignition's merge gives, one by one, down to the
// order of lists.
func TestFoldIsMergeOneByOne(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var configs []types.Config
		for range 1 + random.IntN(9) {
			configs = append(configs, someConfig(random))
		}
		want := configs[0]
		for _, c := range configs[1:] {
			want = v3.Merge(want, c)
		}
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, merge(configs))); diff != "" {
			t.Fatalf("seed %d: the fold differs from one by one (-want +got):\n%s", seed, diff)
		}
	}
}

// A path that is a file here and a link there is where the order of merging matters.
func TestMergeForgetsTheFileThatALinkReplaced(t *testing.T) {
	mode, source := 0o600, "data:,first"
	first, link, last := manifest.Empty(), manifest.Empty(), manifest.Empty()
	first.Storage.Files = []types.File{{Node: types.Node{Path: "/etc/a"}}}
	first.Storage.Files[0].Contents.Source = &source
	link.Storage.Links = []types.Link{{Node: types.Node{Path: "/etc/a"}}}
	last.Storage.Files = []types.File{{Node: types.Node{Path: "/etc/a"}}}
	last.Storage.Files[0].Mode = &mode
	got := merge([]types.Config{first, link, last})
	if len(got.Storage.Files) != 1 || got.Storage.Files[0].Contents.Source != nil {
		t.Errorf("files %+v, want /etc/a without the contents of the first", got.Storage.Files)
	}
}

// asJSON is a config without the difference between an empty list and none.
func asJSON(t *testing.T, c types.Config) string {
	t.Helper()
	out, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func someConfig(random *rand.Rand) types.Config {
	c := manifest.Empty()
	text := func() *string {
		if random.IntN(2) == 0 {
			return nil
		}
		s := fmt.Sprint("text", random.IntN(1000))
		return &s
	}
	number := func() *int {
		if random.IntN(2) == 0 {
			return nil
		}
		n := random.IntN(0o777)
		return &n
	}
	for _, at := range random.Perm(6)[:random.IntN(5)] {
		node := types.Node{Path: fmt.Sprint("/etc/", at)}
		node.User.Name = text()
		switch random.IntN(6) {
		case 0:
			l := types.Link{Node: node}
			l.Target = text()
			c.Storage.Links = append(c.Storage.Links, l)
		case 1:
			d := types.Directory{Node: node}
			d.Mode = number()
			c.Storage.Directories = append(c.Storage.Directories, d)
		default:
			f := types.File{Node: node}
			f.Mode, f.Contents.Source, f.Contents.Compression = number(), text(), text()
			f.Append = []types.Resource{{Source: text()}}[:random.IntN(2)]
			c.Storage.Files = append(c.Storage.Files, f)
		}
	}
	for _, at := range random.Perm(4)[:random.IntN(3)] {
		u := types.Unit{Name: fmt.Sprint(at, ".service"), Contents: text()}
		for _, d := range random.Perm(3)[:random.IntN(3)] {
			u.Dropins = append(u.Dropins, types.Dropin{Name: fmt.Sprint(d, ".conf"), Contents: text()})
		}
		c.Systemd.Units = append(c.Systemd.Units, u)
	}
	for _, at := range random.Perm(3)[:random.IntN(3)] {
		u := types.PasswdUser{Name: fmt.Sprint("user", at), PasswordHash: text(), UID: number()}
		for _, k := range random.Perm(4)[:random.IntN(3)] {
			u.SSHAuthorizedKeys = append(u.SSHAuthorizedKeys, types.SSHAuthorizedKey(fmt.Sprint("key", k)))
		}
		c.Passwd.Users = append(c.Passwd.Users, u)
	}
	for _, at := range random.Perm(3)[:random.IntN(3)] {
		l := types.Luks{Name: fmt.Sprint("luks", at), Device: text(), Label: text()}
		l.Clevis.Threshold = number()
		c.Storage.Luks = append(c.Storage.Luks, l)
	}
	c.Ignition.Proxy.HTTPProxy, c.Ignition.Timeouts.HTTPTotal = text(), number()
	return c
}
