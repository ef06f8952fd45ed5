package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/kube"
)

// there and back takes a value to the cluster's form and home again.
var thereAndBack = map[string]func(dice *rand.Rand) (was, is any, err error){
	"order": func(dice *rand.Rand) (any, any, error) {
		var was nodeops.Order
		fill(reflect.ValueOf(&was).Elem(), dice)
		was.Strange, was.Generation = "", was.Generation>>1|1
		spec, err := v1alpha1.SpecOf(was)
		if err != nil {
			return was, nil, err
		}
		is, err := stored(spec).Order(was.Node)
		return was, is, err
	},
	"report": func(dice *rand.Rand) (any, any, error) {
		var was nodeops.Report
		fill(reflect.ValueOf(&was).Elem(), dice)
		was.Generation >>= 1
		home := v1alpha1.NodeConfig{}
		if err := home.Say(was, metav1.Now()); err != nil {
			return was, nil, err
		}
		is, err := stored(home.Status).Report()
		return was, is, err
	},
	"rollout": func(dice *rand.Rand) (any, any, error) {
		var was policy.Rollout
		fill(reflect.ValueOf(&was).Elem(), dice)
		there, err := kube.RolloutOf(was)
		if err != nil {
			return was, nil, err
		}
		is, err := kube.Rollout(stored(there))
		return was, is, err
	},
	"hold": func(dice *rand.Rand) (any, any, error) {
		var was policy.Hold
		fill(reflect.ValueOf(&was).Elem(), dice)
		there, err := kube.HoldOf(was)
		if err != nil {
			return was, nil, err
		}
		is, err := kube.Hold(stored(there))
		return was, is, err
	},
}

// stored is a value as the server gives it back.
func stored[T any](v T) (out T) {
	encoded, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(encoded, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// fill sets every field, so that one that is forgotten shows. A type that it does not know fails
// the test.
func fill(v reflect.Value, dice *rand.Rand) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(dice.Int63n(1<<33), dice.Int63n(1e9)).UTC()))
		return
	case impact.Kind:
		v.Set(reflect.ValueOf(impact.Kind(1 + dice.Intn(int(impact.Impossible)))))
		return
	case nodeops.Phase:
		phases := []nodeops.Phase{nodeops.Working, nodeops.Done, nodeops.Restored, nodeops.Failed, nodeops.Refused, nodeops.Expired}
		v.Set(reflect.ValueOf(phases[dice.Intn(len(phases))]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d\"ä<", dice.Int63()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(1 + dice.Int63n(1<<30))
	case reflect.Uint64:
		v.SetUint(dice.Uint64())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), dice)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+dice.Intn(2), 3))
		for i := range v.Len() {
			fill(v.Index(i), dice)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, dice)
		fill(value, dice)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), dice)
		}
	default:
		panic("fill does not know " + v.Type().String())
	}
}

// FuzzThereAndBack loses no field of what is written into a cluster.
func FuzzThereAndBack(f *testing.F) {
	for seed := range int64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		for name, way := range thereAndBack {
			was, is, err := way(rand.New(rand.NewSource(seed)))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if diff := cmp.Diff(was, is); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
	})
}

func TestWhatIsNotThereStaysAway(t *testing.T) {
	if o, err := (v1alpha1.NodeConfigSpec{}).Order("w1"); err != nil || !reflect.DeepEqual(o, nodeops.Order{}) {
		t.Errorf("no order is %+v, %v", o, err)
	}
	if r, err := (v1alpha1.NodeConfigStatus{}).Report(); err != nil || !reflect.DeepEqual(r, nodeops.Report{}) {
		t.Errorf("no report is %+v, %v", r, err)
	}
	if r, err := kube.Rollout(v1alpha1.Rollout{}); err != nil || !reflect.DeepEqual(r, policy.Rollout{}) {
		t.Errorf("no rules are %+v, %v", r, err)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	if _, err := v1alpha1.SpecOf(nodeops.Order{Generation: 1, Strange: "ceiling: lunch"}); err == nil || !strings.Contains(err.Error(), "lunch") {
		t.Errorf("an order that was not understood is passed on: %v", err)
	}
	if _, err := v1alpha1.SpecOf(nodeops.Order{Generation: 1 << 63}); err == nil {
		t.Error("a generation that the cluster cannot hold is passed on")
	}
	if _, err := (v1alpha1.NodeConfigStatus{Phase: "dreaming"}).Report(); err == nil || !strings.Contains(err.Error(), "dreaming") {
		t.Errorf("a phase that nobody knows: %v", err)
	}
	o, err := (v1alpha1.NodeConfigSpec{Generation: 7, Config: "d", Ceiling: "lunch"}).Order("w1")
	if err != nil || o.Generation != 7 || !strings.Contains(o.Strange, "lunch") {
		t.Errorf("an order of another version is %+v, %v: its generation must be answered", o, err)
	}
	if _, err := kube.Hold(v1alpha1.Hold{Until: "tomorrow"}); err == nil {
		t.Error("a hold until nobody knows when is a hold")
	}
}

// TestConditions is what kubectl wait and kstatus read.
func TestConditions(t *testing.T) {
	long, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	d := machine.Config{}.Digest()
	home := v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Generation: 4}, Spec: v1alpha1.NodeConfigSpec{Generation: 7}}
	for _, tt := range []struct {
		name string
		r    nodeops.Report
		want string // Ready, then what is true besides, with its reason
	}{
		{"it has not taken up its order", nodeops.Report{Generation: 6, Config: d, Phase: nodeops.Done}, "False Reconciling Ordered"},
		{"at work", nodeops.Report{Generation: 7, Phase: nodeops.Working, Why: "reboots"}, "False Reconciling Working"},
		{"done", nodeops.Report{Generation: 7, Config: d, Phase: nodeops.Done}, "True Done"},
		{"drifted", nodeops.Report{Generation: 7, Config: d, Phase: nodeops.Done, Drift: []nodeops.Drift{{Path: "/x", Kind: nodeops.DriftMode, Why: "is 0600"}}}, "False Stalled Drifted"},
		{"failed", nodeops.Report{Generation: 7, Phase: nodeops.Failed, Why: "no"}, "False Stalled Failed"},
		{"went back", nodeops.Report{Generation: 7, Phase: nodeops.Restored, Why: "no"}, "False Stalled Restored"},
		{"refused", nodeops.Report{Generation: 7, Phase: nodeops.Refused, Why: "no"}, "False Stalled Refused"},
		{"too late", nodeops.Report{Generation: 7, Phase: nodeops.Expired, Why: "no"}, "False Stalled Expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := home
			for _, at := range []metav1.Time{long, now} {
				if err := n.Say(tt.r, at); err != nil {
					t.Fatal(err)
				}
			}
			got, reason := "", ""
			for _, c := range n.Status.Conditions {
				if c.Type == v1alpha1.Ready {
					got, reason = string(c.Status)+got, " "+c.Reason
				} else {
					got += " " + c.Type
				}
				if c.ObservedGeneration != 4 || !c.LastTransitionTime.Equal(&long) || c.Reason == "" {
					t.Errorf("the condition is %+v", c)
				}
			}
			if got += reason; got != tt.want || n.Status.ObservedGeneration != 4 {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
