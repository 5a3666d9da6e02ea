package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// This is the promise, in words of its own: it knows the true state of every token at any time, and no rule.

// bounds are what is documented, with what a poll, a scrape and an evaluation may add.
type bounds struct {
	lag        time.Duration // from a cause to its alert, or its end
	lostAfter  time.Duration // from the end of the last token
	staleAfter time.Duration // from the last walk
}

func documented(polled time.Duration) bounds {
	return bounds{lag: 20*minute + polled, lostAfter: max(10*minute, 2*polled) + polled + 20*minute, staleAfter: 35*minute + 2*polled}
}

// lead is how long before the end of the last token an alert fires at the latest: at risk, or not renewed when half of the usual
// reserve is left, which is at least three tenths of the lifetime here.
func (l *life) lead(polled time.Duration) time.Duration {
	if l.Lifetime <= 4*polled {
		return 0
	}
	return min(l.Lifetime*15/100, 7*day)
}

// continuous reports whether the exporter knows long enough before a gap that the target always had a token.
func (l *life) continuous(gaps spans, n int) bool {
	known := gaps[n].From - l.periods()[0].From
	paused := time.Duration(0)
	for _, g := range gaps[:n] {
		paused += g.To - g.From
	}
	return n < 2 && known > 13*hour && paused < known/20
}

// periods are the times in which one token is active, by beginning.
func (l *life) periods() (active spans) {
	for _, g := range l.grants {
		switch {
		case g.revoked == 0:
			active = append(active, span{g.issued, g.ends})
		case g.reinstated == 0 || g.reinstated > g.ends:
			active = append(active, span{g.issued, g.revoked})
		default:
			active = append(active, span{g.issued, g.revoked}, span{g.reinstated, g.ends})
		}
	}
	slices.SortStableFunc(active, func(a, b span) int { return cmp.Compare(a.From, b.From) })
	return active
}

// gaps are the times without any token.
func (l *life) gaps(end time.Duration) (gaps spans) {
	active := l.periods()
	until := active[0].To
	for _, p := range active[1:] {
		if p.From > until {
			gaps = append(gaps, span{until, p.From})
		}
		until = max(until, p.To)
	}
	if until < end {
		gaps = append(gaps, span{until, end})
	}
	return gaps
}

// changed reports whether the end of the last token changed in a time but by a renewal.
func (l *life) changed(from, to time.Duration) bool {
	return slices.ContainsFunc(l.grants, func(g grant) bool {
		return from < g.revoked && g.revoked <= to || from < g.reinstated && g.reinstated <= to
	})
}

// heard is when which alerts fired.
type heard map[string]spans

func hear(transitions []Transition, start time.Time, end time.Duration) heard {
	h := heard{}
	for _, t := range transitions {
		key := t.Alert + " " + t.Subject
		if at := t.At.Sub(start); t.Firing {
			h[key] = append(h[key], span{at, end})
		} else {
			h[key][len(h[key])-1].To = at
		}
	}
	return h
}

// any reports whether one of the alerts fired at some moment of a time.
func (h heard) any(from, to time.Duration, subject string, alerts ...string) bool {
	return slices.ContainsFunc(alerts, func(a string) bool {
		return slices.ContainsFunc(h["IDaaS"+a+" "+subject], func(s span) bool { return s.From <= to && from <= s.To })
	})
}

// blindness reports whether an alert fired in a time that says that a target is not watched.
func (h heard) blindness(from, to time.Duration, subject string) bool {
	return h.any(from, to, subject, "DataStale", "TargetFailing", "TargetAccessDenied") ||
		h.any(from, to, "idaas-token-exporter", "AllTargetsFailing", "AccessTokenUnavailable") ||
		h.any(from, to, "exporter:9877", "ExporterDown") || h.any(from, to, "-", "ExporterAbsent")
}

var (
	ending      = []string{"TokensAtRisk", "TokensNotRenewed", "TokensAboutToEnd"}
	ended       = []string{"TokensLost", "TokensOverdue"} // the latter in the first week
	tokenAlerts = slices.Concat(ending, ended)
)

// broken lists what of the promise was not kept for a life.
func (w *world) broken(l *life, h heard) (broken []string) {
	fault := func(at time.Duration, format string, args ...any) {
		whose := fmt.Sprintf("%s  %s (lifetime %v, rhythm %v, polled every %v): ", clock(at), l.subject(), l.Lifetime, l.Rhythm, w.Polled)
		broken = append(broken, whose+fmt.Sprintf(format, args...))
	}
	b, blind, deaf := documented(w.Polled), w.blind(l), w.deaf()
	// In time.
	gaps := l.gaps(w.Lasts)
	for n, gap := range gaps {
		due := max(gap.From-l.lead(w.Polled)+b.lag, b.lag) // at the start all is new
		switch since := due - b.lag; {
		case gap.From <= 2*hour || !deaf.spare(since, gap.From+b.lostAfter) || !l.continuous(gaps, n):
		case due < gap.From && blind.spare(since, gap.From) && l.Revoked.At == 0 && !h.any(due, due, l.subject(), ending...):
			fault(gap.From, "ends and was not announced %v before", gap.From-due)
		case gap.To-gap.From > b.lostAfter && blind.spare(gap.From-hour-w.Polled, gap.From+b.lostAfter) &&
			!h.any(gap.From, gap.From+b.lostAfter, l.subject(), ended...):
			fault(gap.From, "is lost and no alert fired in %v", b.lostAfter)
		}
	}
	// Never for nothing.
	for _, a := range tokenAlerts {
		for _, s := range h["IDaaS"+a+" "+l.subject()] {
			if l.healthy {
				fault(s.From, "%s, though it is renewed in its usual rhythm", a)
			}
		}
	}
	// Never silent about blindness.
	for _, s := range blind {
		if s.To-s.From > b.staleAfter && deaf.spare(s.From-hour, s.From+b.staleAfter) && !h.blindness(s.From, s.From+b.staleAfter, l.subject()) {
			fault(s.From, "is not watched for %v and nobody was told", s.To-s.From)
		}
	}
	// Ends: of blindness, and of token alerts once there is a token again with which nothing is wrong.
	for _, s := range blind {
		at := s.To + b.lag
		if at < w.Lasts && blind.spare(s.To, at) && deaf.spare(s.To-hour, at) &&
			h.any(at, at, l.subject(), "DataStale", "TargetFailing", "TargetAccessDenied") {
			fault(at, "is watched again for %v, and an alert says that it is not", b.lag)
		}
	}
	periods := l.periods()
	for i, p := range periods {
		at := p.From + b.lag
		alone := i+1 == len(periods) || periods[i+1].From > at
		fine := p.To-at > l.Lifetime*2/5+b.lag && !l.changed(p.From, at)
		if alone && fine && at < w.Lasts && blind.spare(p.From-b.lag, at) && deaf.spare(p.From-hour, at) &&
			h.any(at, at, l.subject(), tokenAlerts...) {
			fault(at, "has a token again for %v, and an alert says that it needs one", b.lag)
		}
	}
	return broken
}
