package cluster

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// stream reads lists from an input of any length: it holds the object at hand, and little more.
type stream struct {
	r    io.Reader
	buf  []byte
	i    int  // what comes next
	done bool // nothing more comes from r
}

// window is how much is held at a time, and largest what one object may have: the API server
// stores no object of more than about 1.5 MiB, and printing makes it some times longer.
const (
	window  = 1 << 20
	largest = 32 << 20
)

// rest is what was read and not yet used.
func (s *stream) rest() []byte { return s.buf[s.i:] }

// fill reads more behind what is there.
func (s *stream) fill() error {
	if s.done {
		return io.ErrUnexpectedEOF
	}
	kept := copy(s.buf, s.rest())
	s.buf, s.i = s.buf[:kept], 0
	if kept > largest {
		return fmt.Errorf("an object has more than %d MiB: this is no record of a cluster", largest>>20)
	}
	if cap(s.buf) < window || kept > cap(s.buf)/2 {
		s.buf = append(make([]byte, 0, max(window/16, 2*cap(s.buf))), s.buf...)
	}
	n, err := s.r.Read(s.buf[kept:cap(s.buf)])
	s.buf = s.buf[:kept+n]
	if errors.Is(err, io.EOF) {
		s.done, err = true, nil
	}
	return err
}

// next has take look at what comes next. It is asked again, from the same place, when that ends
// too early and there is more to read.
func (s *stream) next(take func(src []byte, i int) (int, error)) error {
	for {
		end, err := take(s.buf, s.i)
		if err == nil {
			s.i = end
			return nil
		}
		if !errors.Is(err, errShort) {
			return err
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// peek is the next byte that is no white space.
func (s *stream) peek() (byte, error) {
	err := s.next(space)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, err
	}
	return s.buf[s.i], nil
}

// expect takes one byte.
func (s *stream) expect(want byte, words string) error {
	got, err := s.peek()
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case got != want:
		return unexpected(s.buf, s.i, words)
	}
	s.i++
	return nil
}

// lists gives the pruned items of every list of the stream to send, in batches; send returns a
// buffer to fill next.
func (s *stream) lists(send func(batch) []byte) error {
	p := &pruner{}
	for {
		switch _, err := s.peek(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := s.list(p, send); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return errors.New("the record ends too early: record it again")
			}
			return err
		}
	}
}

// list reads one list. Its kind is known to its items where it stands before them.
func (s *stream) list(p *pruner, send func(batch) []byte) error {
	if err := s.expect('{', "a list of objects"); err != nil {
		return err
	}
	var kind string
	var found bool
	for first := true; ; first = false {
		c, err := s.peek()
		if err == nil && c == '}' && first {
			break
		}
		var name string
		if name, err = s.name(); err != nil {
			return err
		}
		switch name {
		case "items":
			found = true
			err = s.items(p, strings.TrimSuffix(kind, "List"), send)
		case "kind":
			kind, err = s.word()
		default:
			if _, err = s.peek(); err == nil {
				err = s.next(skipAt)
			}
		}
		if err != nil {
			return err
		}
		if c, err = s.peek(); err == nil && c == '}' {
			break
		}
		if err := s.expect(',', "a comma or the end of the list"); err != nil {
			return err
		}
	}
	s.i++
	if !found {
		return fmt.Errorf("holds no items: record a list, as in %s", Recipe)
	}
	return nil
}

// name takes a member's name and the colon.
func (s *stream) name() (string, error) {
	name, err := s.word()
	if err != nil {
		return "", err
	}
	return name, s.expect(':', "a colon")
}

// word takes a string, as it is written.
func (s *stream) word() (string, error) {
	if err := s.expect('"', "a string"); err != nil {
		return "", err
	}
	s.i--
	from := 0
	err := s.next(func(src []byte, i int) (int, error) { from = i; return text(src, i) })
	if err != nil {
		return "", err
	}
	return string(s.buf[from+1 : s.i-1]), nil
}

// skipAt is skip for a place that may be the end of what was read.
func skipAt(src []byte, i int) (int, error) {
	if i >= len(src) {
		return i, errShort
	}
	return skip(src, i)
}

// items prunes the objects of a list.
func (s *stream) items(p *pruner, kind string, send func(batch) []byte) error {
	if err := s.expect('[', "a list of items"); err != nil {
		return err
	}
	b := batch{}
	n := 0
	for {
		c, err := s.peek()
		switch {
		case err != nil:
			return io.ErrUnexpectedEOF
		case c == ']' && n == 0:
		case c != '{':
			return fmt.Errorf("items[%d]: %w", n, unexpected(s.buf, s.i, "an object"))
		default:
			start := len(b.raw)
			var is objectKind
			err = s.next(func(src []byte, i int) (end int, err error) {
				p.src, p.out = src, b.raw[:start]
				is, end, err = p.item(i)
				b.raw = p.out
				return end, err
			})
			if is.name == "" && kind != "" {
				is = objectKind{versions[kind], kind} // a list of one kind does not repeat it
			}
			if err == nil && is.name == "" {
				err = errors.New("has no kind")
			}
			if err != nil {
				return fmt.Errorf("items[%d]: %w", n, err)
			}
			if versions[is.name] == is.version {
				b.found = append(b.found, found{n, is.name, len(b.raw)})
			} else {
				b.raw = b.raw[:start] // not ours, such as another group's Service
			}
			n++
			if c, err = s.peek(); err == nil && c == ',' {
				s.i++
			} else if err == nil && c != ']' {
				return fmt.Errorf("items[%d]: %w", n, unexpected(s.buf, s.i, "a comma or the end of the items"))
			}
		}
		if c == ']' || len(b.raw) > batchSize {
			if len(b.found) > 0 {
				b = batch{raw: send(b)}
			}
			if c == ']' {
				s.i++
				return nil
			}
		}
	}
}
