package test

import "strings"

const module = "github.com/sluice-gitops/sluice/"

// room is one package of the house, or one of a kind with all below it ("source/forge/...").
type room struct {
	dir  string
	kind kind
	may  string // which of our packages it may import, besides those of its own room
}

type kind int

const (
	pure    kind = iota // below the waterline: values in, values out
	shell               // may wait, read and write
	adapter             // a shell towards one outside party; adapters know nothing of one another
	support             // for tests, and imported by them alone
	command             // wires everything; imported by no one
)

const (
	node  = "machine nodeops nodeops/impact "
	fleet = node + "source policy render "
)

// rooms says who may import whom. A new package needs a line here, and a moment's thought where
// it hangs; the arrows point downwards.
var rooms = []room{
	{"machine", pure, ""},
	{"machine/manifest", pure, "machine"},
	{"source", pure, ""},
	{"nodeops/impact", pure, "machine"},
	{"nodeops", pure, "machine nodeops/impact"},
	{"nodeops/agent", pure, node},
	{"policy", pure, node + "source"}, // nodeops: a check judges what a node reports
	{"render", pure, "machine machine/manifest policy nodeops/impact render/kubelet render/crio render/mirror"}, // policy, impact: a pool carries its policy and its rules
	{"render/kubelet", pure, "machine machine/manifest"},
	{"render/crio", pure, "machine machine/manifest"},
	{"render/mirror", pure, "machine machine/manifest"},
	{"reconciler", pure, fleet},
	{"reconciler/blockers", pure, node + "policy"},
	{"reconciler/preview", pure, fleet + "reconciler reconciler/blockers"},

	{"durable", shell, ""},
	{"examples", shell, ""},  // fleet repositories, embedded
	{"api/...", shell, node}, // api/clock: the time by the server
	{"nodeops/agent/loop", shell, node + "nodeops/agent durable"},
	{"reconciler/loop", shell, fleet + "reconciler reconciler/preview"},
	{"reconciler/sim", shell, fleet + "nodeops/agent reconciler reconciler/preview"}, // a world with dice of its own, and no clock

	{"source/git", adapter, "source durable"},
	{"source/forge/...", adapter, "source"},
	{"source/webhook", adapter, "source"},
	{"render/kustomize", adapter, "render machine/manifest"},
	{"render/butane", adapter, "render machine/manifest"},
	{"policy/facts", adapter, "policy source"},
	{"nodeops/host/...", adapter, node + "nodeops/agent durable"},
	{"nodeops/host/kube", adapter, node + "api/..."},
	{"nodeops/join", adapter, node + "machine/manifest"},
	{"reconciler/kube", adapter, fleet + "reconciler api/..."},
	{"reconciler/cluster", adapter, fleet + "reconciler reconciler/blockers"},
	{"reconciler/local", adapter, fleet + "reconciler durable"},
	{"reconciler/metrics", adapter, fleet + "reconciler reconciler/loop"}, // loop: what a tick came to
	{"reconciler/console", adapter, fleet + "reconciler"},

	{"source/git/gittest", support, "source source/git"},
	{"source/forge/loopback/contract", support, ""},
	{"reconciler/loop/looptest", support, fleet + "reconciler reconciler/loop"},
	{"nodeops/agent/loop/hosttest", support, node + "nodeops/agent nodeops/agent/loop"},
	{"test/chart", support, fleet + "nodeops/host/kube reconciler reconciler/kube api/... test/cluster"},
	{"test/cluster", support, ""}, // a real control plane on loopback
	{"test/e2e/kube", support, "api/... examples nodeops/host/... source/forge/loopback test/cluster"},

	{"test/mutants", command, ""}, // make mutants: breaks Step on purpose, to see who notices
	{"test/peak", support, ""},
	{"test/report", command, ""}, // make test and make bench print with it
	{"cmd/sluice", command, "..."},
	{"cmd/sluice-agent", command, node + "machine/manifest api/clock durable nodeops/agent nodeops/agent/loop nodeops/host/..."},
}

// exceptions are the complaints that are not made, by how they begin, each with its reason.
var exceptions = map[string]string{
	"nodeops/host/local imports nodeops/agent/loop": "it ends its agent with the loop's own ErrReboot, and keeps its inbox in the loop's Files",

	"nodeops/host/kube imports k8s.io/client-go/rest":            "the node's own NodeConfig, and what reads a pod's account: no typed clients, which would add ten megabytes to every node",
	"nodeops/host/kube imports k8s.io/client-go/tools/clientcmd": "the same, for a kubeconfig file",

	"reconciler/cluster imports k8s.io/kubectl/pkg/drain":                  "its filters say what a drain would do with a pod: they are asked, not repeated",
	"reconciler/cluster imports k8s.io/client-go/kubernetes":               "the face that the filters ask their questions to, answered from a record; and the live reading",
	"reconciler/cluster imports k8s.io/client-go/kubernetes/typed/core/v1": "the same, for pods",
	"reconciler/cluster imports k8s.io/client-go/kubernetes/typed/apps/v1": "the same, for DaemonSets",
	"reconciler/cluster imports k8s.io/client-go/rest":                     "a transport that refuses whatever is no such question",
	"reconciler/cluster imports k8s.io/client-go/tools/pager":              "a live cluster is read page by page",

	"test/e2e/kube imports k8s.io/client-go/dynamic":             "the observer watches with a client of its own, which must not be the one under test",
	"test/e2e/kube imports k8s.io/client-go/kubernetes":          "the same, for the objects of Kubernetes",
	"test/e2e/kube imports k8s.io/client-go/rest":                "the same",
	"test/e2e/kube imports k8s.io/client-go/tools/clientcmd":     "writes the kubeconfigs of controllers and agents",
	"test/e2e/kube imports k8s.io/client-go/tools/clientcmd/api": "the same",

	"render imports k8s.io/apimachinery/pkg/labels":       "label selectors: pure matching, and the words that Kubernetes users know",
	"render imports k8s.io/apimachinery/pkg/selection":    "the operators of those selectors",
	"render imports k8s.io/apimachinery/pkg/apis/meta/v1": "the selectors as MachineConfigPool writes them: data",

	"render/kubelet imports k8s.io/kubelet/config/v1beta1":        "the fields that a kubelet knows: data",
	"render/kubelet imports k8s.io/apimachinery/pkg/api/resource": "reads quantities: pure",
	"render/crio imports k8s.io/apimachinery/pkg/api/resource":    "reads quantities: pure",
}

// owners are libraries that only one place may know, so that they can be replaced there.
var owners = map[string]string{
	"sigs.k8s.io/kustomize":                   "render/kustomize",
	"github.com/go-git":                       "source/git",
	"github.com/google/go-github":             "source/forge/github",
	"github.com/coreos/butane":                "render/butane",
	"github.com/coreos/go-systemd/v22/dbus":   "nodeops/host",
	"k8s.io/client-go":                        "reconciler/kube",
	"k8s.io/kubectl":                          "reconciler/kube",
	"github.com/robfig/cron":                  "policy",
	"github.com/google/cel-go":                "policy",
	"github.com/prometheus/client_golang/api": "policy/facts",
	"github.com/ProtonMail/go-crypto":         "policy/facts",
	"github.com/hiddeco/sshsig":               "policy/facts",
	"github.com/spf13/cobra":                  "cmd",
	"github.com/getkin/kin-openapi/openapi3":  "source/forge/loopback/contract",
}

// unreached is what the agent's side does not even link: it runs on every node.
var (
	agentSide = []string{"nodeops/agent", "nodeops/host", "cmd/sluice-agent"}
	unreached = []string{
		"render", "source", "policy", "reconciler", "sigs.k8s.io/kustomize", "github.com/go-git",
		"k8s.io/client-go/kubernetes", "k8s.io/client-go/dynamic", "k8s.io/client-go/informers", "k8s.io/client-go/gentype", "k8s.io/api", "k8s.io/kubectl",
	}
)

// dry is what nothing below the waterline may import.
var dry = []string{
	"os", "net", "context", "log", "io/ioutil", "syscall", "math/rand", "crypto/rand", "k8s.io",
	"golang.org/x/sys", "golang.org/x/sync", "testing",
}

// moist are pure parts of what is dry.
var moist = []string{"net/url", "net/netip"}

// clocks are the functions of package time that look at one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// nameless are package names that say nothing about what the package knows.
var nameless = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base", "manager"}

const (
	maxFile    = 400 // lines
	maxFunc    = 60  // lines
	maxMethods = 4   // of an interface
)

// within says whether a path is dir or lies below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// covers says whether a pattern of rooms, "a" or "a/..." or "...", holds dir.
func covers(pattern, dir string) bool {
	root, wide := strings.CutSuffix(pattern, "...")
	root = strings.TrimSuffix(root, "/")
	return dir == pattern || wide && (root == "" || within(dir, root))
}

// roomOf is the closest room of a directory.
func roomOf(dir string) (closest room, ok bool) {
	for _, r := range rooms {
		if covers(r.dir, dir) && len(r.dir) >= len(closest.dir) {
			closest, ok = r, true
		}
	}
	return closest, ok
}
