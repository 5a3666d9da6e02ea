package timeline

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

var (
	seed    = flag.Uint64("seed", 1, "of the first life")
	count   = flag.Int("lives", 1, "how many, with seeds counting up")
	targets = flag.Int("targets", 24, "targets of a life")
	weeks   = flag.Int("weeks", 1, "weeks of a life")
)

// TestLives holds the promise against random lives.
func TestLives(t *testing.T) {
	for n := range *count {
		t.Run(fmt.Sprintf("seed=%d", *seed+uint64(n)), func(t *testing.T) {
			t.Parallel()
			s, lives := random(*seed+uint64(n), *targets, time.Duration(*weeks)*7*day)
			transitions, timeline := Run(t, s)
			h := hear(transitions, epoch, s.Lasts)
			var faults []string
			for _, l := range lives.lives {
				faults = append(faults, l.broken(h, s.Lasts, lives.deaf)...)
			}
			if faults != nil {
				t.Errorf("seed %d, %d targets, %d weeks:\n%s", *seed+uint64(n), *targets, *weeks, strings.Join(faults, "\n"))
				file := filepath.Join(os.TempDir(), fmt.Sprintf("life-%d.txt", *seed+uint64(n)))
				t.Log("its timeline: ", file, os.WriteFile(file, []byte(timeline), 0o600))
			}
		})
	}
}

// world is everything that will truly happen.
type world struct {
	lives []*life
	deaf  []span
}

func random(seed uint64, targets int, lasts time.Duration) (Scenario, *world) {
	r := rand.New(rand.NewPCG(seed, 0))
	between := func(a, b time.Duration) time.Duration {
		return (a + time.Duration(r.Int64N(int64(b-a)))).Truncate(time.Minute)
	}
	all := &world{}
	for i := range targets {
		l := &life{consumer: fmt.Sprintf("app_%02d", i), provider: fmt.Sprintf("provider_%d", r.IntN(4)), healthy: true}
		l.lifetime = []time.Duration{15 * minute, 30 * minute, 2 * hour, day, 3 * day, 10 * day, 30 * day, 90 * day}[r.IntN(8)]
		l.rhythm = between(l.lifetime*3/10, l.lifetime*7/10)
		if l.lifetime == 15*minute && r.IntN(2) == 0 {
			l.rhythm = hour // a job that fetches one when it runs
		}
		at := -between(0, l.rhythm) - 2*l.rhythm
		stop := lasts
		if r.IntN(3) == 0 {
			stop, l.healthy = between(-l.lifetime, lasts), false
		}
		back := lasts
		if r.IntN(2) == 0 && !l.healthy {
			back = stop + between(l.lifetime, l.lifetime*3/2+day)
		}
		for ; at < lasts; at += l.rhythm {
			if (at < stop || at > back) && at+l.lifetime > -10*l.lifetime {
				l.grants = append(l.grants, grant{at, at + l.lifetime})
			}
		}
		if l.grants == nil {
			l.grants = []grant{{stop - l.lifetime, stop}}
		}
		all.lives = append(all.lives, l)
	}
	type fault struct {
		span
		kind, provider int
	}
	var faults []fault
	for at := between(hour, day); at < lasts; at += between(2*hour, 2*day) {
		f := fault{span{at, 0}, r.IntN(8), r.IntN(4)}
		length := []time.Duration{4 * minute, 20 * minute, 90 * minute, 8 * hour, 60 * hour}[r.IntN(5)]
		if f.kind == 4 || f.kind == 5 {
			length = 2 * minute // a restart
		}
		f.to = min(at+length, lasts-hour)
		if f.to < at {
			break
		}
		at = f.to
		faults = append(faults, f)
		for _, l := range all.lives {
			if f.kind < 2 || f.kind == 3 || f.kind == 2 && l.provider == fmt.Sprintf("provider_%d", f.provider) {
				l.blind = append(l.blind, span{f.from, f.to + 6*minute}) // until the next walk
			}
		}
		if f.kind == 6 {
			all.deaf = append(all.deaf, f.span)
		}
	}
	s := Scenario{Name: "life", Story: fmt.Sprintf("A random life, seed %d.", seed), Lasts: lasts, Scrape: coarse, Evaluate: coarse}
	s.Play = func(w *World) {
		for _, l := range all.lives {
			for _, g := range l.grants {
				name := l.consumer + ":" + l.provider
				if g.issued <= 0 {
					w.Issue(name, g.issued, l.lifetime)
				} else {
					var id string
					w.At(g.issued, "", func() { id = w.Issue(name, g.issued, l.lifetime) })
					w.At(g.ends+day, "", func() { w.API.Remove(id) }) // the provider cleans up
				}
			}
		}
		p := w.Exporter("exporter:9877")
		for _, f := range faults {
			length := f.to - f.from
			switch f.kind {
			case 0:
				w.Cut(f.from, length)
			case 1:
				w.Break(f.from, length, "the API answers with errors", simulator.Fault{Kind: simulator.Status, Status: 503})
			case 2:
				forbidden := simulator.Fault{Operation: simulator.List, Provider: fmt.Sprintf("provider_%d", f.provider), Kind: simulator.Status, Status: 403, Code: "forbidden"}
				w.Break(f.from, length, "no access to "+forbidden.Provider, forbidden)
			case 3:
				w.At(f.from, "the exporter is gone", p.Stop)
				w.At(f.to, "the exporter is back", func() { p.Start() })
			case 4, 5:
				w.At(f.from, "the exporter is restarted", func() { p.Restart() })
			case 6:
				w.RestartPrometheus(f.from, length)
			case 7:
				w.At(f.from, "every other scrape fails", func() {})
				for at := f.from; at < f.to; at += 2 * coarse {
					w.At(at, "", func() { w.Hear(false) })
					w.At(at+coarse, "", func() { w.Hear(true) })
				}
			}
		}
	}
	return s, all
}
