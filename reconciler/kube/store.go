package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Store keeps the state and the configs in Secrets of one namespace. It is a loop.Store.
type Store struct {
	Client    *Client
	Namespace string
	Fleet     string       // the fleet's name
	Board     *Board       // shows what is remembered; nil: nobody looks
	Log       *slog.Logger // of what the Board could not show; nil logs nothing

	version   string    // of the state that was loaded or saved last; "" is none
	collected time.Time // when configs were last looked through
	unshown   string    // why the Board could not show the state last
}

const (
	payload   = "data.json.gz"       // the key in every Secret of ours
	pieces    = "sluice.dev/pieces"  // on the first piece of a config: how many there are
	keptAt    = "sluice.dev/kept-at" // on the first piece of a config: when it was last kept
	most      = 1 << 20              // a Secret may hold
	pieceSize = 900 << 10
	mostRead  = 256 << 20 // of one config, unpacked
)

func (s *Store) name() string { return s.Fleet + "-state" }

// Load reads the state.
func (s *Store) Load(ctx context.Context) (state reconciler.State, err error) {
	have, err := s.Client.core.CoreV1().Secrets(s.Namespace).Get(ctx, s.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.version = ""
		return state, nil
	}
	if err != nil {
		return state, err
	}
	if err := unpack(have.Data[payload], &state); err != nil {
		return reconciler.State{}, fmt.Errorf("secret %s/%s: %w: delete it; what it remembered is found again, but for the history", s.Namespace, s.name(), err)
	}
	s.version = have.ResourceVersion
	s.show(ctx, state)
	return state, nil
}

// Save replaces the state, if it is still the one that this store knows: the server compares.
func (s *Store) Save(ctx context.Context, state reconciler.State) error {
	packed, err := pack(state)
	if err != nil {
		return err
	}
	if len(packed) > most {
		return fmt.Errorf("secret %s/%s: the state takes %d bytes, and a Secret holds %d: nothing is decided any more: take nodes out of the fleet's pools, or lower maxUnavailable", s.Namespace, s.name(), len(packed), most)
	}
	secret := s.secret(s.name(), packed)
	secret.ResourceVersion = s.version
	secrets := s.Client.core.CoreV1().Secrets(s.Namespace)
	if s.version == "" {
		secret, err = secrets.Create(ctx, secret, creating)
	} else {
		secret, err = secrets.Update(ctx, secret, updating)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return fmt.Errorf("another controller writes secret %s/%s: %w", s.Namespace, s.name(), err)
	}
	if err != nil {
		return err
	}
	s.version = secret.ResourceVersion
	s.show(ctx, state)
	return nil
}

// show holds nothing back: what is not shown now is shown at the next load, and why is logged once.
func (s *Store) show(ctx context.Context, state reconciler.State) {
	if s.Board == nil {
		return
	}
	why := ""
	if err := s.Board.Show(ctx, state); err != nil {
		why = err.Error()
	}
	if why != s.unshown && why != "" && s.Log != nil {
		s.Log.Warn("what is remembered cannot be shown", "error", why)
	}
	s.unshown = why
}

func (s *Store) secret(name string, data []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: map[string]string{fleetLabel: s.Fleet}},
		Type:       "sluice.dev/data",
		Data:       map[string][]byte{payload: data},
	}
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

func piece(d machine.Digest, n int) string { return "config-" + string(d) + "-" + strconv.Itoa(n) }

// Config reads a config that was kept. One that is damaged is as good as gone: rendering it again
// heals it.
func (s *Store) Config(ctx context.Context, d machine.Digest) (machine.Config, bool, error) {
	c, _, err := readConfig(ctx, s.Client, s.Namespace, d)
	if c == nil || err != nil {
		return machine.Config{}, false, err
	}
	return *c, true, nil
}

// readConfig reads a config, and what it was packed to; nil is not there, or not whole.
func readConfig(ctx context.Context, client *Client, namespace string, d machine.Digest) (*machine.Config, []byte, error) {
	if !digest.MatchString(string(d)) {
		return nil, nil, nil
	}
	var packed []byte
	for i, n := 0, 1; i < n; i++ {
		secret, err := client.core.CoreV1().Secrets(namespace).Get(ctx, piece(d, i), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			if n, err = strconv.Atoi(secret.Annotations[pieces]); err != nil {
				return nil, nil, nil
			}
		}
		if len(packed) > mostRead {
			return nil, nil, nil
		}
		packed = append(packed, secret.Data[payload]...)
	}
	var c machine.Config
	if unpack(packed, &c) != nil || c.Digest() != d {
		return nil, nil, nil
	}
	return &c, packed, nil
}

// Keep stores a config under its digest, in pieces that fit. The first comes last: where it is, all
// are. They may hold secrets, and never change.
func (s *Store) Keep(ctx context.Context, c machine.Config) error {
	d := c.Digest()
	if _, ok, err := s.Config(ctx, d); err != nil {
		return err
	} else if ok {
		if is, err := s.renew(ctx, d); is || err != nil {
			return err
		}
	}
	packed, err := pack(c)
	if err != nil {
		return err
	}
	n := (len(packed) + pieceSize - 1) / pieceSize
	for i := n - 1; i >= 0; i-- {
		secret := s.secret(piece(d, i), packed[i*pieceSize:min(len(packed), (i+1)*pieceSize)])
		secret.Immutable = new(true)
		if i == 0 {
			secret.Annotations = map[string]string{pieces: strconv.Itoa(n), keptAt: stamp(s.Client.Clock.Now())}
		}
		if err := s.put(ctx, secret); err != nil {
			return fmt.Errorf("keep config %s: %w", d.Short(), err)
		}
	}
	return nil
}

// renew marks a config as kept now; false: it has gone meanwhile. A Collect that has looked at it
// before cannot delete it any more.
func (s *Store) renew(ctx context.Context, d machine.Digest) (bool, error) {
	patch := fmt.Appendf(nil, `{"metadata": {"annotations": {%q: %q}}}`, keptAt, stamp(s.Client.Clock.Now()))
	_, err := s.Client.core.CoreV1().Secrets(s.Namespace).Patch(ctx, piece(d, 0), types.MergePatchType, patch, patching)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep config %s: %w", d.Short(), err)
	}
	return true, nil
}

// put writes a Secret in the place of a damaged one.
func (s *Store) put(ctx context.Context, secret *corev1.Secret) error {
	secrets := s.Client.core.CoreV1().Secrets(s.Namespace)
	for range again {
		_, err := secrets.Create(ctx, secret, creating)
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		has, err := secrets.Get(ctx, secret.Name, metav1.GetOptions{})
		if err == nil { // that very one: one that another has put there meanwhile may be whole
			err = secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &has.UID}})
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return errors.New("others write it, too")
}

func pack(v any) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	err := errors.Join(json.NewEncoder(w).Encode(v), w.Close())
	return out.Bytes(), err
}

func unpack(packed []byte, into any) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(io.LimitReader(r, mostRead))
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, into)
}
