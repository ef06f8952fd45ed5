package kustomize

import (
	_ "embed"
	"fmt"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// schema says by what a patch knows the parts of a MachineConfig again: files, directories and
// links by path, units, drop-ins and users by name. Kustomize knows that of its own kinds only,
// and would replace these lists as a whole. Lists of plain values (kernelArguments, extensions,
// sshAuthorizedKeys) are replaced as a whole, as everywhere in kustomize.
//
//go:embed schema.json
var schema []byte

// prepare adds the schema to the one that kustomize keeps for the process. It is added once, and
// what kustomize keeps is complete after that: nothing may reset it, and no overlay brings one of
// its own, so that later builds only read it.
var prepare = sync.OnceValue(func() error {
	if err := openapi.AddSchema(schema); err != nil {
		return fmt.Errorf("load schema of MachineConfig: %w", err)
	}
	openapi.Schema()
	return nil
})
