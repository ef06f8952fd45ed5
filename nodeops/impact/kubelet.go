package impact

import (
	"maps"
	"reflect"
	"slices"

	"sigs.k8s.io/yaml"
)

// restartable are the fields of a KubeletConfiguration that the kubelet reads when it starts and
// that change nothing for pods which run. Any other may throw pods out (maxPods, reservations,
// eviction, topology), hold a kubelet that restarts from coming up (the state of the CPU and memory
// managers), or part its pods among two ways of grouping them (cgroups).
var restartable = map[string]bool{
	"containerLogMaxFiles": true, "containerLogMaxSize": true, "containerLogMaxWorkers": true, "containerLogMonitorInterval": true,
	"enableDebugFlagsHandler": true, "enableDebuggingHandlers": true, "enableProfilingHandler": true,
	"enableSystemLogHandler": true, "enableSystemLogQuery": true,
	"eventBurst": true, "eventRecordQPS": true, "kubeAPIBurst": true, "kubeAPIQPS": true,
	"fileCheckFrequency": true, "httpCheckFrequency": true, "syncFrequency": true, "volumeStatsAggPeriod": true,
	"imageGCHighThresholdPercent": true, "imageGCLowThresholdPercent": true, "imageMaximumGCAge": true, "imageMinimumGCAge": true,
	"logging": true, "maxParallelImagePulls": true, "serializeImagePulls": true, "registryBurst": true, "registryPullQPS": true,
	"nodeStatusReportFrequency": true, "nodeStatusUpdateFrequency": true,
	"runtimeRequestTimeout": true, "streamingConnectionIdleTimeout": true,
	"shutdownGracePeriod": true, "shutdownGracePeriodByPodPriority": true, "shutdownGracePeriodCriticalPods": true,
	"tlsCipherSuites": true, "tlsMinVersion": true,
}

// beyondRestart says why going from one KubeletConfiguration to the other takes more than a restart
// of the kubelet; "" when it does not. A file that is not there is an empty one.
func beyondRestart(old, new []byte) string {
	before, err := readKubelet(old)
	if err != nil {
		return "the old file cannot be read" // its author has heard why when it came
	}
	after, err := readKubelet(new)
	if err != nil {
		return "the new file cannot be read as a KubeletConfiguration"
	}
	for _, field := range slices.Sorted(maps.Keys(union(before, after))) {
		a, had := before[field]
		b, has := after[field]
		head := (field == "apiVersion" || field == "kind") && !(had && has) // the file comes or goes
		if !restartable[field] && !head && !reflect.DeepEqual(a, b) {
			return "a change of " + field + " takes more than a restart of the kubelet"
		}
	}
	return ""
}

func readKubelet(body []byte) (fields map[string]any, err error) {
	err = yaml.UnmarshalStrict(body, &fields)
	return fields, err
}

func union(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, b)
	return out
}
