package timeline

import (
	"fmt"
	"slices"
	"time"
)

// This is the promise, in words of its own: it knows the true state of every token at any time, and no rule.

// grant is a token as it truly is.
type grant struct{ issued, ends time.Duration }

// life is what truly happened to one target.
type life struct {
	consumer, provider string
	lifetime, rhythm   time.Duration
	grants             []grant // by time of issue
	healthy            bool    // renewed in its rhythm, always
	blind              []span  // when nobody could see it
}

// bounds as documented, with what a poll, a scrape and an evaluation may add.
const (
	atRiskFrom = 75 * minute // lifetimes under this are told when lost
	shortLived = 5 * hour    // and under this, later
	lag        = 45 * minute // from a cause to what is told, or ends
	lostAfter  = 3 * hour    // the same for the loss of short-lived tokens
	staleAfter = 30*minute + 15*minute
)

func (l *life) subject() string { return l.consumer + "/" + l.provider }

// lead is how long before its end the last token is announced.
func (l *life) lead() time.Duration { return min(l.lifetime/5, 7*day) - lag }

// seen reports whether nothing kept the target from being watched in a time.
func (l *life) seen(from, to time.Duration) bool {
	return !slices.ContainsFunc(l.blind, func(b span) bool { return b.from < to && from < b.to })
}

// gaps are the times without any token.
func (l *life) gaps(end time.Duration) []span {
	var gaps []span
	until := l.grants[0].ends
	for _, g := range l.grants[1:] {
		if g.issued > until {
			gaps = append(gaps, span{until, g.issued})
		}
		until = max(until, g.ends)
	}
	if until < end {
		gaps = append(gaps, span{until, end})
	}
	return gaps
}

// heard is when which alerts fired.
type heard map[string][]span

func hear(transitions []Transition, start time.Time, end time.Duration) heard {
	h := heard{}
	for _, t := range transitions {
		key := t.Alert + " " + t.Subject
		if at := t.At.Sub(start); t.Firing {
			h[key] = append(h[key], span{at, end})
		} else {
			h[key][len(h[key])-1].to = at
		}
	}
	return h
}

// any reports whether one of the alerts fired at some moment of a time.
func (h heard) any(from, to time.Duration, subject string, alerts ...string) bool {
	return slices.ContainsFunc(alerts, func(a string) bool {
		return slices.ContainsFunc(h["IDaaS"+a+" "+subject], func(s span) bool { return s.from <= to && from <= s.to })
	})
}

var tokenAlerts = []string{"TokensAtRisk", "TokensAboutToEnd", "TokensLost", "TokensNotReplaced"}

// blindness reports whether somebody was told in a time that a target is not watched.
func (h heard) blindness(from, to time.Duration, subject string) bool {
	return h.any(from, to, subject, "DataStale", "TargetFailing", "TargetAccessDenied") ||
		h.any(from, to, "exporter:9877", "AllTargetsFailing", "AccessTokenUnavailable", "ExporterDown") || h.any(from, to, "-", "ExporterAbsent")
}

// broken lists what of the promise was not kept for a life until end; deaf is when Prometheus itself was gone.
func (l *life) broken(h heard, end time.Duration, deaf []span) (faults []string) {
	fault := func(at time.Duration, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s  %s (lifetime %v, rhythm %v): ", clock(at), l.subject(), l.lifetime, l.rhythm)+fmt.Sprintf(format, args...))
	}
	gone := life{blind: deaf}
	// Told in time.
	for _, gap := range l.gaps(end) {
		from := max(gap.from-l.lead()-lag, 0)
		switch short := l.lifetime < shortLived; {
		case gap.from <= 2*hour || !gone.seen(from-lag, gap.from+lostAfter):
		case l.lifetime >= atRiskFrom && l.lead() > 0 && l.seen(from-lag, gap.from) && !h.any(gap.from-l.lead(), gap.from-l.lead(), l.subject(), "TokensAtRisk"):
			fault(gap.from, "ends and was not announced %v before", l.lead())
		case short && gap.to-gap.from > lostAfter && l.seen(gap.from-hour, gap.from+lostAfter) && !h.any(gap.from, gap.from+lostAfter, l.subject(), "TokensLost"):
			fault(gap.from, "is lost and nobody was told in %v", lostAfter)
		case !short && gap.to-gap.from > lag && l.seen(gap.from-hour, gap.from+lag) && !h.any(gap.from, gap.from+lag, l.subject(), "TokensLost"):
			fault(gap.from, "is lost and nobody was told in %v", lag)
		}
	}
	// Never told for nothing.
	for _, a := range tokenAlerts {
		for _, s := range h["IDaaS"+a+" "+l.subject()] {
			if l.healthy {
				fault(s.from, "%s, though it is renewed in its usual rhythm", a)
			}
		}
	}
	// Never silent about blindness.
	for _, b := range l.blind {
		if b.to-b.from > staleAfter && gone.seen(b.from-hour, b.from+staleAfter) && !h.blindness(b.from, b.from+staleAfter, l.subject()) {
			fault(b.from, "is not watched for %v and nobody was told", b.to-b.from)
		}
	}
	// Ends: of blindness, and of token alerts after a renewal that nothing is wrong with.
	for _, b := range l.blind {
		at := b.to + lag
		if at < end && l.seen(b.to, at) && gone.seen(b.to-hour, at) && h.any(at, at, l.subject(), "DataStale", "TargetFailing", "TargetAccessDenied") {
			fault(at, "is watched again for %v, and an alert says that it is not", lag)
		}
	}
	for i, g := range l.grants {
		at := g.issued + lag
		fresh := i+1 == len(l.grants) || l.grants[i+1].issued > at
		if fresh && at < end && g.ends-at > l.lifetime/5+lag && l.seen(g.issued-lag, at) && gone.seen(g.issued-hour, at) && h.any(at, at, l.subject(), tokenAlerts...) {
			fault(at, "was renewed %v ago, and an alert says that it was not", lag)
		}
	}
	return faults
}
