package agent

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
)

// StateDir holds all that Sluice keeps of its own on a node. No config may write there.
const StateDir = "/var/lib/sluice"

// Facts are what the OS of a node says, without which a config cannot be laid out in paths.
type Facts struct {
	Users  map[string]Account // nil: the root has no passwd file, and owners by name do not count
	Groups map[string]int
	// Unit is the unit file that the OS ships, by the unit's name: its path as systemd sees it,
	// and its text. An empty path says that there is none.
	Unit func(name string) (path, text string)
}

// Account is one line of passwd.
type Account struct {
	UID, GID int
	Home     string
}

// ReadAccounts reads passwd and group as far as they can be read: a line that is broken names
// nobody.
func ReadAccounts(passwd, group string) (users map[string]Account, groups map[string]int) {
	users, groups = map[string]Account{}, map[string]int{}
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 6 {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 31)
		gid, err2 := strconv.ParseUint(f[3], 10, 31)
		if err1 == nil && err2 == nil {
			users[f[0]] = Account{UID: int(uid), GID: int(gid), Home: f[5]}
		}
	}
	for line := range strings.Lines(group) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 3 {
			continue
		}
		if gid, err := strconv.ParseUint(f[2], 10, 31); err == nil {
			groups[f[0]] = int(gid)
		}
	}
	return users, groups
}

// TreeOf lays a config out: every path that Sluice keeps on a node of this config, and nothing
// else. Paths that a config wants absent (the links of a disabled unit) are in it, too. The error
// holds every reason for which the config cannot stand on this node, one a line.
func TreeOf(c machine.Config, f Facts) (Tree, error) {
	l := layout{tree: Tree{}, facts: f, units: map[string]machine.Unit{}}
	c = c.Canonical()
	for _, u := range c.Units {
		l.units[u.Name] = u
	}
	for _, file := range c.Files {
		l.file(file)
	}
	for _, u := range c.Units {
		l.unit(u)
	}
	for _, u := range c.Units {
		l.enablement(u)
	}
	for _, u := range c.Users {
		l.user(u)
	}
	l.nesting()
	return l.tree, errors.Join(l.errs...)
}

// layout is a tree in the making.
type layout struct {
	tree  Tree
	facts Facts
	units map[string]machine.Unit
	errs  []error
}

func (l *layout) refuse(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

// put adds a path. Two parts of a config may ask for the same thing; they may not differ, except
// that a disabled unit's missing link gives way to whoever wants that path.
func (l *layout) put(p string, e Entry) {
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0):
		l.refuse("path %q: is not a clean absolute path", p)
		return
	case p == StateDir || strings.HasPrefix(p, StateDir+"/"):
		l.refuse("path %q: belongs to sluice itself; choose another", p)
		return
	}
	had, taken := l.tree[p]
	switch {
	case !taken || had.Enables != "" && had.Kind == Absent:
		l.tree[p] = e
	case e.Enables != "" && e.Kind == Absent:
	case !Met(e, had):
		l.refuse("path %q: is asked for twice, and not the same", p)
	}
}

func (l *layout) file(f machine.File) {
	uid, err := l.uid(f.User)
	if err != nil {
		l.refuse("file %q: user %w", f.Path, err)
	}
	gid, err := l.gid(f.Group)
	if err != nil {
		l.refuse("file %q: group %w", f.Path, err)
	}
	l.put(f.Path, Entry{Kind: Regular, Mode: f.Mode & 0o7777, UID: uid, GID: gid, Data: f.Contents})
}

func (l *layout) uid(name string) (int, error) {
	account, known := l.facts.Users[name]
	return number(name, account.UID, known, l.facts.Users == nil)
}

func (l *layout) gid(name string) (int, error) {
	gid, known := l.facts.Groups[name]
	return number(name, gid, known, l.facts.Users == nil)
}

func number(name string, id int, known, nobody bool) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	switch {
	case name == "" || name == "root":
		return 0, nil
	case known:
		return id, nil
	case nobody:
		return Anyone, nil
	}
	return 0, fmt.Errorf("%q is not known on this node: create it first, or use a number", name)
}

// user lays out the ssh keys of an account where sshd of Fedora CoreOS and its kin looks for what
// Ignition wrote, as MCO main does.
func (l *layout) user(u machine.User) {
	if u.PasswordHash != "" {
		l.refuse("user %q: passwordHash cannot be kept on a living node yet: remove it from the config", u.Name)
	}
	if len(u.SSHKeys) == 0 {
		return
	}
	if u.Name == "" || strings.ContainsAny(u.Name, "/:\x00") {
		l.refuse("user %q: is not a name of an account", u.Name)
		return
	}
	account, known := l.facts.Users[u.Name]
	if !known {
		account = Account{UID: Anyone, GID: Anyone, Home: "/home/" + u.Name}
	}
	dir := Entry{Kind: Dir, Mode: 0o700, UID: account.UID, GID: account.GID}
	ssh := path.Join("/", account.Home, ".ssh")
	l.put(ssh, dir)
	l.put(ssh+"/authorized_keys.d", dir)
	l.put(ssh+"/authorized_keys.d/ignition", Entry{
		Kind: Regular, Mode: 0o600, UID: account.UID, GID: account.GID,
		Data: []byte(strings.Join(u.SSHKeys, "\n") + "\n"),
	})
}

// nesting refuses a path below another one that is no directory.
func (l *layout) nesting() {
	for _, p := range sortedKeys(l.tree) {
		if l.tree[p].Kind == Absent {
			continue
		}
		for up := path.Dir(p); up != "/"; up = path.Dir(up) {
			if above, ok := l.tree[up]; ok && above.Kind != Dir && above.Kind != Absent {
				l.refuse("path %q: lies below %q, which is no directory", p, up)
			}
		}
	}
}
