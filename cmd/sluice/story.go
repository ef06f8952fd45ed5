package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// story is a log that people follow: a line per node and step, in words. It also keeps what
// happened, so that the demo can hold the story against the facts.
type story struct {
	mu   sync.Mutex
	w    io.Writer
	told *ledger
}

// ledger is what a story has told.
type ledger struct {
	sent []string // nodes, in the order in which they got orders that disturb them
}

func newStory(w io.Writer) *story { return &story{w: w, told: &ledger{}} }

func (s *story) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (s *story) WithGroup(string) slog.Handler { return s }

func (s *story) WithAttrs(attrs []slog.Attr) slog.Handler {
	return attributed{s, attrs}
}

// attributed is a story with attributes that every line has.
type attributed struct {
	*story
	attrs []slog.Attr
}

func (a attributed) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(a.attrs...)
	return a.story.Handle(ctx, r)
}

func (a attributed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return attributed{a.story, append(append([]slog.Attr(nil), a.attrs...), attrs...)}
}

// Handle tells one event.
func (s *story) Handle(_ context.Context, r slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		at[a.Key] = a.Value.String()
		return true
	})
	if r.Message == "send" && at["ceiling"] != "none" {
		s.told.sent = append(s.told.sent, at["node"])
	}
	line := s.line(r, at)
	if line == "" {
		return nil
	}
	_, err := fmt.Fprintln(s.w, line)
	return err
}

func (s *story) line(r slog.Record, at map[string]string) string {
	switch r.Message {
	case "drain":
		return nodeLine(at, "drained: no new work, its pods are moved away")
	case "send":
		return nodeLine(at, "ordered to become "+at["config"]+", at most at the cost of: "+at["ceiling"])
	case "reboot":
		return nodeLine(at, "reboots")
	case "uncordon":
		return nodeLine(at, "back at work")
	case "report":
		switch {
		case at["drift"] != "0":
			return nodeLine(at, "has drifted in "+at["drift"]+" place(s)")
		case at["phase"] == "done":
			return nodeLine(at, "is what it should be ("+at["config"]+")")
		case at["phase"] == "working" || at["phase"] == "":
			return ""
		}
		return nodeLine(at, at["phase"]+": "+at["why"])
	case "post":
		return fmt.Sprintf("    commit %s %-7s %s: %s", at["commit"], at["pool"], at["state"], at["summary"])
	case "comment":
		return fmt.Sprintf("    pull request #%s gets its comment", at["proposal"])
	case "step":
		return ""
	}
	if r.Level < slog.LevelWarn {
		return ""
	}
	return fmt.Sprintf("    %s: %s %v", strings.ToLower(r.Level.String()), r.Message, at)
}

func nodeLine(at map[string]string, what string) string {
	return fmt.Sprintf("    %-9s %s", at["node"], what)
}

// take returns the nodes that got orders since the last call.
func (s *story) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.told.sent
	s.told.sent = nil
	return sent
}

// say writes a line of the narrator.
func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format+"\n", args...)
}
