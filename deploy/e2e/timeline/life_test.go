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
	First, Stop, Back  time.Duration // the first renewal, and between which there are none
	Revoked            revocation

	grants  []grant // by time of issue
	healthy bool    // renewed in its rhythm, always
}

// revocation is of all tokens of a moment or, of several, of the first to end. What is 0 never happens.
type revocation struct {
	At, Reinstated time.Duration
	All            bool
}

// grant is a token as it truly is. What is 0 never happens.
type grant struct {
	issued, ends, revoked, reinstated time.Duration
}

// fault is something that breaks for a while.
type fault struct {
	span
	Kind     string
	Provider string `json:",omitempty"`
}

var faults = []string{
	"API gone", "API errors", "no access", "exporter gone", "exporter restarts", "exporter restarts",
	"Prometheus gone", "scrapes fail",
}

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
		l := &life{Consumer: fmt.Sprintf("app_%02d", i), Provider: fmt.Sprintf("provider_%d", r.IntN(4)), Stop: lasts, Back: lasts}
		l.Lifetime = lifetimes[r.IntN(len(lifetimes))]
		l.Rhythm = between(l.Lifetime*3/10, l.Lifetime*7/10)
		if l.Lifetime == 15*minute && r.IntN(2) == 0 {
			l.Rhythm = hour // a job that fetches one when it runs
		}
		l.First = -between(0, l.Rhythm) - 2*l.Rhythm
		if r.IntN(3) == 0 {
			l.Stop = between(-l.Lifetime, lasts)
			if r.IntN(2) == 0 {
				l.Back = l.Stop + between(l.Lifetime, l.Lifetime*3/2+day)
			}
		}
		if r.IntN(4) == 0 {
			l.Revoked = revocation{At: between(hour, lasts), All: r.IntN(2) == 0}
			if while := between(hour, 2*day); r.IntN(2) == 0 {
				l.Revoked.Reinstated = l.Revoked.At + while
			}
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

// live works out what the life is.
func (l *life) live(lasts time.Duration) {
	l.grants, l.healthy = nil, l.Stop >= lasts
	for at := l.First; at < lasts; at += l.Rhythm {
		if (at < l.Stop || at > l.Back) && at > -11*l.Lifetime {
			l.grants = append(l.grants, grant{issued: at, ends: at + l.Lifetime})
		}
	}
	if l.grants == nil {
		l.grants = []grant{{issued: l.Stop - l.Lifetime, ends: l.Stop}}
	}
	var active []*grant
	for i := range l.grants {
		if g := &l.grants[i]; g.issued < l.Revoked.At && l.Revoked.At < g.ends {
			active = append(active, g)
		}
	}
	if !l.Revoked.All {
		active = active[:min(1, max(0, len(active)-1))]
	}
	for _, g := range active {
		g.revoked, g.reinstated = l.Revoked.At, l.Revoked.Reinstated
		l.healthy = l.healthy && !l.Revoked.All
	}
}

// scenario is the world for the runner.
func (w *world) scenario(story string) Scenario {
	s := Scenario{Name: "life", Story: story, Lasts: w.Lasts, Scrape: coarse, Evaluate: coarse}
	s.Play = func(world *World) {
		for _, l := range w.Lives {
			l.live(w.Lasts)
			world.Target(l.Consumer + ":" + l.Provider)
			for _, g := range l.grants {
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
	if g.issued <= 0 {
		id = w.Issue(name, g.issued, l.Lifetime)
	} else {
		w.At(g.issued, "", func() { id = w.Issue(name, g.issued, l.Lifetime) })
		w.At(g.ends+day, "", func() { w.API.Remove(id) }) // the provider cleans up
	}
	if g.revoked > 0 {
		w.At(g.revoked, "a token of "+l.subject()+" is revoked", func() { w.API.Revoke(id) })
	}
	if g.reinstated > 0 {
		w.At(g.reinstated, "a token of "+l.subject()+" is reinstated", func() { w.API.Reinstate(id) })
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
