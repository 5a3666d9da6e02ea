package poller

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// An issue is a token, or a renewal in place, of a simulated consumer. Times are minutes since Monday 2026-01-05 00:00 UTC.
type issue struct {
	at, end, life float64
	revoked       float64 // infinite: never
}

// consumerLife has the issues of a consumer that is not stopped.
type consumerLife struct {
	issues    []issue
	incidents [][2]float64 // real ones: alerts in them are right
	inPlace   bool         // all issues are of one token
}

const (
	hours    = 60.0
	days     = 24 * hours
	weeks    = 7 * days
	lifetime = 44 * weeks
)

func token(at, life float64) issue { return issue{at, at + life, life, math.Inf(1)} }

func between(r *rand.Rand, a, b float64) float64 { return a + r.Float64()*(b-a) }

// utc turns local minutes of a zone with summer time into UTC.
func utc(local float64) float64 {
	if local > 83*days+hours && local < 293*days+hours {
		return local - hours
	}
	return local
}

// each issues tokens of life at intervals of period ± jitter.
func each(r *rand.Rand, life, period, jitter float64) (out []issue) {
	for t := between(r, 0, min(period, days)); t < lifetime; t += period + between(r, -jitter, jitter) {
		out = append(out, token(t, life))
	}
	return out
}

// poisson issues tokens of life at random, rate of them a minute.
func poisson(r *rand.Rand, life, rate float64) (out []issue) {
	for t := r.ExpFloat64() / rate; t < lifetime; t += r.ExpFloat64() / rate {
		out = append(out, token(t, life))
	}
	return out
}

// daily calls f with the start of each day.
func daily(f func(n int, start float64)) {
	for n := range int(lifetime / days) {
		f(n, float64(n)*days)
	}
}

func nightly(r *rand.Rand) (out []issue) {
	phase := between(r, 0, 24*hours)
	daily(func(_ int, start float64) { out = append(out, token(utc(start+phase)+between(r, 0, 20), 15)) })
	return out
}

func hourly(r *rand.Rand) (out []issue) {
	phase := between(r, 0, 55)
	for t := phase; t < lifetime; t += hours {
		out = append(out, token(t+between(r, 0, 5), 15))
	}
	return out
}

func workdays(r *rand.Rand, holiday map[int]bool) (out []issue) {
	phase := between(r, 0, 50)
	daily(func(n int, start float64) {
		for h := 8.0; h <= 18 && n%7 < 5 && !holiday[n]; h++ {
			out = append(out, token(utc(start+h*hours+phase)+between(r, 0, 10), 15))
		}
	})
	return out
}

func office(r *rand.Rand) (out []issue) {
	daily(func(n int, start float64) {
		for range []int{0, 1, 2, 3, 5, 8}[r.IntN(6)] {
			if n%7 < 5 {
				out = append(out, token(utc(start+between(r, 9*hours, 18*hours)), 15))
			}
		}
	})
	return out
}

func calendar(r *rand.Rand, period float64) (out []issue) {
	phase := between(r, 0, min(period, 2*weeks))
	for t := phase; t < lifetime; t += period {
		out = append(out, token(utc(t)+between(r, 0, 30), 15))
	}
	return out
}

// without removes the issues in the incidents, and marks the incidents as real.
func without(issues []issue, incidents [][2]float64) consumerLife {
	issues = slices.DeleteFunc(issues, func(i issue) bool {
		return slices.ContainsFunc(incidents, func(x [2]float64) bool { return i.at >= x[0] && i.at < x[1] })
	})
	return consumerLife{issues: issues, incidents: incidents}
}

// twice returns two incidents in each five weeks.
func twice(r *rand.Rand, least, most float64) (out [][2]float64) {
	for start := 0.0; start < lifetime; start += 5 * weeks {
		for range 2 {
			t := between(r, start, start+5*weeks)
			out = append(out, [2]float64{t, t + between(r, least, most)})
		}
	}
	return out
}

func only(f func(r *rand.Rand) []issue) func(*rand.Rand) consumerLife {
	return func(r *rand.Rand) consumerLife { return consumerLife{issues: f(r)} }
}

func steady(life, period, jitter float64) func(*rand.Rand) consumerLife {
	return only(func(r *rand.Rand) []issue { return each(r, life, period, jitter) })
}

func random(life, rate float64) func(*rand.Rand) consumerLife {
	return only(func(r *rand.Rand) []issue { return poisson(r, life, rate) })
}

// kinds of consumers, with the false alarms in a week that are to be reached: critical and warning in the first two weeks, and
// later.
var kinds = []struct {
	name string
	live func(*rand.Rand) consumerLife
	most [4]float64
}{
	{"always on, 15 min every 10", steady(15, 10, 1), [4]float64{}},
	{"always on, 2 incidents in 5 weeks", func(r *rand.Rand) consumerLife {
		return without(each(r, 15, 10, 1), twice(r, 2*hours, 8*hours))
	}, [4]float64{}},
	{"hourly", only(hourly), [4]float64{}},
	{"every 6 h", func(r *rand.Rand) (out consumerLife) {
		for t := between(r, 0, 6*hours); t < lifetime; t += 6 * hours {
			out.issues = append(out.issues, token(t+between(r, 0, 30), 15))
		}
		return out
	}, [4]float64{}},
	{"every 3 h ± 1 h", steady(15, 3*hours, hours), [4]float64{}},
	{"nightly, summer time", only(nightly), [4]float64{0, 0, 0, .004}},
	{"nightly, 3 % of runs skipped", func(r *rand.Rand) consumerLife {
		return consumerLife{issues: slices.DeleteFunc(nightly(r), func(issue) bool { return r.Float64() < .03 })}
	}, [4]float64{0, 0, 0, .087}},
	{"nightly, 5 tokens of 1 h in a row", only(func(r *rand.Rand) (out []issue) {
		for _, i := range nightly(r) {
			for range 5 {
				out = append(out, token(i.at, hours))
				i.at += between(r, 7, 15)
			}
		}
		return out
	}), [4]float64{0, 0, 0, .002}},
	{"weekdays 8-18", only(func(r *rand.Rand) []issue { return workdays(r, nil) }), [4]float64{0, 0, 0, .001}},
	{"weekdays, holidays", only(func(r *rand.Rand) []issue {
		off := map[int]bool{}
		for b := 0; b < int(lifetime/weeks); b += 4 {
			off[(b+r.IntN(4))*7+r.IntN(5)] = true
		}
		for b := 0; b < int(lifetime/weeks); b += 26 {
			w := b + r.IntN(min(26, int(lifetime/weeks)-b))
			for i := range 5 {
				off[w*7+i] = true
			}
		}
		return workdays(r, off)
	}), [4]float64{0, .06, 0, .137}},
	{"always on Mon-Fri only", func(r *rand.Rand) consumerLife {
		var off [][2]float64
		for b := 5 * days; b < lifetime; b += weeks {
			off = append(off, [2]float64{b, b + 2*days})
		}
		return consumerLife{issues: without(each(r, 15, 10, 1), off).issues}
	}, [4]float64{0, .5, 0, 0}},
	{"weekly", only(func(r *rand.Rand) []issue { return calendar(r, weeks) }), [4]float64{0, .5, 0, .001}},
	{"every two weeks", only(func(r *rand.Rand) []issue { return calendar(r, 2*weeks) }), [4]float64{0, .5, 0, 0}},
	{"monthly", only(func(r *rand.Rand) (out []issue) {
		phase, start := between(r, 0, days), between(r, 0, days)
		for _, d := range []float64{0, 28, 59, 89, 120, 150, 181, 212, 242, 273, 303} {
			if t := start + utc((d+27)*days+phase) - 27*days - phase; t < lifetime {
				out = append(out, token(t+between(r, 0, 30), 15))
			}
		}
		return out
	}), [4]float64{0, .5, 0, 0}},
	{"random 6 a day", random(15, 6/days), [4]float64{0, .03, 0, .015}},
	{"random 1 a day", random(15, 1/days), [4]float64{0, .17, 0, .051}},
	{"random 1 in 3 days", random(15, 1/(3*days)), [4]float64{0, .46, 0, .113}},
	{"random 1 an hour", random(15, 1/hours), [4]float64{0, 0, 0, .001}},
	{"random 1 in 3 days, 7 d tokens (needs lost_after)", random(7*days, 1/(3*days)), [4]float64{.42, .35, .326, .276}},
	{"office hours at random", only(office), [4]float64{0, .17, 0, .003}},
	{"AI agent, bursts of two days", only(func(r *rand.Rand) (out []issue) {
		for t := between(r, 0, 2*days); t < lifetime; t += between(r, 4*days, 10*days) {
			for end := t + between(r, days, 3*days); t < end; {
				out = append(out, token(t, hours))
				if r.Float64() < .06 {
					t += between(r, 2*hours, 12*hours)
				} else {
					t += between(r, 2, 50)
				}
			}
		}
		return out
	}), [4]float64{0, .68, 0, .013}},
	{"30 d renewed at 10 %", steady(30*days, 3*days, .5*days), [4]float64{}},
	{"30 d renewed at 25 %", steady(30*days, 7.5*days, days), [4]float64{}},
	{"30 d renewed at 50 %", steady(30*days, 15*days, 1.5*days), [4]float64{}},
	{"30 d renewed at 90 %", steady(30*days, 27*days, days), [4]float64{0, 0, 0, .074}},
	{"90 d renewed every 30 d", steady(90*days, 30*days, 2*days), [4]float64{}},
	{"90 d renewed at 83 d", steady(90*days, 83*days, 2*days), [4]float64{0, 0, 0, .043}},
	{"7 d renewed daily", steady(7*days, days, 2*hours), [4]float64{}},
	{"7 d renewed on weekdays", only(func(r *rand.Rand) (out []issue) {
		daily(func(n int, start float64) {
			if n%7 < 5 {
				out = append(out, token(start+between(r, 7*hours, 10*hours), 7*days))
			}
		})
		return out
	}), [4]float64{}},
	{"24 h renewed at 12 h", steady(days, 12*hours, hours), [4]float64{}},
	{"24 h renewed at 80 %", steady(days, 19.2*hours, hours/2), [4]float64{0, .66, 0, 0}},
	{"24 h renewed at 23 h", steady(days, 23*hours, 20), [4]float64{0, 1.49, 0, 0}},
	{"24 h at 12 h, revoked and reissued", only(func(r *rand.Rand) []issue {
		out := each(r, days, 12*hours, hours)
		for t := between(r, days, weeks); t < lifetime; t += between(r, 4*days, 14*days) {
			for i := range out {
				if out[i].at < t && out[i].end > t {
					out[i].end, out[i].revoked = t, t
				}
			}
			out = append(out, token(t+between(r, 0, 8), days))
		}
		return out
	}), [4]float64{}},
	{"3 replicas, 1 h renewed at 45 min", only(func(r *rand.Rand) (out []issue) {
		for range 3 {
			out = append(out, each(r, hours, 45, 3)...)
		}
		return out
	}), [4]float64{}},
	{"hourly, then nightly, then hourly", only(func(r *rand.Rand) (out []issue) {
		h, n := hourly(r), nightly(r)
		pick := func(from []issue, parity float64) {
			for _, i := range from {
				if math.Mod(math.Floor(i.at/(8*weeks)), 2) == parity {
					out = append(out, i)
				}
			}
		}
		pick(h, 0)
		pick(n, 1)
		return out
	}), [4]float64{0, 0, 0, .158}},
	{
		"nightly, renewed in place", func(r *rand.Rand) consumerLife { return consumerLife{issues: nightly(r), inPlace: true} },
		[4]float64{0, 0, 0, .048},
	},
	{"24 h renewed in place at 12 h", func(r *rand.Rand) consumerLife {
		return consumerLife{issues: each(r, days, 12*hours, hours), inPlace: true}
	}, [4]float64{}},
}

// alive returns the life of a consumer of the kind, in order of the issues.
func alive(live func(*rand.Rand) consumerLife, r *rand.Rand) consumerLife {
	out := live(r)
	slices.SortFunc(out.issues, func(a, b issue) int { return cmp.Compare(a.at, b.at) })
	return out
}
