package kube

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Call is a request that the server was asked for, by its audit log.
type Call struct {
	At, Done  time.Time // when it came, and when it was answered
	Who       string    // the token; those of two processes differ though the account is the same
	Account   string    // of Kubernetes
	Node      string    // that the token is bound to, by way of its pod
	Verb      string
	Resource  string // with its subresource, such as pods/eviction
	Namespace string
	Name      string
	Code      int
	Holder    string // of a lease, as it was asked for
}

func (c Call) done() bool { return c.Code < 400 }

func (c Call) writes() bool { return !slices.Contains([]string{"get", "list", "watch"}, c.Verb) }

// auditPolicy logs every request of the accounts in one namespace, and of the leases what they say.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Request
  verbs: [create, update, patch]
  userGroups: ["system:serviceaccounts:` + Namespace + `"]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
  userGroups: ["system:serviceaccounts:` + Namespace + `"]
- level: None
`

// entry is one line of the log.
type entry struct {
	Verb string
	User struct {
		Username string
		Extra    map[string][]string
	}
	ObjectRef struct {
		Resource, Subresource, Namespace, Name string
	}
	ResponseStatus struct{ Code int }
	RequestObject  struct {
		Spec struct{ HolderIdentity string }
	}
	RequestReceivedTimestamp, StageTimestamp time.Time
}

// readCalls reads an audit log. A last line that is not whole is still being written.
func readCalls(file string) (out []Call, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		c := Call{
			At: e.RequestReceivedTimestamp, Done: e.StageTimestamp, Account: e.User.Username, Verb: e.Verb,
			Who: first(e.User.Extra["authentication.kubernetes.io/credential-id"]), Node: first(e.User.Extra["authentication.kubernetes.io/node-name"]),
			Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
			Code: e.ResponseStatus.Code, Holder: e.RequestObject.Spec.HolderIdentity,
		}
		if e.ObjectRef.Subresource != "" {
			c.Resource += "/" + e.ObjectRef.Subresource
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Call) int { return a.At.Compare(b.At) })
	return out, lines.Err()
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// After are the calls that came after a time.
func (r Record) After(t time.Time) Record {
	i := slices.IndexFunc(r.Calls, func(c Call) bool { return c.At.After(t) })
	if i < 0 {
		i = len(r.Calls)
	}
	r.Calls = r.Calls[i:]
	return r
}

// fenced are the things that only the controller that leads may write. The status of the Fleet is not
// among them: a replica that may not ask for the lease says so there.
func fenced(c Call) bool {
	if !c.writes() {
		return false
	}
	switch c.Resource {
	case "nodes", "nodeconfigs", "pods", "pods/eviction", "pools", "pools/status":
		return true
	case "secrets":
		return strings.HasSuffix(c.Name, "-state") || strings.HasPrefix(c.Name, "config-")
	}
	return false
}

// Deposed complains of every write that a controller was granted while another held the lease, or
// none, and of every eviction that it tried. It answers with how often the lease has changed hands, and how many writes were refused to
// somebody who did not hold it.
func (r Record) Deposed(lease string) (changes, refused int, complaints []string) {
	var held []Call // granted writes of the lease
	for _, c := range r.Calls {
		if c.Resource == "leases" && c.Name == lease && c.writes() && c.done() && c.Account == controllerAccount {
			held = append(held, c)
		}
	}
	slices.SortStableFunc(held, func(a, b Call) int { return a.Done.Compare(b.Done) })
	holder := func(at time.Time) string {
		who := ""
		for _, c := range held {
			switch {
			case c.Done.After(at):
				return who
			case c.Holder == "":
				who = ""
			default:
				who = c.Who
			}
		}
		return who
	}
	last := ""
	for _, c := range held {
		if c.Holder != "" && c.Who != last {
			last = c.Who
			changes++
		}
	}
	for _, c := range r.Calls {
		if c.Account != controllerAccount || !fenced(c) {
			continue
		}
		if h := holder(c.At); h != c.Who {
			answer := "is granted"
			if !c.done() {
				refused++
				if c.Resource != "pods/eviction" { // what refuses that is a budget, which knows of no lease
					continue
				}
				answer = "asks for"
			}
			complaints = append(complaints, fmt.Sprintf("deposed: at %s controller %s %s %s %s %s while %q holds the lease",
				c.At.Format("15:04:05.000"), c.Who, answer, c.Verb, c.Resource, c.Name, h))
		}
	}
	return changes, refused, complaints
}

// Rights complains of what the accounts were refused for want of a right, of pods that were deleted
// instead of evicted, and of agents that were granted more than the status of their own node. A
// server that starts refuses everybody until it has read the rights that there are.
func (r Record) Rights() (complaints []string) {
	for _, c := range r.Calls {
		what := fmt.Sprintf("%s %s %s/%s", c.Verb, c.Resource, c.Namespace, c.Name)
		switch {
		case c.Account != controllerAccount && c.Account != agentAccount:
		case c.Code == 403 && slices.ContainsFunc(r.Dark, func(s Span) bool { return s.holds(c.At) }):
		case c.Code == 403:
			complaints = append(complaints, fmt.Sprintf("rights: %s is refused %s", c.Account, what))
		case !c.done():
		case !c.writes():
		case c.Account == agentAccount && (c.Resource != "nodeconfigs/status" || c.Name != c.Node):
			complaints = append(complaints, fmt.Sprintf("rights: the agent of node %q is granted %s", c.Node, what))
		case c.Account == controllerAccount && c.Resource == "pods" && c.Verb == "delete":
			complaints = append(complaints, fmt.Sprintf("rights: the controller deletes pod %s/%s instead of asking it to leave", c.Namespace, c.Name))
		}
	}
	return complaints
}

// Writes counts what nodes cost the server: granted writes of Nodes and NodeConfigs by an account, by
// node. Evictions are not among them.
func (r Record) Writes(account string) map[string]int {
	out := map[string]int{}
	for _, c := range r.Calls {
		ours := c.Resource == "nodes" || c.Resource == "nodeconfigs" || c.Resource == "nodeconfigs/status"
		if c.Account == account && c.done() && c.writes() && ours {
			out[c.Name]++
		}
	}
	return out
}
