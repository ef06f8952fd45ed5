package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/api/clock"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/kube"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
)

// settings are the flags of run.
type settings struct {
	place
	inbox    string // a folder, or
	node     string // a node of a cluster
	config   string
	content  kube.Content
	metrics  string
	interval time.Duration
}

func runCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "run --root DIR (--inbox FLEET/nodes/NAME | --node NAME --content URL)",
		Short: "Follow the orders of a node until it reboots or a signal comes",
		Long: "Follow the orders of a node until it reboots or a signal comes.\n" +
			"They stand in a fleet's folder (--inbox), or in the node's NodeConfig of a cluster: that of --kubeconfig, or the one that the agent's pod runs in.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.check(c); err != nil {
				return err
			}
			return s.follow(c)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&s.inbox, "inbox", "", "the node's folder in the fleet: FLEET/nodes/NAME")
	f.StringVar(&s.node, "node", os.Getenv("NODE_NAME"), "the name of the node in the cluster; by default $NODE_NAME")
	f.StringVar(&s.config, "kubeconfig", "", "how the cluster is reached; by default as the pod's own account")
	f.StringArrayVar(&s.content.URLs, "content", nil, "https address of a controller that gives configs; several are asked in turn")
	f.StringVar(&s.content.CA, "content-ca", "", "file with the authorities that sign for the controllers (PEM); it may come later, and is read anew")
	f.StringVar(&s.content.Token, "content-token", "", "file with the token that says which node this is; it is read anew")
	f.StringVar(&s.metrics, "metrics-listen", "", "address for /metrics, /healthz and /readyz; by default none")
	f.DurationVar(&s.interval, "interval", 0, "how often to look for orders and drift; by default 5s in a folder, 1m in a cluster, where orders come at once")
	return c
}

// check says what is wrong with the flags, and fills in what depends on others.
func (s *settings) check(c *cobra.Command) error {
	if s.inbox == "" && s.config == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return usage{errors.New("--inbox is missing: name the node's folder, FLEET/nodes/NAME; or --kubeconfig, where its orders come from a cluster")}
	}
	every := time.Minute
	if s.inbox != "" {
		every = 5 * time.Second
		for _, name := range []string{"node", "kubeconfig", "content", "content-ca", "content-token"} {
			if c.Flags().Changed(name) {
				return usage{fmt.Errorf("--%s does not go with --inbox", name)}
			}
		}
	} else if err := s.cluster(); err != nil {
		return usage{err}
	}
	if !c.Flags().Changed("interval") {
		s.interval = every
	}
	if s.interval <= 0 {
		return usage{fmt.Errorf("--interval %s: is not a time to wait", s.interval)}
	}
	return nil
}

// cluster says what is missing for a node of a cluster.
func (s *settings) cluster() error {
	switch {
	case s.node == "":
		return errors.New("--node is missing: name the node, or set NODE_NAME")
	case len(s.content.URLs) == 0:
		return errors.New("--content is missing: name the https address of a controller")
	case s.content.CA == "":
		return errors.New("--content-ca is missing: name the file with the controllers' authorities")
	case s.content.Token == "":
		return errors.New("--content-token is missing: name the file with this node's token")
	}
	for _, address := range s.content.URLs {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("--content %q: is not of the form https://HOST:PORT", address)
		}
	}
	return nil
}

// split finds the fleet's folder and the node's name in the path of the node's own folder.
func split(inbox string) (fleet, name string, err error) {
	abs, err := filepath.Abs(inbox)
	if err != nil {
		return "", "", err
	}
	nodes := filepath.Dir(abs)
	if filepath.Base(nodes) != "nodes" {
		return "", "", usage{fmt.Errorf("--inbox %s: is not of the form FLEET/nodes/NAME", inbox)}
	}
	return filepath.Dir(nodes), filepath.Base(abs), nil
}

// follow is the agent until its end.
func (s *settings) follow(c *cobra.Command) error {
	fleet := ""
	if s.inbox != "" {
		var err error
		if fleet, s.node, err = split(s.inbox); err != nil {
			return err
		}
	}
	n, err := s.open(c.Context())
	if err != nil {
		return err
	}
	defer n.files.Close()
	lock, err := n.files.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := n.boot(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)).With("node", s.node)
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	agent, wake := n.loop(nil, log), make(chan struct{}, 1)
	agent.Wary = true
	var served *clock.Clock
	if s.inbox != "" {
		folder, err := host.Open(fleet)
		if err != nil {
			return fmt.Errorf("--inbox: %w", err)
		}
		defer folder.Close()
		agent.Inbox = local.Inbox{Fleet: folder, Node: s.node}
	} else if served, err = s.join(ctx, agent, wake); err != nil {
		return err
	}
	if s.metrics != "" {
		if err := serve(ctx, s.metrics, agent, served, s.interval); err != nil {
			return err
		}
	}
	err = agent.Run(ctx, s.interval, wake)
	if errors.Is(err, loop.ErrReboot) {
		fmt.Fprintf(c.OutOrStdout(), "%s reboots: start the agent again to boot it\n", s.node)
		return nil
	}
	return err
}

// join gives the agent the inbox of a cluster, and that cluster's time.
func (s *settings) join(ctx context.Context, agent *loop.Loop, wake chan<- struct{}) (*clock.Clock, error) {
	client, err := kube.Open(s.config, agent.Log)
	if err != nil {
		return nil, err
	}
	inbox := &kube.Inbox{Client: client, Node: s.node, Content: s.content, Log: agent.Log}
	agent.Inbox, agent.Now = inbox, client.Clock.Now
	go inbox.Watch(ctx, func() {
		select {
		case wake <- struct{}{}:
		default: // it will look anyway
		}
	})
	return client.Clock, nil
}
