package blockers

import "fmt"

// workloads says which workloads a wave takes all replicas from, or the majority.
func (f *finder) workloads(w *wave) {
	leaving := map[*Workload][]*Pod{}
	var order []*Workload
	for _, p := range w.leaving {
		if p.Workload == nil || !p.Ready {
			continue
		}
		if leaving[p.Workload] == nil {
			order = append(order, p.Workload)
		}
		leaving[p.Workload] = append(leaving[p.Workload], p)
	}
	for _, l := range order {
		pods := leaving[l]
		if f.spared(pods) {
			continue
		}
		b := Blocker{Severity: Warns, Mark: AsRecorded, Namespace: l.Namespace, Name: l.Name, Node: pods[0].Node}
		switch away := len(pods); {
		case l.Replicas == 1:
			b.Kind, b.Reason = SingleReplica, l.Kind+" has one replica: it is down while its pod moves"
		case away >= l.Ready:
			b.Kind, b.Reason = ReplicasDown, fmt.Sprintf("%s has %s, all in this wave: it is down while they move", l.Kind, plural(away, "ready pod", "ready pods"))
		case l.Kind == "StatefulSet" && l.Replicas > 2 && l.Ready-away < l.Replicas/2+1:
			b.Kind, b.Mark = Quorum, Estimate
			b.Reason = fmt.Sprintf("the wave leaves %d of its %d replicas ready: if it needs a majority, it has none", l.Ready-away, l.Replicas)
		default:
			continue
		}
		f.say(w, b)
	}
}

// services says which Services a wave takes the last ready endpoint from. Pods that stay on a node
// are away while it reboots.
func (f *finder) services(w *wave) {
	away := map[*Service][]*Pod{}
	var order []*Service
	for _, pods := range [][]*Pod{w.leaving, w.ending} {
		for _, p := range pods {
			for _, s := range p.Services {
				if away[s] == nil {
					order = append(order, s)
				}
				away[s] = append(away[s], p)
			}
		}
	}
	for _, s := range order {
		if pods := away[s]; len(pods) >= s.Ready && !f.spared(pods) {
			f.say(w, Blocker{
				Kind: ServiceDown, Severity: Warns, Mark: AsRecorded, Namespace: s.Namespace, Name: s.Name, Node: pods[0].Node,
				Reason: fmt.Sprintf("all of its ready endpoints (%d) are on nodes of this wave: it has none until one is back", s.Ready),
			})
		}
	}
}
