package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A recorded pod has several KiB, of which a few hundred bytes matter here. A record is therefore
// pruned before it is decoded: prune copies the wanted fields of a JSON value and passes over the
// rest without looking into it.

// wanted are the fields of all kinds that are kept; one without braces is kept whole.
var wanted = parseTree(`
apiVersion kind
metadata { name namespace labels finalizers generation creationTimestamp deletionTimestamp deletionGracePeriodSeconds
	ownerReferences { apiVersion kind name uid controller }
	annotations { kubernetes.io/config.mirror karpenter.sh/do-not-disrupt cluster-autoscaler.kubernetes.io/safe-to-evict } }
spec { nodeName unschedulable taints replicas terminationGracePeriodSeconds overhead
	minAvailable maxUnavailable selector unhealthyPodEvictionPolicy volumeName nodeAffinity hostPath local
	volumes { name emptyDir { } hostPath { path } persistentVolumeClaim { claimName } ephemeral { } }
	containers { resources { requests } }
	initContainers { restartPolicy resources { requests } } }
status { phase allocatable observedGeneration currentHealthy desiredHealthy expectedPods disruptionsAllowed
	conditions { type status lastHeartbeatTime } }
endpoints { conditions targetRef { kind name } }`)

// tree is the fields of an object that are wanted, each with those of its own; nil is all.
type tree map[string]tree

func parseTree(text string) tree {
	words := strings.Fields(text)
	var level func() tree
	level = func() tree {
		t := tree{}
		for len(words) > 0 && words[0] != "}" {
			name := words[0]
			words = words[1:]
			t[name] = nil
			if len(words) > 0 && words[0] == "{" {
				words = words[1:]
				t[name] = level()
				words = words[1:]
			}
		}
		return t
	}
	return level()
}

// errShort says that the bytes end inside a value.
var errShort = errors.New("ends inside a value")

// pruner copies the wanted part of one JSON value after the other.
type pruner struct {
	src []byte
	out []byte
}

// item copies the wanted part of the object at i, and says what it calls itself.
func (p *pruner) item(i int) (k objectKind, end int, err error) {
	end, err = p.object(i, wanted, func(name, value []byte) {
		switch string(name) {
		case "apiVersion":
			k.version = string(bytes.Trim(value, `"`))
		case "kind":
			k.name = string(bytes.Trim(value, `"`))
		}
	})
	return k, end, err
}

// objectKind is how an object is typed.
type objectKind struct{ version, name string }

// value copies the value at i as far as the tree wants it, and returns where it ends.
func (p *pruner) value(i int, t tree) (int, error) {
	i, err := space(p.src, i)
	if err != nil {
		return i, err
	}
	switch {
	case t != nil && p.src[i] == '{':
		return p.object(i, t, func(_, _ []byte) {})
	case t != nil && p.src[i] == '[':
		return p.array(i, t)
	}
	end, err := skip(p.src, i)
	if err == nil {
		p.out = append(p.out, p.src[i:end]...)
	}
	return end, err
}

// object copies the wanted members of the object at i, and shows each copy.
func (p *pruner) object(i int, t tree, show func(name, value []byte)) (int, error) {
	p.out = append(p.out, '{')
	i, err := members(p.src, i, func(name []byte, i int) (int, error) {
		child, ok := t[string(name)]
		if !ok {
			return skip(p.src, i)
		}
		if p.out[len(p.out)-1] != '{' {
			p.out = append(p.out, ',')
		}
		p.out = append(append(append(p.out, '"'), name...), '"', ':')
		from := len(p.out)
		end, err := p.value(i, child)
		show(name, p.out[from:])
		return end, err
	})
	p.out = append(p.out, '}')
	return i, err
}

func (p *pruner) array(i int, t tree) (int, error) {
	p.out = append(p.out, '[')
	first := true
	i, err := elements(p.src, i, func(i int) (int, error) {
		if !first {
			p.out = append(p.out, ',')
		}
		first = false
		return p.value(i, t)
	})
	p.out = append(p.out, ']')
	return i, err
}

// members calls each with the name of every member of the object at i, as it is written, and the
// place of its value; each returns where that ends.
func members(src []byte, i int, each func(name []byte, i int) (int, error)) (int, error) {
	for first := true; ; first = false {
		var err error
		i, err = space(src, i+1)
		switch {
		case err != nil:
			return i, err
		case first && src[i] == '}':
			return i + 1, nil
		case src[i] != '"':
			return i, unexpected(src, i, "a name")
		}
		end, err := text(src, i)
		if err != nil {
			return i, err
		}
		name := src[i+1 : end-1]
		if i, err = space(src, end); err != nil {
			return i, err
		}
		if src[i] != ':' {
			return i, unexpected(src, i, "a colon")
		}
		if i, err = space(src, i+1); err != nil {
			return i, err
		}
		if i, err = each(name, i); err != nil {
			return i, err
		}
		if i, err = space(src, i); err != nil || src[i] == '}' {
			return i + 1, err
		}
		if src[i] != ',' {
			return i, unexpected(src, i, "a comma or the end of the object")
		}
	}
}

// elements is members for the array at i.
func elements(src []byte, i int, each func(i int) (int, error)) (int, error) {
	for first := true; ; first = false {
		var err error
		i, err = space(src, i+1)
		if err != nil {
			return i, err
		}
		if first && src[i] == ']' {
			return i + 1, nil
		}
		if i, err = each(i); err != nil {
			return i, err
		}
		if i, err = space(src, i); err != nil || src[i] == ']' {
			return i + 1, err
		}
		if src[i] != ',' {
			return i, unexpected(src, i, "a comma or the end of the list")
		}
	}
}

// space is the place of the next byte that is no white space.
func space(src []byte, i int) (int, error) {
	for ; i < len(src); i++ {
		if c := src[i]; c > ' ' || class[c] != blank {
			return i, nil
		}
		i = indented(src, i)
	}
	return i, errShort
}

// indented passes over spaces, eight at a time: half of what kubectl prints is those. What is left
// of them, one at least, stands at the place that it returns and behind.
func indented(src []byte, i int) int {
	for ; i+9 <= len(src) && binary.LittleEndian.Uint64(src[i+1:]) == eightSpaces; i += 8 {
	}
	return i
}

const eightSpaces = 0x2020202020202020

// text is the end of the string at i.
func text(src []byte, i int) (int, error) {
	for from := i + 1; ; {
		n := bytes.IndexByte(src[from:], '"')
		if n < 0 {
			return i, errShort
		}
		quote := from + n
		escapes := 0
		for src[quote-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return quote + 1, nil
		}
		from = quote + 1
	}
}

// skip is the end of the value at i. It counts brackets and passes over strings; whether what is
// between them is JSON nobody asks.
func skip(src []byte, i int) (int, error) {
	switch class[src[i]] {
	case quote:
		return text(src, i)
	case opens:
	case plain:
		for end := i; end < len(src); end++ {
			if class[src[end]] != plain {
				return end, nil
			}
		}
		return i, errShort
	default:
		return i, unexpected(src, i, "a value")
	}
	depth := 0
	for at := i; at < len(src); {
		switch class[src[at]] {
		case quote:
			end, err := text(src, at)
			if err != nil {
				return i, err
			}
			at = end
			continue
		case opens:
			depth++
		case closes:
			if depth--; depth == 0 {
				return at + 1, nil
			}
		case blank:
			at = indented(src, at)
		}
		at++
	}
	return i, errShort
}

// class sorts bytes by what they mean between strings.
var class = classes()

const (
	plain = iota
	blank
	quote
	opens
	closes
	parts
)

func classes() (c [256]uint8) {
	for bytes, class := range map[string]uint8{" \t\r\n": blank, "\"": quote, "{[": opens, "}]": closes, ",:": parts} {
		for _, b := range []byte(bytes) {
			c[b] = class
		}
	}
	return c
}

func unexpected(src []byte, i int, want string) error {
	return fmt.Errorf("%q stands where %s should", src[i], want)
}
