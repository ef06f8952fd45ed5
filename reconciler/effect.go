package reconciler

import (
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/source"
)

// Effect is one thing for the loop to do. Effects are idempotent and come in a fixed order.
type Effect interface{ effect() }

type (
	// Send gives a node its order.
	Send struct{ Order nodeops.Order }
	// Drain cordons a node as ours and empties it; said again while it lasts.
	Drain struct {
		Node  string
		Until time.Time     // Step gives up then: nothing need be waited for beyond it; zero: with Force, or without an end
		Pods  []policy.Pods // how pods leave; the first entry that matches holds, and what none matches is evicted
		Force bool          // what cannot be evicted is deleted
	}
	// Uncordon releases our cordon.
	Uncordon struct{ Node string }
	// Post says a status.
	Post struct{ Status source.Status }
	// Remark writes the comment of a pull request.
	Remark struct{ Comment source.Comment }
)

func (Send) effect()     {}
func (Drain) effect()    {}
func (Uncordon) effect() {}
func (Post) effect()     {}
func (Remark) effect()   {}
