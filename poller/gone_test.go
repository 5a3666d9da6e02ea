package poller

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A target that returns within 7 days, also after a restart, has its facts again and is walked at once.
func TestGoneAndBack(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, restart := range []bool{false, true} {
		for _, away := range []time.Duration{time.Second, 24 * time.Hour, week - time.Minute, week, 2 * week} {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSource{}
				f.set("a", pages(3, time.Second))
				f.set("b", pages(2, time.Second))
				p := newTestPoller(t, f, 2, "a", "b")
				stop := run(p)
				time.Sleep(time.Minute)
				facts := p.Snapshot().Readings[0].Census
				f.set("a", hanging)
				p.SetTargets(targetsOf("b"))
				if s := p.Snapshot(); shown(s) != "b=2" || len(s.Gone) != 1 {
					t.Errorf("removed: %s, %d kept", shown(s), len(s.Gone))
				}
				time.Sleep(away)
				synctest.Wait()
				begun := f.begun("a")
				if restart {
					stop()
					known := map[Key]*Reading{}
					for _, r := range slices.AppendSeq(slices.Clone(p.Snapshot().Readings), maps.Values(p.Snapshot().Gone)) {
						known[r.Target.Key()] = r
					}
					c := p.config
					c.Targets, c.Restored = targetsOf("b"), known
					p = New(c)
					stop = run(p)
					synctest.Wait()
				}
				p.SetTargets(targetsOf("b", "a"))
				synctest.Wait()
				s := p.Snapshot()
				if back := s.Readings[1].Census == facts; back != (away < week) || len(s.Gone) != 0 {
					t.Errorf("after %v, restarted %v: facts are back: %v; kept: %v", away, restart, back, s.Gone)
				}
				if f.begun("a") != begun+1 {
					t.Errorf("after %v, restarted %v: it is not walked at once", away, restart)
				}
				stop()
			})
		}
	}
}

// Facts of removed targets are deleted after 7 days; targets that were never attempted have none.
func TestGoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", pages(1, time.Second))
		f.set("b", pages(1, time.Second))
		f.set("never", hanging)
		p := newTestPoller(t, f, 2, "a", "never")
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		p.SetTargets(targetsOf("b"))
		if kept := p.Snapshot().Gone; len(kept) != 1 {
			t.Errorf("kept: %v", kept)
		}
		time.Sleep(7*24*time.Hour + 5*time.Minute)
		synctest.Wait()
		if kept := p.Snapshot().Gone; len(kept) != 0 {
			t.Errorf("kept after a week: %v", kept)
		}
	})
}

func TestTargetsChangedIsLogged(t *testing.T) {
	alias := targetsOf("a", "b")
	alias[1].Label = "alias"
	windows := targetsOf("a", "b")
	windows[0].Windows = []Window{{"5m", 5 * time.Minute}}
	for name, tt := range map[string]struct {
		targets []Target
		want    string
	}{
		"nothing":            {targetsOf("a", "b"), ""},
		"another order":      {targetsOf("b", "a"), ""},
		"one more":           {targetsOf("a", "b", "c"), "added=1 removed=0 changed=0 targets=3"},
		"one less":           {targetsOf("b"), "added=0 removed=1 changed=0 targets=1"},
		"another":            {targetsOf("a", "c"), "added=1 removed=1 changed=0 targets=2"},
		"an alias":           {alias, "added=0 removed=0 changed=1 targets=2"},
		"windows of its own": {windows, "added=0 removed=0 changed=1 targets=2"},
	} {
		var log strings.Builder
		p := newTestPoller(t, &fakeSource{}, 1, "a", "b")
		p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		p.SetTargets(tt.targets)
		if tt.want == "" && log.Len() > 0 || !strings.Contains(log.String(), tt.want) {
			t.Errorf("%s: logged %q", name, log.String())
		}
	}
}
