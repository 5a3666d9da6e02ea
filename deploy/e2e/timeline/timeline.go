// Package timeline runs the whole chain, from a simulated IDaaS to the shipped alert rules, through weeks of virtual time,
// and tells as a timeline what was alerted, and when.
package timeline

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	instance  = "idaas_timeline"
	host      = "127.0.0.1:1" // never dialled
	domain    = "localhost:1" // the same
	api       = "http://" + host
	tokenPath = simulator.TokenPath
	client    = "app_exporter"
	secret    = "a secret of the simulator"
)

// Scenario is something that users live through.
type Scenario struct {
	Name  string
	Story string // what this shows
	Lasts time.Duration
	Start time.Time // 1 January 2028, a Saturday, in UTC, unless it is given
	// Scrape and Evaluate are the intervals; 0: the shipped ones, a minute. A life of weeks is cheaper with longer ones.
	Scrape, Evaluate time.Duration
	Environ          []string                  // settings of every exporter
	API              func(c *simulator.Config) // changes how the API behaves; may be nil
	// Play says what there is at the start, and what happens later. One exporter is started if it starts none.
	Play func(w *World)
	// Check looks at what was alerted, besides the golden timeline; nil: nothing.
	Check func(t *testing.T, transitions []Transition, route route)
}

// World is a scenario under way.
type World struct {
	*testing.T
	API *simulator.Server

	scenario Scenario
	start    time.Time
	told     *told
	notes    []line
	script   []event
	serial   int
	data     string // a folder
	outages  []span
	skew     atomic.Int64 // of the API's clock, in nanoseconds
	host     atomic.Value // where the API answers

	targets   []string
	processes []*Process

	prometheus *server
	addresses  []string

	mu        sync.Mutex // guards what follows
	listeners map[string]*pipes
	conns     []net.Conn // of Prometheus
	unheard   bool       // no exporter can be scraped
}

type event struct {
	at   time.Duration
	what string
	do   func()
}

// At has something happen, which the timeline tells unless what is empty.
func (w *World) At(at time.Duration, what string, do func()) {
	w.script = append(w.script, event{at, what, do})
}

// Every has something happen from first until last, again and again.
func (w *World) Every(first, every, last time.Duration, do func()) {
	for at := first; at <= last; at += every {
		w.At(at, "", do)
	}
}

// Now is the time since the start.
func (w *World) Now() time.Duration { return time.Since(w.start) }

// Target has the exporters started later watch one, given as consumer:provider.
func (w *World) Target(name string) {
	if !slices.Contains(w.targets, name) {
		w.targets = append(w.targets, name)
	}
	w.API.Add(strings.Split(name, ":")[0], strings.Split(name, ":")[1])
}

// Issue gives a target a token, issued some time after the start (before, if negative), and returns its id. A lifetime of 0
// is without end.
func (w *World) Issue(target string, issued, lifetime time.Duration) string {
	w.Target(target)
	w.serial++
	at := w.start.Add(issued + time.Duration(w.skew.Load()))
	t := simulator.Token{ID: fmt.Sprintf("atntkn_%08d", w.serial), Type: "oauth_access_token", Created: at, Updated: at}
	if lifetime > 0 {
		t.Expires = t.Created.Add(lifetime)
	}
	consumer, provider, _ := strings.Cut(target, ":")
	w.API.Add(consumer, provider, t)
	return t.ID
}

// Renew issues the tokens of a target in a rhythm, until last. The first is issued at first, which may be negative.
func (w *World) Renew(target string, lifetime, first, every, last time.Duration) {
	for at := first; at <= last; at += every {
		if at <= 0 {
			w.Issue(target, at, lifetime)
		} else {
			w.At(at, "", func() { w.Issue(target, at, lifetime) })
		}
	}
}

type span struct{ From, To time.Duration }

// Break injects a fault from one time on for a while. Both the beginning and the end are told if what is not empty.
func (w *World) Break(from, lasts time.Duration, what string, f simulator.Fault) {
	f.When = func(now time.Time) bool { return !now.Before(w.start.Add(from)) && now.Before(w.start.Add(from+lasts)) }
	w.API.Inject(f)
	if what != "" {
		w.At(from, what, func() {})
		w.At(from+lasts, what+": over", func() {})
	}
}

// Cut has every connection to the API refused for a while.
func (w *World) Cut(from, lasts time.Duration) {
	w.outages = append(w.outages, span{from, from + lasts})
	w.At(from, "the API cannot be reached", func() {})
	w.At(from+lasts, "the API can be reached again", func() {})
}

func (w *World) offline() bool {
	now := w.Now()
	return slices.ContainsFunc(w.outages, func(s span) bool { return now >= s.From && now < s.To })
}

// Clock has the clock of the API differ from ours from one time on, or ours from that of the API, which looks the same.
func (w *World) Clock(at, skew time.Duration, what string) {
	w.At(at, what, func() { w.skew.Store(int64(skew)) })
}

// Move has the API answer at another host from one time on, and none at the old one. Its domain knows.
func (w *World) Move(at time.Duration, host string) {
	w.At(at, "the API moves to another endpoint", func() { w.host.Store(host) })
}

// RestartPrometheus has it gone for a while.
func (w *World) RestartPrometheus(from, gone time.Duration) {
	w.At(from, "Prometheus is stopped", w.stopPrometheus)
	w.At(from+gone, "Prometheus is started", func() {
		w.startPrometheus()
		w.discover()
	})
}

var epoch = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)

// Run plays a scenario and returns everything that was told, and the timeline.
func Run(t *testing.T, s Scenario) (transitions []Transition, timeline string) {
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		if s.Start.IsZero() {
			s.Start = epoch
		}
		// A bubble begins in the year 2000, whose milliseconds would be taken for seconds.
		// Polls come on the minute, 20 s after what a scenario says.
		time.Sleep(time.Until(s.Start.Add(-pollAt)))
		w := &World{
			T: t, scenario: s, start: time.Now(), data: data, told: &told{firing: map[string]*promise{}}, listeners: map[string]*pipes{},
		}
		config := simulator.Config{
			InstanceID: instance, Clients: []simulator.Client{{ID: client, Secret: secret}},
			Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		}
		if s.API != nil {
			s.API(&config)
		}
		w.API = simulator.New(config)
		w.host.Store(host)
		time.Sleep(pollAt)
		s.Play(w)
		if w.processes == nil {
			w.Exporter("exporter:9877")
		}
		w.startPrometheus()
		w.discover()
		w.play()
		w.stopPrometheus()
		for _, p := range w.processes {
			p.Stop()
		}
		w.API.Close()
		transitions = w.told.transitions
		hiding, err := readInhibitions("alertmanager.yaml")
		if err != nil {
			t.Fatal(err)
		}
		shown := hiding.hide(transitions, w.start)
		timeline = text(s.Story, slices.Concat(w.notes, lines(w.start, transitions), shown))
	})
	return transitions, timeline
}

// play lets everything happen that the scenario says, and time go by until its end.
func (w *World) play() {
	w.At(w.scenario.Lasts, "", func() {})
	slices.SortStableFunc(w.script, func(a, b event) int { return int(a.at - b.at) })
	for _, e := range w.script {
		if e.at > w.scenario.Lasts {
			break
		}
		time.Sleep(e.at - w.Now())
		if e.what != "" {
			w.notes = append(w.notes, line{w.Now(), "-- " + e.what})
		}
		e.do()
	}
}
