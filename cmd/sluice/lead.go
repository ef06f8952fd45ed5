package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/forge/github"
	"github.com/sluice-gitops/sluice/source/git"
)

// glance is how often the Fleet and the Secrets that it names are read.
const glance = 3 * time.Second

// asked is all that a Fleet says, with the credentials that it names. Two that are equal ask for one
// controller. It is never printed.
type asked struct {
	spec     v1alpha1.FleetSpec // without holds and rewind, which are read at every tick
	read     kube.Text          // which of the Fleet's that is
	username string
	password string
	forge    string // the forge's token
}

// same says that two ask for one controller.
func (a asked) same(b asked) bool {
	a.read, b.read = kube.Text{}, kube.Text{}
	return reflect.DeepEqual(a, b)
}

// following is a controller at work on what was asked.
type following struct {
	asked asked
	stop  context.CancelFunc
	ended chan struct{}
}

func (f *following) end() {
	if f != nil {
		f.stop()
		<-f.ended
	}
}

// lead is the controller while the lease is held. What the Fleet asks takes the place of what it
// asked before once it is known to be good; until then that stays in force, so that no node under
// way is left where it is by somebody's mistake.
func (k kubeFleet) lead(ctx context.Context, client *kube.Client, set settings, scratch string, log *slog.Logger) error {
	aside, err := client.Apart()
	if err != nil {
		return err
	}
	nodes := &kube.Fleet{Client: client, Evictor: aside, Name: k.Fleet, Enroll: true}
	defer nodes.Close()
	board := &kube.Board{Client: client, Fleet: k.Fleet}
	events := &kube.Events{Client: aside, Fleet: k.Fleet, Log: log}
	nodes.Retaken = events.Retaken
	go events.Run(ctx)
	say := &word{fleet: k.Fleet, board: board, events: events, log: log.With("fleet", k.Fleet)}
	var now *following
	defer func() { now.end() }()
	for ctx.Err() == nil {
		want, err := k.ask(ctx, client)
		if err == nil && (now == nil || !want.same(now.asked)) {
			var l *loop.Loop
			if l, err = k.wire(client, want, set, board, scratch, log); err == nil {
				now.end()
				say.heard(ctx, loop.Look{}) // what it did not get done is of the past
				office := &kube.Office{Desk: kube.Desk{Client: client, Fleet: k.Fleet}, Follows: want.spec}
				l.Fleet, l.Desk, l.Watch = nodes, office, func(seen loop.Look) {
					board.Take(office.Read)
					k.vitals.watch(seen)
					say.heard(ctx, seen)
					if seen.Saved { // one node that refuses what is done to it silences nothing of the others
						events.See(seen.Seen.Nodes, seen.State)
					}
				}
				k.vitals.expect(l.Poll)
				now = follow(ctx, l, want)
				log.Info("following", "fleet", k.Fleet, "url", want.spec.Source.URL, "branch", want.spec.Source.Branch)
			}
		}
		t := kube.TroubleOf(err)
		if t.Reason != "" && now != nil {
			t.Message += "; until then what was asked before stays in force"
		}
		say.asked(ctx, t, want.read)
		pause(ctx, glance)
	}
	return nil
}

func follow(ctx context.Context, l *loop.Loop, what asked) *following {
	ctx, stop := context.WithCancel(ctx)
	f := &following{asked: what, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		_ = l.Run(ctx, time.Second, nil) // it ends with the context
	}()
	return f
}

// ask reads the Fleet and the credentials that it names.
func (k kubeFleet) ask(ctx context.Context, client *kube.Client) (a asked, err error) {
	fleet, err := client.Asked(ctx, k.Fleet)
	if fleet != nil {
		a.read = kube.TextOf(fleet)
	}
	if err != nil {
		return a, err
	}
	a.spec = fleet.Spec
	a.spec.Holds, a.spec.Rewind = nil, ""
	if ref := a.spec.Source.SecretRef; ref != nil {
		if a.username, a.password, err = k.login(ctx, client, ref.Name); err != nil {
			return a, err
		}
	}
	if hub := a.spec.GitHub; hub != nil && hub.SecretRef != nil {
		const field = "spec.github.secretRef"
		data, err := client.Secret(ctx, k.Namespace, hub.SecretRef.Name, field)
		if err != nil {
			return a, err
		}
		if a.forge = strings.TrimSpace(string(data["token"])); a.forge == "" {
			return a, k.lacks(field, hub.SecretRef.Name, "the key token")
		}
	}
	return a, nil
}

// login is how Git is asked: a token goes as a password, as forges take it.
func (k kubeFleet) login(ctx context.Context, client *kube.Client, name string) (username, password string, err error) {
	const field = "spec.source.secretRef"
	data, err := client.Secret(ctx, k.Namespace, name, field)
	if err != nil {
		return "", "", err
	}
	read := func(key string) string { return strings.TrimSpace(string(data[key])) } // a file ends in a line end
	if token := read("token"); token != "" {
		return cmp.Or(read("username"), "x-access-token"), token, nil
	}
	if username, password = read("username"), read("password"); username == "" || password == "" {
		return "", "", k.lacks(field, name, "the key token, or username and password")
	}
	return username, password, nil
}

func (k kubeFleet) lacks(field, secret, what string) error {
	return kube.Trouble{Reason: kube.NoSecret, Message: fmt.Sprintf("%s: Secret %s in namespace %s lacks %s: kubectl --namespace %[3]s edit secret %[2]s", field, secret, k.Namespace, what)}
}

// wire is the loop of what a Fleet asks, but for its nodes.
func (k kubeFleet) wire(client *kube.Client, a asked, set settings, board *kube.Board, scratch string, log *slog.Logger) (*loop.Loop, error) {
	set, guard, err := k.understand(a.spec, set)
	if err != nil {
		return nil, kube.Trouble{Reason: kube.InvalidSpec, Message: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	src := &git.Source{URL: set.Repo, Branch: set.Branch, Dir: filepath.Join(scratch, "git"), Username: a.username, Password: a.password}
	forge, err := openForge(set, a.forge)
	if err != nil {
		return nil, kube.Trouble{Reason: kube.InvalidSpec, Message: "spec.github: " + err.Error()}
	}
	k.vitals.hear(forge)
	if hub, ok := forge.(*github.Forge); ok {
		hub.Now = client.Clock.Now
	}
	inquiry, err := set.inquiry(src, forge, log)
	if err != nil {
		return nil, kube.Trouble{Reason: kube.InvalidSpec, Message: err.Error()}
	}
	inquiry.Now = client.Clock.Now
	return &loop.Loop{
		Source: src,
		Forge:  forge,
		Store:  &kube.Store{Client: client, Namespace: k.Namespace, Fleet: k.Fleet, Board: board, Log: log},
		Render: render.Options{Profile: set.Profile, ClusterDNS: set.ClusterDNS},
		Build:  func(tree fs.FS) ([]render.Build, error) { return builds.Build(tree, nil) },
		Gate:   policy.Default(),
		Facts:  inquiry,
		Guard:  guard,
		Self:   set.Self,
		Poll:   set.Poll,
		Hands:  8, // what a write takes is mostly the server's time
		Now:    client.Clock.Now,
		Log:    log,
	}, nil
}

// understand makes settings of a spec, or names every field that makes no sense. The definition of
// the kind refuses most of them before; an object may be older than it.
func (k kubeFleet) understand(spec v1alpha1.FleetSpec, set settings) (settings, *policy.Rollout, error) {
	var errs []error
	wrong := func(field, why string) { errs = append(errs, fmt.Errorf("spec.%s: %s", field, why)) }
	var err error
	set.Name, set.Repo, set.Branch, set.ClusterDNS = k.Fleet, spec.Source.URL, cmp.Or(spec.Source.Branch, "main"), spec.ClusterDNS
	switch {
	case set.Repo == "":
		wrong("source.url", "is empty: give the https address of the repository")
	case scpStyle.MatchString(set.Repo):
		wrong("source.url", "ssh is not supported: give the https address")
	case !strings.Contains(set.Repo, "://"):
		wrong("source.url", "is not an address: give the https address of the repository, such as https://git.example.com/fleet")
	case hasCredentials(set.Repo):
		wrong("source.url", "the address holds credentials: put them into a Secret, and name it in spec.source.secretRef")
	}
	if set.Poll, err = time.ParseDuration(cmp.Or(spec.Source.Interval, "30s")); err != nil {
		wrong("source.interval", err.Error())
	} else if set.Poll < time.Second/10 {
		wrong("source.interval", "asking Git more often than ten times a second helps nobody: give more than 100ms")
	}
	if set.Profile, err = machine.ParseProfile(spec.Profile); err != nil {
		wrong("profile", err.Error())
	}
	if hub := spec.GitHub; hub != nil {
		if set.GitHub, set.GitHubURL = hub.Repository, hub.URL; strings.Count(hub.Repository, "/") != 1 {
			wrong("github.repository", "want OWNER/REPO")
		}
	}
	if spec.Prometheus != "" {
		set.Prometheus = spec.Prometheus
		if err := set.outside.validate(); err != nil {
			wrong("prometheus", strings.TrimPrefix(err.Error(), "--prometheus: "))
		}
	}
	if len(spec.ProbeHosts) > 0 {
		set.ProbeHosts = spec.ProbeHosts
	}
	if spec.TrustedKeys != "" {
		set.TrustedKeys, set.keys = "spec.trustedKeys", spec.TrustedKeys
	}
	guard, err := guardrailOf(spec)
	return set, guard, errors.Join(append(errs, err)...)
}

// word is what is said of a Fleet: on the object, and in the log once for each change.
type word struct {
	fleet  string
	board  *kube.Board
	events *kube.Events
	log    *slog.Logger

	mu     sync.Mutex
	ask    kube.Trouble // with what it asks
	read   kube.Text    // which asks it
	missed int          // times in a row that it could not be found out
	work   kube.Trouble // with what it is about
	failed int          // ticks in a row
	said   kube.Trouble
	unsaid string // why the object does not say so
}

// asked hears, every few seconds, whether what the Fleet asks can be followed, and as which text. What
// the cluster does not answer once is not said: whoever waits for the Fleet would take it as its end.
func (w *word) asked(ctx context.Context, t kube.Trouble, read kube.Text) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missed++; t.Reason != kube.Failed {
		w.missed = 0
	} else if w.missed < hiccups {
		return
	}
	w.ask, w.read = t, read
	w.say(ctx)
}

// hiccups are how many ticks, or looks at the Fleet, in a row may fail before people are told: another
// writer was faster, a node went, or a server of several was started anew.
const hiccups = 3

// heard hears how each tick went.
func (w *word) heard(ctx context.Context, k loop.Look) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := kube.TroubleOf(k.Err)
	if w.failed++; t == (kube.Trouble{}) {
		w.failed = 0
	}
	switch {
	case t.Reason == kube.Failed && w.failed < hiccups:
		t = w.work
	case t == kube.Trouble{} && kube.TroubleOf(k.Forge) != kube.Trouble{}: // that we are deposed is not the forge's doing
		t = kube.Trouble{Reason: kube.ForgeRefuses, Message: "spec.github: what is to be said is kept, and said later: " + k.Forge.Error()}
	}
	if t != w.work {
		w.work = t
		w.say(ctx)
	}
}

// lease hears how requests for the lease end. Where nobody may take it, nobody works; else it is
// the holder who speaks of the Fleet.
func (w *word) lease(ctx context.Context) func(error) {
	return func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		t := kube.TroubleOf(err)
		if t.Reason == kube.NoRights { // an installation has the lease of one Fleet: which is it?
			if _, other := w.board.Client.Asked(ctx, w.fleet); kube.TroubleOf(other).Reason == kube.AnotherFleet {
				t = kube.TroubleOf(other)
			}
		}
		switch {
		case t == w.work:
		case t.Reason == kube.NoRights, t.Reason == kube.AnotherFleet:
			w.work = t
			w.say(ctx)
		default:
			if w.work = t; t.Reason != "" {
				w.log.Warn("the lease cannot be asked for", "error", err)
			}
			w.said = kube.Trouble{}
		}
	}
}

func (w *word) say(ctx context.Context) {
	t := cmp.Or(w.ask, w.work)
	if t != w.said {
		if w.said = t; t.Reason != "" {
			w.log.Error("this keeps the fleet from what it should do", "reason", t.Reason, "message", t.Message)
			w.events.Tell(kube.News{Kind: "Fleet", Name: w.fleet, Bad: true, Reason: t.Reason, Note: t.Message})
		} else {
			w.log.Info("nothing keeps the fleet from what it should do any more")
		}
	}
	unsaid := ""
	read := w.read
	if w.ask == (kube.Trouble{}) {
		read = kube.Text{} // it is not taken in before a look was taken by it
	}
	if err := w.board.Tell(ctx, t, read); err != nil && ctx.Err() == nil {
		unsaid = kube.TroubleOf(err).Message
	}
	if unsaid != w.unsaid {
		if w.unsaid = unsaid; unsaid != "" {
			w.log.Warn("the Fleet's status cannot be written", "error", unsaid)
		}
	}
}
