package join

import (
	"net"
	"slices"
	"sync"
)

// door is a listener that lets in so many connections at once, and of those of one address only a
// share. The others wait in line, where they cost little more than a file descriptor. Next is whoever
// has the fewest inside, and of those the first: many addresses that fill their places keep nobody else
// out. A line that is full loses the last of the address that has the most in it.
type door struct {
	net.Listener
	places, share, line int

	in    chan net.Conn // let in, and not yet accepted
	wrong chan error
	gone  chan struct{} // closed when the door is

	mu      sync.Mutex
	shut    bool
	inside  int
	of      map[string]int // of those inside, by address
	waiting []guest        // the first comes first
}

// guest is a connection in line.
type guest struct {
	net.Conn
	from string
}

func open(l net.Listener, places, share, line int) *door {
	d := &door{
		Listener: l, places: places, share: share, line: line,
		in: make(chan net.Conn, places), wrong: make(chan error), gone: make(chan struct{}), of: map[string]int{},
	}
	go d.usher()
	return d
}

// usher takes whoever comes.
func (d *door) usher() {
	for {
		conn, err := d.Listener.Accept()
		if err == nil {
			d.come(conn)
			continue
		}
		select {
		case d.wrong <- err: // whoever accepts knows whether it passes, and when to try again
		case <-d.gone:
			return
		}
	}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.in:
		return conn, nil
	case err := <-d.wrong:
		return nil, err
	case <-d.gone:
		return nil, net.ErrClosed
	}
}

// Close turns away who waits. Who is inside stays.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shut {
		d.shut = true
		close(d.gone)
		for _, g := range d.waiting {
			g.Close()
		}
		d.waiting = nil
		d.empty()
	}
	return d.Listener.Close()
}

// empty turns away who is let in and not yet accepted. Accept may take one meanwhile: nobody waits for it.
func (d *door) empty() {
	for {
		select {
		case conn := <-d.in:
			conn.(*placed).Conn.Close()
		default:
			return
		}
	}
}

func (d *door) come(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		conn.Close()
		return
	}
	if d.waiting = append(d.waiting, guest{conn, address(conn)}); len(d.waiting) > d.line {
		d.shorten()
	}
	d.admit()
}

// shorten turns away the last of the address that has the most waiting.
func (d *door) shorten() {
	of, most, last := map[string]int{}, 0, 0
	for i, g := range d.waiting {
		if of[g.from]++; of[g.from] >= most {
			most, last = of[g.from], i
		}
	}
	d.waiting[last].Close()
	d.waiting = slices.Delete(d.waiting, last, last+1)
}

// admit lets in who is next, while there are places.
func (d *door) admit() {
	for d.inside < d.places {
		next, fewest := -1, d.share
		for i, g := range d.waiting {
			if has := d.of[g.from]; has < fewest {
				next, fewest = i, has
			}
		}
		if next < 0 {
			return
		}
		g := d.waiting[next]
		d.waiting = slices.Delete(d.waiting, next, next+1)
		d.inside++
		d.of[g.from]++
		d.in <- &placed{Conn: g.Conn, leave: sync.OnceFunc(func() { d.leave(g.from) })} // it has room for all that are inside
	}
}

func (d *door) leave(from string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	if d.of[from]--; d.of[from] == 0 {
		delete(d.of, from)
	}
	if !d.shut {
		d.admit()
	}
}

func address(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// placed is a connection that gives its place back once.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
