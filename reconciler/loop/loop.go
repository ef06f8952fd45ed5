// Package loop is the hands of the reconciler: it looks, asks Step, remembers, and does.
package loop

import (
	"context"
	"io/fs"

	"github.com/sluice-gitops/sluice/source"
)

// Source is the Git repository that the fleet follows.
type Source interface {
	// Look asks the remote once for every ref that matters. When the remote does not answer it
	// returns the last sighting it had together with the error.
	Look(context.Context) (source.Sighting, error)
	// Tree reads a commit that some Look has shown, straight from the object store.
	Tree(ctx context.Context, commit string) (fs.FS, error)
	// MergeBase is the commit from which head left the followed branch; "" when they share none.
	MergeBase(ctx context.Context, followed, head string) (string, error)
}

// Forge is the place where people read about commits and pull requests.
type Forge interface {
	// Proposals lists the open pull requests against the followed branch, sorted by number.
	Proposals(context.Context) ([]source.Proposal, error)
	// Post says one status of one commit. Saying it twice does no harm.
	Post(context.Context, source.Status) error
	// Comment writes the one comment of a pull request, or edits it in place. Where the forge
	// shows the same body already, nothing is written.
	Comment(context.Context, source.Comment) error
}
