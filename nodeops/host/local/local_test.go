package local_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func open(t *testing.T, dir string) *host.Files {
	t.Helper()
	f, err := host.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMachine(t *testing.T) {
	hosttest.OS(t, func(t *testing.T) (loop.OS, func() loop.OS) {
		dir := t.TempDir()
		start := func() loop.OS {
			m := local.Machine{Files: open(t, dir)}
			if err := m.Boot(); err != nil {
				t.Fatal(err)
			}
			return m
		}
		return start(), start
	})
}

func TestInboxIsOne(t *testing.T) {
	hosttest.Inboxes(t, func(t *testing.T) hosttest.InboxRig {
		dir, written := t.TempDir(), 0
		files := open(t, dir)
		files.Trace = func(_, path string) error {
			if path == "/nodes/w1/report.json" {
				written++
			}
			return nil
		}
		put := func(name string, v any) {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return hosttest.InboxRig{
			Inbox: local.Inbox{Fleet: files, Node: "w1"},
			Send:  func(o nodeops.Order) { put("nodes/w1/order.json", o) },
			Keep:  func(c machine.Config) { put("configs/"+string(c.Digest())+".json", c) },
			Told: func() (r nodeops.Report) {
				data, err := os.ReadFile(filepath.Join(dir, "nodes/w1/report.json"))
				if err == nil {
					err = json.Unmarshal(data, &r)
				}
				if err != nil {
					t.Error(err)
				}
				return r
			},
			Spoil: func() { put("nodes/w1/report.json", nodeops.Report{Why: "spoilt"}) },
			Count: func() int { return written },
		}
	})
}

func TestInbox(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	in := local.Inbox{Fleet: open(t, dir), Node: "w1"}
	if o, err := in.Order(ctx); err != nil || !reflect.DeepEqual(o, nodeops.Order{}) {
		t.Errorf("no file: %+v, %v", o, err)
	}
	want := nodeops.Report{Generation: 3, Phase: nodeops.Done, Drift: []nodeops.Drift{{Path: "/x", Kind: nodeops.DriftMode}}}
	if err := in.Tell(ctx, want); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("nodes/w1/order.json", `{"node":"w1","generation":7,"config":"abc","ceiling":"drain","notAfter":"2030-01-02T03:04:05Z"}`)
	write("configs/abc.json", `{"kernelArguments":["a"]}`)
	o, err := in.Order(ctx)
	if at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC); err != nil || o.Generation != 7 || o.Ceiling != impact.Drain || !o.NotAfter.Equal(at) {
		t.Errorf("order: %+v, %v", o, err)
	}
	if c, err := in.Config(ctx, "abc"); err != nil || !reflect.DeepEqual(c, machine.Config{KernelArgs: []string{"a"}}) {
		t.Errorf("config: %+v, %v", c, err)
	}
	for name, bad := range map[string]string{
		"an order for another node": `{"node":"w2","generation":8,"ceiling":"none"}`,
		"half a file":               `{"node":"w1","gener`,
	} {
		write("nodes/w1/order.json", bad)
		if o, err := in.Order(ctx); err == nil || o.Generation != 0 {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	write("nodes/w1/order.json", `{"node":"w1","generation":8,"ceiling":"explode"}`)
	if o, err := in.Order(ctx); err != nil || o.Generation != 8 || o.Strange == "" {
		t.Errorf("a ceiling that is not known: %+v, %v", o, err)
	}
	if _, err := in.Config(ctx, "../nodes/w1/order"); err == nil {
		t.Error("a digest led out of configs/")
	}
}
