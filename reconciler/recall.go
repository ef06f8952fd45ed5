package reconciler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// outline remembers the pools of the revision in force. A controller that starts anew while Git is
// silent has nothing else to go by. One commit may come to other rules: when its overlay is another, or
// this program.
func (s *State) outline(pools []render.Pool) {
	now := make([]render.Outline, len(pools))
	for i, p := range pools {
		now[i] = p.Outline(s.Good.Commit)
	}
	if !same(s.Outlines, now) {
		s.Outlines = now
	}
}

// same says that two lists are stored as the same bytes: what has not changed is not saved, and a
// store need not give back an empty list, or a time zone, as it was.
func same(a, b []render.Outline) bool {
	if len(a) != len(b) || reflect.DeepEqual(a, b) {
		return len(a) == len(b)
	}
	was, wrongA := json.Marshal(a)
	is, wrongB := json.Marshal(b)
	return wrongA == nil && wrongB == nil && bytes.Equal(was, is)
}

// Recall is the revision in force as it is remembered, where nobody can read it. Known are the configs
// that its outlines name. Step decides by it as by the revision itself: nothing is begun that would not
// have been, and what was begun is finished.
func (s State) Recall(known map[machine.Digest]machine.Config) (Head, error) {
	if len(s.Outlines) == 0 {
		return Head{}, errors.New("the state holds no pools")
	}
	h := Head{Revision: s.Good, Pools: make([]render.Pool, len(s.Outlines))}
	for i, o := range s.Outlines {
		c, ok := known[o.Target]
		if !ok || o.Of != s.Good.Commit {
			return Head{}, fmt.Errorf("config %s of pool %s is not kept", o.Target.Short(), o.Name)
		}
		var err error
		if h.Pools[i], err = o.Pool(c); err != nil {
			return Head{}, fmt.Errorf("recall %s: %w", s.Good.Short(), err)
		}
	}
	return h, nil
}

const (
	notRendered = "not rendered: "
	held        = "held: "
)

// Aside is the newest revision that was seen where it is not the one in force, as it is remembered:
// its branch was rewritten, or else it does not render. Both are nil where the newest is in force. A
// controller that starts while Git is silent must not take a hold for lifted that it cannot see.
func (s State) Aside() (rewound, broken *Broken) {
	if len(s.Refused) == 0 {
		return nil, nil
	}
	st := s.Refused[0]
	b := &Broken{Revision: source.Revision{Repo: s.Good.Repo, Ref: s.Good.Ref, Commit: st.Commit}}
	if why, ok := strings.CutPrefix(st.Summary, held); ok {
		b.Why = why
		return b, nil
	}
	b.Why = strings.TrimPrefix(st.Summary, notRendered)
	return nil, b
}
