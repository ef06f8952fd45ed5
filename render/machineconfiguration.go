package render

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	operator "github.com/openshift/api/operator/v1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// disruption is the node disruption policy of a MachineConfiguration. It is of no pool: it holds
// for the whole fleet.
type disruption struct {
	file, dir string
	at        place
	rules     []impact.Rule
}

// inForce is the name of the one MachineConfiguration that MCO reads.
const inForce = "cluster"

// Limits of MCO's API.
const (
	mostEntries = 50
	mostActions = 10
)

const disruptionField = "spec.nodeDisruptionPolicy"

func (r *reader) machineConfiguration(u *universe, file string, encoded []byte) {
	var in operator.MachineConfiguration
	unknown, wrong := manifest.DecodePruned(encoded, &in)
	for _, e := range unknown {
		if strings.HasPrefix(e.Field, disruptionField+".") { // without it nodes would be disturbed in another way
			wrong = append(wrong, e)
			continue
		}
		r.warn(file, e)
	}
	for _, e := range wrong {
		r.fail(file, e.Field, "%s", e.Why)
	}
	if len(wrong) > 0 {
		return
	}
	if in.Name != inForce {
		r.warn(file, manifest.Error{Field: "metadata.name", Why: fmt.Sprintf("MachineConfiguration %q is passed over: only the one of the name %s is in force", in.Name, inForce)})
		return
	}
	r.idle(file, in.Spec)
	d := disruption{file: file, dir: u.dir, at: r.now, rules: r.disruptionRules(file, in.Spec.NodeDisruptionPolicy)}
	u.disruptions = append(u.disruptions, d)
}

// idle names the fields that say something, and mean nothing here.
func (r *reader) idle(file string, s operator.MachineConfigurationSpec) {
	for _, f := range []struct {
		name string
		set  bool
		why  string
	}{
		{"managementState", s.ManagementState != "" && s.ManagementState != operator.Managed, "has no effect: nobody but Sluice manages these nodes"},
		{"logLevel", s.LogLevel != "" && s.LogLevel != operator.Normal, "has no effect: it is about an operator's log"},
		{"operatorLogLevel", s.OperatorLogLevel != "" && s.OperatorLogLevel != operator.Normal, "has no effect: it is about an operator's log"},
		{"unsupportedConfigOverrides", len(s.UnsupportedConfigOverrides.Raw) > 0 && string(s.UnsupportedConfigOverrides.Raw) != "null", "has no effect"},
		{"forceRedeploymentReason", s.ForceRedeploymentReason != "", "has no effect: it is about static pods"},
		{"managedBootImages", !reflect.ValueOf(s.ManagedBootImages).IsZero(), "is not Sluice's: whoever makes machines chooses their boot images"},
		{"bootImageSkewEnforcement", !reflect.ValueOf(s.BootImageSkewEnforcement).IsZero(), "is not Sluice's: whoever makes machines chooses their boot images"},
		{"irreconcilableValidationOverrides", !reflect.ValueOf(s.IrreconcilableValidationOverrides).IsZero(), "has no effect: what cannot be changed in place is refused"},
	} {
		if f.set {
			r.warn(file, manifest.Error{Field: "spec." + f.name, Why: f.why})
		}
	}
}

// disruptionRules reads the policy as the API of MCO admits it. Mistakes are told, and what they
// stand in yields no rule.
func (r *reader) disruptionRules(file string, p operator.NodeDisruptionPolicyConfig) (rules []impact.Rule) {
	d := entries{r: r, file: file, seen: map[string]bool{}}
	for list, n := range map[string]int{"files": len(p.Files), "units": len(p.Units)} {
		if n > mostEntries {
			d.fail(list, "has %d entries, and %d are the most: a directory holds for all below it", n, mostEntries)
		}
	}
	for i, f := range p.Files {
		field := fmt.Sprintf("files[%d]", i)
		switch {
		case !path.IsAbs(f.Path):
			d.fail(field+".path", "%q is not an absolute path", f.Path)
		case strings.ContainsFunc(f.Path, unicode.IsControl):
			d.fail(field+".path", "%q holds control characters", f.Path)
		case path.Clean(f.Path) != f.Path:
			d.fail(field+".path", "%q never matches: write %s", f.Path, path.Clean(f.Path))
		}
		if strings.ContainsAny(f.Path, "*?") {
			r.warn(file, manifest.Error{Field: disruptionField + "." + field + ".path", Why: fmt.Sprintf("%q is the path of one file of that very name: globs are for spec.impact of a RolloutPolicy", f.Path)})
		}
		d.once(field+".path", f.Path)
		rules = append(rules, impact.Rule{Path: f.Path, Actions: d.actions(field, f.Actions)})
	}
	for i, u := range p.Units {
		field := fmt.Sprintf("units[%d]", i)
		d.service(field+".name", u.Name)
		d.once(field+".name", string(u.Name))
		rules = append(rules, impact.Rule{Unit: string(u.Name), Actions: d.actions(field, u.Actions)})
	}
	if len(p.SSHKey.Actions) > 0 {
		rules = append(rules, impact.Rule{SSHKey: true, Actions: d.actions("sshkey", p.SSHKey.Actions)})
	}
	return rules
}

// entries are the lists of a policy while they are read.
type entries struct {
	r    *reader
	file string
	seen map[string]bool
}

func (d entries) fail(field, format string, args ...any) {
	d.r.fail(d.file, disruptionField+"."+field, format, args...)
}

// once refuses a second entry about the same thing: which of them holds nobody could say.
func (d entries) once(field, name string) {
	if d.seen[name] {
		d.fail(field, "%q stands twice: write one entry", name)
	}
	d.seen[name] = true
}

var (
	serviceName = regexp.MustCompile(`^[a-zA-Z0-9:._\\-]+\..`)
	serviceType = regexp.MustCompile(`\.(service|socket|device|mount|automount|swap|target|path|timer|snapshot|slice|scope)$`)
)

func (d entries) service(field string, name operator.NodeDisruptionPolicyServiceName) {
	if n := string(name); len(n) > 255 || !serviceName.MatchString(n) || !serviceType.MatchString(n) || !impact.IsUnit(n) {
		d.fail(field, "%q is not the name of a unit, such as app.service: letters, digits and :-_.\\ and the ending of a unit's type", n)
	}
}

func (d entries) actions(field string, in []operator.NodeDisruptionPolicySpecAction) (out []impact.Action) {
	field += ".actions"
	switch n := len(in); {
	case n == 0:
		d.fail(field, "is empty: write type None where nothing has to follow, or Reboot")
	case n > mostActions:
		d.fail(field, "has %d entries, and %d are the most", n, mostActions)
	}
	for i, a := range in {
		at := fmt.Sprintf("%s[%d]", field, i)
		kind, known := actionKinds[a.Type]
		switch {
		case a.Type == "Special":
			d.fail(at+".type", "Special is MCO's own: write Reload of crio.service, or leave the entry out to keep the default")
		case !known:
			d.fail(at+".type", "%q is none of None, Drain, Reload, Restart, DaemonReload, Reboot", a.Type)
		case (kind == impact.Nothing || kind == impact.Reboot) && len(in) > 1:
			d.fail(at+".type", "%s stands alone: leave the other actions out", a.Type)
		}
		out = append(out, impact.Action{Kind: kind, Unit: d.target(at, a)})
	}
	return out
}

var actionKinds = map[operator.NodeDisruptionPolicySpecActionType]impact.Kind{
	operator.NoneSpecAction: impact.Nothing, operator.DaemonReloadSpecAction: impact.Reload, operator.ReloadSpecAction: impact.Reload,
	operator.RestartSpecAction: impact.Restart, operator.DrainSpecAction: impact.Drain, operator.RebootSpecAction: impact.Reboot,
}

// target is the unit of a reload or restart. No other action may name one.
func (d entries) target(at string, a operator.NodeDisruptionPolicySpecAction) string {
	name := operator.NodeDisruptionPolicyServiceName("")
	for _, t := range []struct {
		kind  operator.NodeDisruptionPolicySpecActionType
		field string
		set   bool
		name  func() operator.NodeDisruptionPolicyServiceName
	}{
		{operator.ReloadSpecAction, ".reload", a.Reload != nil, func() operator.NodeDisruptionPolicyServiceName { return a.Reload.ServiceName }},
		{operator.RestartSpecAction, ".restart", a.Restart != nil, func() operator.NodeDisruptionPolicyServiceName { return a.Restart.ServiceName }},
	} {
		switch {
		case t.set && a.Type != t.kind:
			d.fail(at+t.field, "goes with type %s, and this one is %s", t.kind, a.Type)
		case a.Type == t.kind && !t.set:
			d.fail(at+t.field, "is missing: write {serviceName: app.service}")
		case t.set:
			name = t.name()
			d.service(at+t.field+".serviceName", name)
		}
	}
	return string(name)
}

// disruptions finds the one node disruption policy of the fleet; nil is none. A base that several
// builds include counts once.
func (r *reader) disruptions(all []universe) []impact.Rule {
	var first *disruption
	for _, u := range all {
		for _, d := range u.disruptions {
			switch {
			case first == nil:
				first = &d
			case !reflect.DeepEqual(first.rules, d.rules):
				r.failIn(d.at, d.file, disruptionField, "differs from that of %s, in %s: it holds for all pools, so write one; what one pool needs goes into spec.impact of a RolloutPolicy", first.file, where(first.dir))
			}
		}
	}
	if first == nil {
		return nil
	}
	return first.rules
}

func where(dir string) string {
	if dir == "" || dir == "." {
		return "the build of the root"
	}
	return "the build of " + dir
}

// impactRules is what a change costs the nodes of a pool; nil is impact.Defaults().
func (o Options) impactRules(fleet []impact.Rule, p policy.Rollout) []impact.Rule {
	own := append(slices.Clone(fleet), p.ImpactRules()...)
	if len(own) == 0 && (o.Profile == "" || o.Profile == machine.OpenShift) {
		return nil
	}
	return impact.Over(impact.For(o.Profile), own)
}

// bounded refuses more rules than an order can carry.
func (r *reader) bounded(t taken, rules []impact.Rule) []impact.Rule {
	if len(rules) > impact.MostRules {
		r.failIn(t.at, t.file, "", "pool %s has %d impact rules, and %d are the most that go with an order: write globs or directories", t.name, len(rules), impact.MostRules)
	}
	return rules
}

// ImpactRules reads the rules of MachineConfiguration and RolloutPolicy documents by themselves,
// over the table of the profile, and what an author probably did not mean. Of each kind there is at
// most one. Mistakes come back as Errors.
func (o Options) ImpactRules(docs []Document) (rules []impact.Rule, notices []string, err error) {
	r := newReader(o)
	u := r.read(Build{Documents: docs})
	fleet := r.disruptions([]universe{u})
	var own policy.Rollout
	for i, p := range u.policies {
		if own = p.spec; i > 0 {
			r.failIn(p.at, p.file, "metadata.name", "is a second RolloutPolicy: give the one of the pool in question, the other is %s of %s", u.policies[0].name, u.policies[0].file)
		}
	}
	for _, d := range docs {
		ours := func(file string) bool { return file == d.File }
		if !slices.ContainsFunc(u.disruptions, func(m disruption) bool { return ours(m.file) }) &&
			!slices.ContainsFunc(u.policies, func(p rollout) bool { return ours(p.file) }) && len(r.errs) == 0 {
			r.fail(d.File, "kind", "holds neither a MachineConfiguration of the name %s (operator.openshift.io/v1) nor a RolloutPolicy (sluice.dev/v1alpha1)", inForce)
		}
	}
	return o.impactRules(fleet, own), r.said(), r.failed()
}
