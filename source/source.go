// Package source holds what Git tells us (Revision, Proposal) and what we tell Git (Status, Comment).
package source

// Revision is one commit of the fleet repository; Commit is the identity of all that follows.
type Revision struct {
	Repo     string `json:"repo,omitempty"`
	Ref      string `json:"ref,omitempty"`
	Commit   string `json:"commit"`             // 40 hexadecimal digits
	Proposal int    `json:"proposal,omitempty"` // pull request number; 0 on the followed branch
}

// Short is the commit as people read it: its first seven digits.
func (r Revision) Short() string { return Short(r.Commit) }

// Short cuts a commit to the seven digits that people read.
func Short(commit string) string { return commit[:min(7, len(commit))] }

// Sighting is the answer of one look at the remote: every ref that matters, seen at one moment.
type Sighting struct {
	Head      Revision
	Proposals map[int]string // pull request number -> its head commit
}

// Proposal is an open pull request against the followed branch.
type Proposal struct {
	Number int    `json:"number"`
	Title  string `json:"title"` // hostile: whoever may open a pull request chooses it
	Head   string `json:"head"`  // commit
	Fork   bool   `json:"fork,omitempty"`
	Draft  bool   `json:"draft,omitempty"`
}

// Review is what a forge knows of how a commit came to the followed branch.
type Review struct {
	Proposal  int        `json:"proposal,omitempty"` // pull request number; 0: the commit was pushed
	Author    string     `json:"author,omitempty"`   // who opened it
	Head      string     `json:"head,omitempty"`     // its last commit: what was merged
	Approvals []Approval `json:"approvals,omitempty"`
}

// Approval is one person's yes to a pull request, which no later word of that person takes back.
type Approval struct {
	By     string   `json:"by"`
	Teams  []string `json:"teams,omitempty"` // ORG/TEAM, as far as they were asked for
	Commit string   `json:"commit"`          // what was approved
}

// State is how a commit stands with a pool.
type State string

const (
	Pending    State = "pending"
	Success    State = "success"
	Failure    State = "failure"
	Superseded State = "superseded" // a newer commit took its place; terminal
)

// Terminal says that nothing more will be said of the commit, unless somebody acts.
func (s State) Terminal() bool { return s != Pending }

// Status is what we say of one commit and one pool. It is comparable: != means "say it".
type Status struct {
	Commit  string `json:"commit"`
	Pool    string `json:"pool"` // "" speaks of the whole commit, when no pool could be rendered
	State   State  `json:"state"`
	Summary string `json:"summary"` // one line; a forge may clamp it
}

// Comment is the one comment that we keep on a pull request. It is comparable, too.
type Comment struct {
	Proposal int    `json:"proposal"`
	Body     string `json:"body"` // markdown
}
