package loop

import (
	"fmt"
	"maps"
)

// troubles is what is wrong and was logged: what it is about -> in which words.
type troubles map[string]string

// complain logs what is wrong, which may be so at every tick: once, until it ends or is another. say
// is a method of the log, about a sentence that stands for one trouble; args tell more of it.
func (l *Loop) complain(say func(string, ...any), about string, err error, args ...any) {
	args = append(args, "error", err)
	if l.saying == nil {
		l.saying = troubles{}
	}
	if l.saying[about] = fmt.Sprint(args...); l.said[about] != l.saying[about] {
		say(about, args...)
	}
}

// remember ends a tick: what was wrong before and was not in it is news when it comes back. A tick
// that did not come as far as to decide has not looked at everything.
func (l *Loop) remember(whole bool) {
	if whole || l.said == nil {
		l.said = l.saying
	} else {
		maps.Copy(l.said, l.saying)
	}
	l.saying = nil
}
