package policy

import (
	"fmt"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/source"
)

// previewMatch holds a step that costs more than people were shown before they merged. A failing
// node pays what it needs: no preview could foretell it.
func previewMatch(r Request) (Outcome, string) {
	if !r.Rollout.RequirePreviewMatch || r.Failing {
		return Allow, ""
	}
	const again = "open a pull request (an empty commit will do), read its preview, and merge it"
	if r.Facts.Reviewed == nil {
		return Wait, fmt.Sprintf("no preview of commit %s was shown before the merge: %s", source.Short(r.Commit), again)
	}
	costs, said := impact.Worst(r.Actions), r.Facts.Reviewed[r.Pool]
	if costs > said {
		return Wait, fmt.Sprintf("it costs %s, and its preview said %s: %s", costs, said, again)
	}
	return Allow, ""
}
