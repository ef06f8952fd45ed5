package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sluice-gitops/sluice/nodeops/agent"
)

// ErrLocked says that another agent is at work on the same root.
var ErrLocked = errors.New("another agent is at work on this root: stop it first")

// Lock keeps every other agent off the root until it is closed, or its process ends in any way.
func (f *Files) Lock() (io.Closer, error) {
	err := f.Put(agent.Tree{agent.StateDir: {Kind: agent.Dir, Mode: 0o700, UID: agent.Anyone, GID: agent.Anyone}})
	if err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	dir, err := f.open(agent.StateDir, false)
	if err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	defer dir.Close()
	file, err := dir.OpenFile("lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock root: %w", err)
	}
	return file, nil
}
