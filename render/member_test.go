package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/render"
)

func TestMember(t *testing.T) {
	pool := func(name string) render.Pool {
		s, err := labels.Parse("node-role.kubernetes.io/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return render.Pool{Name: name, Selector: s}
	}
	pools := []render.Pool{
		pool("worker"), pool("master"), pool("infra"), pool("edge"),
		{Name: "none"},
		{Name: "everything", Selector: labels.Everything()},
	}
	for _, c := range []struct{ name, roles, want, wrong string }{
		{name: "worker alone is of the pool worker", roles: "worker", want: "worker"},
		{name: "a custom pool wins over worker", roles: "worker infra", want: "infra"},
		{name: "a custom pool needs no worker", roles: "edge", want: "edge"},
		{name: "master wins over worker", roles: "worker master", want: "master"},
		{name: "master wins over a custom pool", roles: "master infra", want: "master"},
		{name: "two custom pools are an error that names both", roles: "worker infra edge", wrong: "edge, infra"},
		{name: "a node without a role is left alone", roles: "", want: ""},
		{name: "an unknown role is left alone", roles: "storage", want: ""},
		{name: "a Windows node is left alone", roles: "worker windows", want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := map[string]string{}
			for _, role := range strings.Fields(c.roles) {
				if role == "windows" {
					node["kubernetes.io/os"] = "windows"
				} else {
					node["node-role.kubernetes.io/"+role] = ""
				}
			}
			got, err := render.Member(pools, node)
			if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Fatalf("error %v, want one with %q", err, c.wrong)
			}
			if got != c.want {
				t.Errorf("pool %q, want %q", got, c.want)
			}
		})
	}
}
