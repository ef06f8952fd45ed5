package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/render"
)

// outputFlag adds -o with the forms that a command prints; the first is the default.
func outputFlag(c *cobra.Command, into *string, forms ...string) {
	c.Flags().VarP(&form{into, forms}, "output", "o", strings.Join(forms, ", "))
	*into = forms[0]
}

// form is a flag that takes one of a few words.
type form struct {
	into  *string
	words []string
}

func (f *form) String() string {
	if f.into == nil {
		return ""
	}
	return *f.into
}

func (f *form) Type() string { return "form" }

func (f *form) Set(word string) error {
	if !slices.Contains(f.words, word) {
		return fmt.Errorf("want one of %s", strings.Join(f.words, ", "))
	}
	*f.into = word
	return nil
}

func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// profileVar adds --profile: what the nodes of a fleet are.
func profileVar(c *cobra.Command, into *machine.Profile) {
	c.Flags().Func("profile", "what the nodes are: openshift (the default), kubeadm or k3s", func(word string) (err error) {
		*into, err = machine.ParseProfile(word)
		return err
	})
}

// renderVars add what a repository does not say of the fleet that it is for.
func renderVars(c *cobra.Command, o *render.Options) {
	profileVar(c, &o.Profile)
	c.Flags().StringVar(&o.ClusterDNS, "cluster-dns", "", "the DNS of the cluster, for a KubeletConfig on OpenShift (default 172.30.0.10)")
	c.Flags().BoolVar(&o.KeepZero, "keep-zero", false, "let false, 0 and empty fields of a KubeletConfig count, which MCO loses")
}
