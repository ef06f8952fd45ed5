package cluster

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// Recipe is the command that records a cluster.
const Recipe = "kubectl get nodes,pods,pdb,services,endpointslices,replicasets,statefulsets,deployments,daemonsets,pv,pvc -A -o json"

// missing are the kinds that pods refer to and none of which was recorded: kubectl leaves no trace
// of a kind that was not asked for. Without DaemonSets every pod of one would look like an orphan,
// which drain refuses: that is an error.
func (c *Collector) missing() ([]string, error) {
	want := map[string]bool{}
	for i := range c.pods {
		p := c.pods[i]
		up, _ := controller(p.Namespace, p.owners)
		switch up.kind {
		case "DaemonSet":
			if len(c.sets) == 0 {
				return nil, fmt.Errorf("the record holds pods of DaemonSets, such as %s/%s, and no DaemonSet: record daemonsets too, as in %s", p.Namespace, p.Name, Recipe)
			}
		case "ReplicaSet", "StatefulSet":
			want[up.kind] = true
		}
		if len(p.claims) > 0 {
			want["PersistentVolumeClaim"] = true
		}
	}
	for up := range c.workloads {
		delete(want, up.kind)
	}
	if len(c.claims) > 0 {
		delete(want, "PersistentVolumeClaim")
		if len(c.volumes) == 0 && slices.ContainsFunc(slices.Collect(maps.Values(c.claims)), func(volume string) bool { return volume != "" }) {
			want["PersistentVolume"] = true
		}
	}
	for rs, up := range c.parents {
		if c.workloads[up] == nil && up.namespace == rs.namespace {
			want["Deployment"] = true
		}
	}
	if len(c.services) > 0 && !c.sliced {
		want["EndpointSlice"] = true
	}
	return slices.Sorted(maps.Keys(want)), nil
}

// join ties pods to what they belong to.
func (c *Collector) join(s *blockers.Snapshot) {
	places := make(map[key]*blockers.Pod, len(s.Pods))
	node := map[string]*blockers.Node{}
	for i := range s.Nodes {
		node[s.Nodes[i].Name] = &s.Nodes[i]
	}
	for i := range s.Pods {
		p, from := &s.Pods[i], c.pods[i]
		places[key{p.Namespace, p.Name}] = p
		if n := node[p.Node]; n != nil {
			n.Requested.Add(p.Requests)
			if from.etcd && p.Ready && n.Member == blockers.NoMember {
				n.Member = blockers.Up
			} else if from.etcd && !p.Ready {
				n.Member = blockers.Down
			}
		}
		for _, claim := range from.claims {
			if why := c.volumes[c.claims[key{p.Namespace, claim}]]; why != "" {
				p.Pins = append(p.Pins, why)
			}
		}
		if up, ok := controller(p.Namespace, from.owners); ok {
			if above, ok := c.parents[up]; ok && c.workloads[above] != nil {
				up = above
			}
			if w := c.workloads[up]; w != nil {
				p.Workload = w
				if p.Ready {
					w.Ready++
				}
			}
		}
	}
	c.joinServices(places)
	c.joinBudgets(s)
}

func (c *Collector) joinServices(places map[key]*blockers.Pod) {
	slices.SortFunc(c.services, compareKeys)
	for _, k := range c.services {
		svc := &blockers.Service{Namespace: k.namespace, Name: k.name}
		for name := range c.endpoints[k] {
			if p := places[key{k.namespace, name}]; p != nil {
				p.Services = append(p.Services, svc)
			}
			svc.Ready++ // one whose pod is not in the record keeps the Service up
		}
	}
}

// joinBudgets finds whom each budget selects: among the pods of its namespace, and of those among
// the ones with one of its labels where it names any.
func (c *Collector) joinBudgets(s *blockers.Snapshot) {
	slices.SortFunc(c.budgets, func(a, b budget) int {
		return compareKeys(key{a.Namespace, a.Name}, key{b.Namespace, b.Name})
	})
	type label struct{ namespace, name, value string }
	guarded := map[string]map[string]bool{} // namespace -> labels that budgets look for
	for _, b := range c.budgets {
		if guarded[b.Namespace] == nil {
			guarded[b.Namespace] = map[string]bool{}
		}
		if name, _, ok := b.first(); ok {
			guarded[b.Namespace][name] = true
		}
	}
	in, with := map[string][]*blockers.Pod{}, map[label][]*blockers.Pod{}
	for i := range s.Pods {
		p := &s.Pods[i]
		names, ok := guarded[p.Namespace]
		if !ok {
			continue
		}
		in[p.Namespace] = append(in[p.Namespace], p)
		for name := range names {
			if value, ok := p.Labels[name]; ok {
				with[label{p.Namespace, name, value}] = append(with[label{p.Namespace, name, value}], p)
			}
		}
	}
	for _, b := range c.budgets {
		among := in[b.Namespace]
		if name, value, ok := b.first(); ok {
			among = with[label{b.Namespace, name, value}]
		}
		selects := b.selects()
		for _, p := range among {
			if selects.Matches(labelSet(p.Labels)) {
				p.Budgets = append(p.Budgets, b.Budget)
			}
		}
	}
}

// first is one label that every pod of the budget has.
func (b budget) first() (name, value string, ok bool) {
	if b.selector == nil || len(b.selector.MatchLabels) == 0 {
		return "", "", false
	}
	name = slices.Min(slices.Collect(maps.Keys(b.selector.MatchLabels)))
	return name, b.selector.MatchLabels[name], true
}
