package poller

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	rhythmLives = flag.Int("rhythm.lives", 0, "lives of each kind in TestRhythm; 0: one of two kinds")
	rhythmPoll  = flag.Duration("rhythm.poll", 5*time.Minute, "interval of the polls in TestRhythm")
	rhythmLive  = flag.Bool("rhythm.live", false, "live walks in TestRhythm")
	rhythmKind  = flag.String("rhythm.kind", "", "only kinds with this in their name")
	rhythmStops = flag.Int("rhythm.stops", 6, "losses of each life, in the first two weeks and later")
	rhythmSeed  = flag.Uint64("rhythm.seed", 1, "of TestRhythm")
)

var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

func moment(minutes float64) time.Time {
	return monday.Add(time.Duration(minutes * float64(time.Minute)))
}

// polls returns the times of the walks, without those in outages of 1 to 12 hours about every four weeks.
func polls(r *rand.Rand, interval float64) (out []float64) {
	outage, over := r.ExpFloat64()*4*weeks, 0.0
	for t := between(r, 0, interval); t < lifetime+24*weeks; t += interval {
		if t > outage {
			over = outage + between(r, hours, 12*hours)
			outage = over + r.ExpFloat64()*4*weeks
		}
		if t >= over {
			out = append(out, t)
		}
	}
	return out
}

// watched is a consumer with the census of its last walk. A copy continues independently.
type watched struct {
	life     consumerLife
	interval time.Duration
	live     bool
	first    int // issue that may be of use in a list
	census   *Census
}

// walk reads the list at t, in which until issues have been made.
func (w *watched) walk(t float64, until int) {
	c := newCounting()
	before := 0.0
	if w.census != nil {
		before = w.census.ReadAt.Sub(monday).Minutes() - 1
	}
	for w.first < until && w.life.issues[w.first].end < before {
		w.first++
	}
	var page Page
	shown := func(n int) {
		i := w.life.issues[n]
		out := Token{ID: strconv.Itoa(n), Expires: moment(i.at + i.life).UnixMilli(), Created: moment(i.at).UnixMilli()}
		out.Updated = out.Created
		if i.revoked <= t {
			out.Revoked, out.Updated = true, moment(i.revoked).UnixMilli()
		}
		if w.life.inPlace {
			out.Created = monday.UnixMilli() - 100*24*3600*1000
		}
		if !w.live || !out.Revoked && i.end > t {
			page.Tokens = append(page.Tokens, out)
		}
	}
	switch {
	case until == 0:
	case w.life.inPlace:
		shown(until - 1)
	default:
		if w.first > 0 { // stands for all the earlier ones
			shown(0)
		}
		for n := w.first; n < until; n++ {
			shown(n)
		}
	}
	c.add(page, moment(t))
	if w.live {
		c.add(Page{Dead: &Dead{Expired: 1}}, moment(t))
	}
	w.census = c.census(w.census, moment(t), time.Second)
}

var shipped = Thresholds{AtRisk: Before{0.2, 7 * 24 * time.Hour}, AboutToEnd: Before{0.05, 24 * time.Hour}, LostAfter: 10 * time.Minute}

// level returns 2 for a critical state at t, 1 for a warning, 0 for others.
func (w *watched) level(t float64) (int, State) {
	r := Reading{Target: Target{Thresholds: shipped}, Census: w.census}
	switch s := r.Status(moment(t), w.interval).State; s {
	case Lost, AboutToEnd:
		return 2, s
	case Overdue, NotRenewed, AtRisk:
		return 1, s
	default:
		return 0, s
	}
}

// outcome of the lives of one kind, in their first two weeks and later.
type outcome struct {
	weeks, critical, warning [2]float64
	told                     [2][]float64 // minutes from a missed token to the first state that alerts
	missed                   int
}

func (o *outcome) live(r *rand.Rand, kind func(*rand.Rand) consumerLife) {
	w := watched{life: alive(kind, r), interval: *rhythmPoll, live: *rhythmLive}
	walks := polls(r, rhythmPoll.Minutes())
	issues := w.life.issues
	start, end := issues[0].at, issues[len(issues)-1].at
	o.weeks[0] += min(2, (end-start)/weeks)
	o.weeks[1] += max(0, (end-start)/weeks-2)
	real := func(t float64) bool {
		return slices.ContainsFunc(w.life.incidents, func(x [2]float64) bool { return t >= x[0] && t <= x[1]+30 })
	}
	var stops []int // issues from which on there are none
	for phase, from := range [2][2]float64{{start + 1, start + 2*weeks}, {7 * weeks, lifetime - 2*weeks}} {
		for range *rhythmStops {
			t := between(r, from[0], from[1])
			n := slices.IndexFunc(issues, func(i issue) bool { return i.at >= t })
			near := slices.ContainsFunc(w.life.incidents, func(x [2]float64) bool { return t > x[0]-days && t < x[1]+days })
			if n > 0 && !near {
				stops = append(stops, 2*n+phase)
			}
		}
	}
	slices.Sort(stops)
	until, was := 0, 0
	for n, t := range walks {
		if t >= end {
			break
		}
		for ; len(stops) > 0 && issues[stops[0]/2].at <= t; stops = stops[1:] {
			o.stop(w, stops[0]/2, stops[0]%2, walks[n:])
		}
		for until < len(issues) && issues[until].at <= t {
			until++
		}
		if !w.live && r.Float64() < rhythmPoll.Minutes()/(8*weeks) { // restarted without a state file: all is in the list
			w.census, w.first = nil, 0
		}
		w.walk(t, until)
		phase := 0
		if t-start >= 2*weeks {
			phase = 1
		}
		for _, t := range []float64{t, walks[n+1] - 0.01} {
			level, _ := w.level(t)
			if t < end && !real(t) && level > was {
				if level == 2 {
					o.critical[phase]++
				} else {
					o.warning[phase]++
				}
			}
			was = level
		}
	}
}

// stop ends the issues of the consumer after its first tokens, and records the time of detection.
func (o *outcome) stop(w watched, issued, phase int, walks []float64) {
	missed := w.life.issues[issued].at
	if w.life.issues = w.life.issues[:issued]; issued == 0 {
		return
	}
	for n, t := range walks {
		w.walk(t, issued)
		for _, t := range []float64{t, walks[n+1] - 0.01} {
			if level, state := w.level(t); level > 0 {
				o.told[phase] = append(o.told[phase], t-missed)
				return
			} else if state == Retired || t > missed+20*weeks {
				o.told[phase] = append(o.told[phase], t-missed)
				o.missed++
				return
			}
		}
	}
}

func quantile(x []float64, q float64) string {
	if len(x) == 0 {
		return "-"
	}
	slices.Sort(x)
	m := x[min(len(x)-1, int(q*float64(len(x))))]
	if m < 48*hours {
		return fmt.Sprintf("%.1fh", m/hours)
	}
	return fmt.Sprintf("%.1fd", m/days)
}

// TestRhythm simulates lives of consumers, outages of the API and restarts without a state file, and reports what the states of
// this package would have alerted. Figures are per target-week: false alarms as critical/warning, and the time from the first
// missed token to the first state that alerts as median/95 %. The table that they are compared with needs 40 lives of each kind:
//
//	go test ./poller -run TestRhythm -v -timeout 3h -rhythm.lives=40 [-rhythm.poll=1h] [-rhythm.live]
func TestRhythm(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "| kind | critical/warning, week 1-2 | later | noticed, week 1-2 | later | missed |\n|---|---|---|---|---|---|\n")
	var mean, n [4]float64
	var sum float64
	for i, k := range kinds {
		lives := *rhythmLives
		if lives == 0 && (strings.HasPrefix(k.name, "nightly, s") || k.name == "24 h renewed at 80 %") {
			lives = 1
		}
		if !strings.Contains(k.name, *rhythmKind) || lives == 0 {
			continue
		}
		r := rand.New(rand.NewPCG(*rhythmSeed, uint64(i)))
		var o outcome
		for range lives {
			o.live(r, k.live)
		}
		figures := [4]float64{o.critical[0] / o.weeks[0], o.warning[0] / o.weeks[0], o.critical[1] / o.weeks[1], o.warning[1] / o.weeks[1]}
		fmt.Fprintf(&table, "| %s | %.2f/%.2f | %.3f/%.3f | %s/%s | %s/%s | %d |\n", k.name, figures[0], figures[1], figures[2], figures[3],
			quantile(o.told[0], .5), quantile(o.told[0], .95), quantile(o.told[1], .5), quantile(o.told[1], .95), o.missed)
		for j := range figures {
			mean[j] += figures[j]
			n[j]++
			if lives >= 10 && figures[j] > 2*k.most[j]+0.06 {
				t.Errorf("%s: %.3f of kind %d, over twice %v", k.name, figures[j], j, k.most[j])
			}
		}
		sum += o.weeks[0] + o.weeks[1]
		if o.missed > 0 {
			t.Errorf("%s: missed %d", k.name, o.missed)
		}
	}
	for j, most := range [4]float64{.03, .2, .02, .06} {
		if *rhythmLives >= 10 && mean[j] > most*n[j] {
			t.Errorf("mean %d: %.4f, want at most %v", j, mean[j]/n[j], most)
		}
	}
	fmt.Fprintf(&table, "| mean | %.3f/%.3f | %.4f/%.4f | %.0f target-weeks\n", mean[0]/n[0], mean[1]/n[1], mean[2]/n[2], mean[3]/n[3], sum)
	t.Log("\n" + table.String())
}
