package policy

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// What an expression can name. The types are told to CEL, so that a field which is not there is
// the author's mistake when the policy is read, and not a rollout that waits for ever. There is
// nothing here that tells two nodes of one zone apart: what holds for one is not asked again for
// the next.
type (
	celPool struct {
		Name        string `cel:"name"`
		Nodes       int    `cel:"nodes"`
		Reached     int    `cel:"reached"`
		Started     int    `cel:"started"`
		Unavailable int    `cel:"unavailable"`
	}
	celNode struct {
		Zone   string `cel:"zone"`
		Cost   string `cel:"cost"`
		Canary bool   `cel:"canary"`
	}
	celRevision struct {
		Commit    string   `cel:"commit"`
		Proposal  int      `cel:"proposal"`
		Author    string   `cel:"author"`
		Approvals []string `cel:"approvals"`
		SignedBy  string   `cel:"signedBy"`
	}
	celProbe struct {
		Known   bool   `cel:"known"`
		Healthy bool   `cel:"healthy"`
		Why     string `cel:"why"`
	}
)

const (
	maxExpression = 4096    // bytes
	maxCost       = 100_000 // in CEL's own unit; a comparison costs about one
	maxCompiled   = 256
)

// expression asks the gates that are CEL. What cannot be evaluated is not healthy. A node that was
// begun is finished, as with the other gates.
func expression(r Request) (Outcome, string) {
	if r.Begun {
		return Allow, ""
	}
	var sick []string
	for _, g := range r.Rollout.Health {
		if g.Expression == "" {
			continue
		}
		if open, err := evaluate(g.Expression, r); err != nil {
			sick = append(sick, fmt.Sprintf("health gate %q cannot be evaluated: %v", g.Name, err))
		} else if !open {
			sick = append(sick, fmt.Sprintf("health gate %q is closed: %s", g.Name, g.Expression))
		}
	}
	if len(sick) > 0 {
		return Wait, strings.Join(sick, "; ")
	}
	return Allow, ""
}

func evaluate(text string, r Request) (bool, error) {
	program, err := compiled.program(text)
	if err != nil {
		return false, err
	}
	out, _, err := program.Eval(r.variables())
	if err != nil {
		return false, err
	}
	open, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("it says neither true nor false")
	}
	return open, nil
}

func (r Request) variables() map[string]any {
	probes := map[string]celProbe{}
	for _, g := range r.Rollout.Health {
		if g.Expression != "" {
			continue
		}
		p := r.Facts.Probes[g]
		why := g.ails(r)
		probes[g.Name] = celProbe{Known: g.Nodes != "" || !p.At.IsZero() && r.Now.Sub(p.At).Abs() <= fresh, Healthy: why == "", Why: why}
	}
	revision := celRevision{Commit: r.Commit, Approvals: []string{}}
	if review := r.Facts.Review; review != nil {
		revision.Proposal, revision.Author = review.Proposal, review.Author
		revision.Approvals = append(revision.Approvals, Approvals{}.given(*review)...)
	}
	if s := r.Facts.Signature; s != nil {
		revision.SignedBy = s.By
	}
	return map[string]any{
		"pool":     celPool{Name: r.Pool, Nodes: r.Nodes, Reached: r.Stage.Reached, Started: r.Stage.Started, Unavailable: len(r.Unavailable)},
		"node":     celNode{Zone: r.Zone, Cost: impact.Worst(r.Actions).String(), Canary: r.Canary},
		"revision": revision,
		"probes":   probes,
		"now":      r.Now,
	}
}

// programs remembers what was compiled: that costs a hundred times what asking does, and every
// node is asked. It remembers no answer.
type programs struct {
	sync.Mutex
	byText map[string]compilation
}

type compilation struct {
	program cel.Program
	err     error
}

var compiled programs

func (p *programs) program(text string) (cel.Program, error) {
	p.Lock()
	defer p.Unlock()
	c, ok := p.byText[text]
	if !ok {
		if p.byText == nil || len(p.byText) >= maxCompiled {
			p.byText = map[string]compilation{}
		}
		c.program, c.err = compile(text)
		p.byText[text] = c
	}
	return c.program, c.err
}

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		ext.NativeTypes(reflect.TypeFor[celPool](), reflect.TypeFor[celNode](), reflect.TypeFor[celRevision](), reflect.TypeFor[celProbe](), ext.ParseStructTag("cel")),
		cel.Variable("pool", cel.ObjectType("policy.celPool")),
		cel.Variable("node", cel.ObjectType("policy.celNode")),
		cel.Variable("revision", cel.ObjectType("policy.celRevision")),
		cel.Variable("probes", cel.MapType(cel.StringType, cel.ObjectType("policy.celProbe"))),
		cel.Variable("now", cel.TimestampType),
	)
})

// compile makes an expression ready to be asked.
func compile(text string) (cel.Program, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	return env.Program(parsed, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(0))
}

// parse reads an expression; its error is one line, with the column.
func parse(text string) (*cel.Ast, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("is longer than %d bytes", maxExpression)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	parsed, issues := env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		why, _, _ := strings.Cut(first.Message, "\n")
		return nil, fmt.Errorf("is no CEL over pool, node, revision, probes and now: column %d: %s", first.Location.Column()+1, why)
	}
	if parsed.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("gives %s, and must say true or false", parsed.OutputType())
	}
	return parsed, nil
}
