package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
)

const (
	young = time.Hour // a config that was kept since stays, and so often they are looked through
	last  = 10        // so many that were kept last stay
)

// Collect deletes the configs that nothing names, but for the last ten and what is young. The one
// controller that holds the lock calls it.
func (s *Store) Collect(_ context.Context, now time.Time, named []machine.Digest) (err error) {
	if age := now.Sub(s.collected); !s.collected.IsZero() && age >= 0 && age < young {
		return nil
	}
	defer func() {
		if err == nil {
			s.collected = now
		}
	}()
	var have saved
	if _, err := durable.ReadJSON(filepath.Join(s.Dir, "state.json"), &have); err != nil || have.Version != s.version {
		return err // another's: it collects
	}
	files, err := os.ReadDir(filepath.Join(s.Dir, "configs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list configs: %w", err)
	}
	var there []os.FileInfo
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".json") {
			there = append(there, info)
		}
	}
	slices.SortFunc(there, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var errs []error
	for _, f := range there[min(last, len(there)):] {
		d := machine.Digest(strings.TrimSuffix(f.Name(), ".json"))
		if !slices.Contains(named, d) && now.Sub(f.ModTime()) >= young {
			errs = append(errs, os.Remove(s.config(d)))
		}
	}
	return errors.Join(errs...)
}
