package timeline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// world is everything that will truly happen.
type world struct {
	Lasts  time.Duration
	Polled time.Duration // the interval
	Lives  []*life
	Faults []fault
}

// life is what truly happens to one target.
type life struct {
	Consumer, Provider string
	Lifetime, Rhythm   time.Duration
	Grants             []grant // by time of issue
	Healthy            bool    // renewed in its rhythm, always
}

// grant is a token as it truly is. What is 0 never happens.
type grant struct {
	Issued, Ends, Revoked, Reinstated time.Duration
}

// fault is something that breaks for a while.
type fault struct {
	span
	Kind     string
	Provider string `json:",omitempty"`
}

var faults = []string{"API gone", "API errors", "no access", "exporter gone", "exporter restarts", "exporter restarts", "Prometheus gone", "scrapes fail"}

func (l *life) subject() string { return l.Consumer + "/" + l.Provider }

// random makes up a world.
func random(seed uint64, targets int, lasts time.Duration) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	between := func(a, b time.Duration) time.Duration {
		return (a + time.Duration(r.Int64N(int64(b-a)))).Truncate(time.Minute)
	}
	w := &world{Lasts: lasts, Polled: []time.Duration{time.Minute, 5 * minute, hour}[seed%3]}
	lifetimes := []time.Duration{15 * minute, 30 * minute, 2 * hour, day, 3 * day, 10 * day, 30 * day, 90 * day}
	if w.Polled == hour {
		lifetimes = lifetimes[2:] // what ends between two walks is not seen
	}
	for i := range targets {
		l := &life{Consumer: fmt.Sprintf("app_%02d", i), Provider: fmt.Sprintf("provider_%d", r.IntN(4)), Healthy: true}
		l.Lifetime = lifetimes[r.IntN(len(lifetimes))]
		l.Rhythm = between(l.Lifetime*3/10, l.Lifetime*7/10)
		if l.Lifetime == 15*minute && r.IntN(2) == 0 {
			l.Rhythm = hour // a job that fetches one when it runs
		}
		at := -between(0, l.Rhythm) - 2*l.Rhythm
		stop, back := lasts, lasts
		if r.IntN(3) == 0 {
			stop, l.Healthy = between(-l.Lifetime, lasts), false
			if r.IntN(2) == 0 {
				back = stop + between(l.Lifetime, l.Lifetime*3/2+day)
			}
		}
		for ; at < lasts; at += l.Rhythm {
			if (at < stop || at > back) && at+l.Lifetime > -10*l.Lifetime {
				l.Grants = append(l.Grants, grant{Issued: at, Ends: at + l.Lifetime})
			}
		}
		if l.Grants == nil {
			l.Grants = []grant{{Issued: stop - l.Lifetime, Ends: stop}}
		}
		if r.IntN(4) == 0 {
			l.revoke(between(hour, lasts), r.IntN(2) == 0, between(hour, 2*day), r.IntN(2) == 0)
		}
		w.Lives = append(w.Lives, l)
	}
	for at := between(hour, day); at < lasts; at += between(2*hour, 2*day) {
		f := fault{span{at, 0}, faults[r.IntN(len(faults))], fmt.Sprintf("provider_%d", r.IntN(4))}
		length := []time.Duration{4 * minute, 20 * minute, 90 * minute, 8 * hour, 60 * hour}[r.IntN(5)]
		if f.Kind == "exporter restarts" {
			length = 2 * minute
		}
		if f.To = min(at+length, lasts-hour); f.To < at {
			break
		}
		at = f.To
		w.Faults = append(w.Faults, f)
	}
	return w
}

// revoke has all tokens of a moment revoked, or, of several, the first to end; and perhaps reinstated after a while.
func (l *life) revoke(at time.Duration, all bool, while time.Duration, reinstated bool) {
	var active []*grant
	for i := range l.Grants {
		if g := &l.Grants[i]; g.Issued < at && at < g.Ends {
			active = append(active, g)
		}
	}
	if !all {
		active = active[:min(1, max(0, len(active)-1))]
	}
	for _, g := range active {
		g.Revoked = at
		if reinstated {
			g.Reinstated = at + while
		}
		l.Healthy = l.Healthy && !all
	}
}

// scenario is the world for the runner.
func (w *world) scenario(story string) Scenario {
	s := Scenario{Name: "life", Story: story, Lasts: w.Lasts, Scrape: coarse, Evaluate: coarse}
	s.Play = func(world *World) {
		for _, l := range w.Lives {
			world.Target(l.Consumer + ":" + l.Provider)
			for _, g := range l.Grants {
				l.play(world, g)
			}
		}
		p := world.Exporter("exporter:9877", "IDAAS_POLL_SCHEDULE=@every "+w.Polled.String())
		for _, f := range w.Faults {
			f.play(world, p)
		}
	}
	return s
}

func (l *life) play(w *World, g grant) {
	name, id := l.Consumer+":"+l.Provider, ""
	if g.Issued <= 0 {
		id = w.Issue(name, g.Issued, l.Lifetime)
	} else {
		w.At(g.Issued, "", func() { id = w.Issue(name, g.Issued, l.Lifetime) })
		w.At(g.Ends+day, "", func() { w.API.Remove(id) }) // the provider cleans up
	}
	if g.Revoked > 0 {
		w.At(g.Revoked, "a token of "+l.subject()+" is revoked", func() { w.API.Revoke(id) })
	}
	if g.Reinstated > 0 {
		w.At(g.Reinstated, "a token of "+l.subject()+" is reinstated", func() { w.API.Reinstate(id) })
	}
}

func (f fault) play(w *World, p *Process) {
	length := f.To - f.From
	switch f.Kind {
	case "API gone":
		w.Cut(f.From, length)
	case "API errors":
		w.Break(f.From, length, "the API answers with errors", simulator.Fault{Kind: simulator.Status, Status: 503})
	case "no access":
		w.Break(f.From, length, "no access to "+f.Provider, simulator.Fault{
			Operation: simulator.List, Provider: f.Provider, Kind: simulator.Status, Status: 403, Code: "forbidden",
		})
	case "exporter gone":
		w.At(f.From, "the exporter is gone", p.Stop)
		w.At(f.To, "the exporter is back", func() { p.Start() })
	case "exporter restarts":
		w.At(f.From, "the exporter is restarted", func() { p.Restart() })
	case "Prometheus gone":
		w.RestartPrometheus(f.From, length)
	case "scrapes fail":
		w.At(f.From, "every other scrape fails", func() {})
		for at := f.From; at < f.To; at += 2 * coarse {
			w.deaf(at, coarse)
		}
	}
}

// blind is when nobody can see a target, until the walk after that.
func (w *world) blind(l *life) (blind spans) {
	for _, f := range w.Faults {
		if f.Kind == "API gone" || f.Kind == "API errors" || f.Kind == "exporter gone" || f.Kind == "no access" && f.Provider == l.Provider {
			blind = append(blind, span{f.From, f.To + w.Polled + minute})
		}
	}
	return blind
}

// deaf is when Prometheus is gone.
func (w *world) deaf() (deaf spans) {
	for _, f := range w.Faults {
		if f.Kind == "Prometheus gone" {
			deaf = append(deaf, f.span)
		}
	}
	return deaf
}

type spans []span

// spare reports whether none of them touches a time.
func (s spans) spare(from, to time.Duration) bool {
	return !slices.ContainsFunc(s, func(s span) bool { return s.From < to && from < s.To })
}
