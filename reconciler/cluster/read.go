package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// ReadFiles reads a recorded cluster: what Recipe prints, as JSON or YAML, in one file or several.
// The time of the snapshot is when a node was last heard of: within minutes of the recording.
func ReadFiles(names ...string) (*blockers.Snapshot, error) {
	var c Collector
	for _, name := range names {
		if err := readFile(&c, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c.Snapshot(time.Time{})
}

func readFile(c *Collector, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return errors.Unwrap(err) // the caller names the file
	}
	defer f.Close()
	return c.Read(f)
}

// Read adds the objects of a recorded list. YAML is turned into JSON first, all at once: it is for
// small records.
func (c *Collector) Read(r io.Reader) error {
	s := &stream{r: r}
	first, err := s.peek()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("is empty: record it with %s", Recipe)
	}
	if err != nil {
		return err
	}
	if first != '{' {
		if s, err = s.fromYAML(); err != nil {
			return err
		}
	}
	return s.decode(c)
}

// fromYAML is the same stream in JSON; one document after the other.
func (s *stream) fromYAML() (*stream, error) {
	raw, err := io.ReadAll(io.MultiReader(bytes.NewReader(s.rest()), s.r))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, doc := range bytes.Split(append([]byte("\n"), raw...), []byte("\n---")) {
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		j, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		out.Write(append(j, '\n'))
	}
	return &stream{r: &out}, nil
}

// batch is some pruned objects, one after the other.
type batch struct {
	raw   []byte
	found []found
}

// found is one object of a batch.
type found struct {
	place int // in its list
	kind  string
	end   int // in the bytes of the batch
}

// batchSize is how many bytes go to one decoder at a time.
const batchSize = 256 << 10

// decode reads lists on one goroutine and decodes what was pruned on others.
func (s *stream) decode(c *Collector) error {
	batches := make(chan batch, runtime.GOMAXPROCS(0))
	spare := make(chan []byte, 2*cap(batches))
	failed := make(chan error, cap(batches))
	var workers sync.WaitGroup
	for range cap(batches) {
		workers.Go(func() {
			var pods podReader
			for b := range batches {
				if err := c.decode(b, &pods); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				select {
				case spare <- b.raw[:0]:
				default:
				}
			}
		})
	}
	err := s.lists(func(b batch) []byte {
		batches <- b
		select {
		case raw := <-spare:
			return raw
		default:
			return nil
		}
	})
	close(batches)
	workers.Wait()
	select {
	case e := <-failed:
		return e
	default:
		return err
	}
}

func (c *Collector) decode(b batch, pods *podReader) error {
	from := 0
	for _, f := range b.found {
		o, err := decode(f.kind, b.raw[from:f.end], pods)
		if err != nil {
			return fmt.Errorf("items[%d]: read a %s: %w", f.place, f.kind, err)
		}
		from = f.end
		c.Add(o)
	}
	return nil
}

func decode(kind string, raw []byte, pods *podReader) (kruntime.Object, error) {
	if kind == "Pod" {
		if p, err := pods.read(raw); err == nil {
			return p, nil
		}
	}
	o := empty(kind)
	return o, json.Unmarshal(raw, o)
}

// versions are the kinds that matter, and how they are written.
var versions = map[string]string{
	"Node": "v1", "Pod": "v1", "Service": "v1", "PersistentVolume": "v1", "PersistentVolumeClaim": "v1",
	"PodDisruptionBudget": "policy/v1", "EndpointSlice": "discovery.k8s.io/v1",
	"ReplicaSet": "apps/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1",
}

func empty(kind string) kruntime.Object {
	switch kind {
	case "Node":
		return &corev1.Node{}
	case "Pod":
		return &corev1.Pod{}
	case "Service":
		return &corev1.Service{}
	case "PersistentVolume":
		return &corev1.PersistentVolume{}
	case "PersistentVolumeClaim":
		return &corev1.PersistentVolumeClaim{}
	case "PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	case "EndpointSlice":
		return &discoveryv1.EndpointSlice{}
	case "ReplicaSet":
		return &appsv1.ReplicaSet{}
	case "Deployment":
		return &appsv1.Deployment{}
	case "StatefulSet":
		return &appsv1.StatefulSet{}
	default:
		return &appsv1.DaemonSet{}
	}
}
