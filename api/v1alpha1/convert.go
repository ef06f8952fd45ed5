package v1alpha1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-gitops/sluice/nodeops"
)

// SpecOf is the order as it is written into the cluster. An order that was not understood when it
// was read is not passed on.
func SpecOf(o nodeops.Order) (spec NodeConfigSpec, err error) {
	if o.Strange != "" {
		return spec, fmt.Errorf("write order: %s", o.Strange)
	}
	in := struct {
		nodeops.Order
		Node string `json:"node,omitempty"` // it is the name of the object
	}{Order: o}
	return spec, Carry(in, &spec)
}

// Order is the order of the node with that name, the zero Order where the spec is empty. What it
// holds of another version is said in Order.Strange.
func (s NodeConfigSpec) Order(node string) (o nodeops.Order, err error) {
	if s.Generation == 0 {
		return o, nil
	}
	encoded, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(encoded, &o) // as nodeops itself reads it: tolerant, and saying so
	}
	o.Node = node
	return o, err
}

// Report is what the status says of the node. A phase that is not known is an error.
func (s NodeConfigStatus) Report() (r nodeops.Report, err error) {
	s.ObservedGeneration, s.Conditions = 0, nil
	return r, Carry(s, &r)
}

// Carry takes every field of one type over to the other by its name on the wire. A field that the
// other side does not have is an error: a rule that is lost is worse than one that is refused.
func Carry(from, to any) error {
	encoded, err := json.Marshal(from)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("convert to %T: %w", to, unwrapped(err))
	}
	return nil
}

// unwrapped leaves out the decoder's own name.
func unwrapped(err error) error {
	if rest, ok := bytes.CutPrefix([]byte(err.Error()), []byte("json: ")); ok {
		return errors.New(string(rest))
	}
	return err
}
