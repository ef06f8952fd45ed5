package impact

import (
	"slices"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
)

func TestEveryCauseCanBeTakenBack(t *testing.T) {
	section := func(body string) []machine.Section {
		return []machine.Section{{Name: "storage.disks", Body: []byte(body)}}
	}
	old := machine.Config{
		Files: []machine.File{{Path: "/kept", Contents: []byte("1")}, {Path: "/gone"}}, Units: []machine.Unit{{Name: "a.service"}},
		Users: []machine.User{{Name: "core", SSHKeys: []string{"a"}}}, FirstBoot: section(`"a"`),
	}
	now := machine.Config{
		Files: []machine.File{{Path: "/kept", Contents: []byte("2")}, {Path: "/new"}}, Units: []machine.Unit{{Name: "a.service", Contents: "x"}},
		Users: []machine.User{{Name: "core", SSHKeys: []string{"b"}}}, KernelArgs: []string{"k"}, OSImage: "i",
		Extensions: []string{"usbguard"}, KernelType: "realtime", FIPS: true, FirstBoot: section(`"b"`),
	}
	for range 20 {
		left := Diff(old, now, nil)
		if len(left) == 0 {
			return
		}
		now = Without(old, now, left[0].Cause)
		if again := Diff(old, now, nil); slices.Equal(again, left) {
			t.Fatalf("%q was not taken back", left[0].Cause)
		}
	}
	t.Fatalf("still left: %v", Diff(old, now, nil))
}

func TestTheCheaperWayIsNamed(t *testing.T) {
	policy := machine.File{Path: "/etc/containers/policy.json"}
	for name, c := range map[string]struct {
		now     machine.Config
		without []string
		kind    Kind
		ok      bool
	}{
		"one cause of the reboot beside a reload": {machine.Config{KernelArgs: []string{"k"}, Files: []machine.File{policy}}, []string{"kernelArguments"}, Reload, true},
		"two causes of the reboot":                {machine.Config{KernelArgs: []string{"k"}, OSImage: "i", Files: []machine.File{policy}}, []string{"kernelArguments", "osImageURL"}, Reload, true},
		"nothing but the reboot":                  {machine.Config{KernelArgs: []string{"k"}}, nil, 0, false},
		"nothing but a reload":                    {machine.Config{Files: []machine.File{policy}}, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := FindCheaper(machine.Config{}, c.now, nil)
			if ok != c.ok || ok && (!slices.Equal(got.Without, c.without) || got.Kind != c.kind) {
				t.Errorf("%+v %t", got, ok)
			}
		})
	}
}
