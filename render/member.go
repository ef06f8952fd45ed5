package render

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// Member is the name of the pool that a node with these labels belongs to, as MCO main decides:
// one custom pool wins over worker, and master over both. "" is no pool: the node is left alone,
// as a Windows node is. A node of two custom pools is an error that names both, since no one can
// say which config it should have.
func Member(pools []Pool, nodeLabels map[string]string) (string, error) {
	if nodeLabels["kubernetes.io/os"] == "windows" {
		return "", nil
	}
	var custom []string
	var isMaster, isWorker bool // every node is asked at every step
	for _, p := range pools {
		switch {
		case p.Selector == nil || p.Selector.Empty() || !p.Selector.Matches(labels.Set(nodeLabels)):
		case p.Name == master:
			isMaster = true
		case p.Name == worker:
			isWorker = true
		default:
			custom = append(custom, p.Name)
		}
	}
	slices.Sort(custom)
	switch {
	case len(custom) > 1:
		return "", fmt.Errorf("the node is selected by %d custom pools (%s): it gets no config until it is selected by one",
			len(custom), strings.Join(custom, ", "))
	case isMaster:
		return master, nil
	case len(custom) == 1:
		return custom[0], nil
	case isWorker:
		return worker, nil
	}
	return "", nil
}
