package poller

import (
	"slices"
	"testing"
	"time"
)

// A part of the list may have been read before a token was issued, so the start of the walk is decisive.
func TestLongWalk(t *testing.T) {
	always := eachToken(60*24*6, 0, 10*aMinute, 15*aMinute)
	end := 60*aDay + 5*aMinute
	r := walked(always, end+30*aMinute)
	for took, want := range map[time.Duration]State{20 * aMinute: Lost, 21 * aMinute: Paused} {
		if r.Census.Took = took; r.Status(epoch.Add(end+30*aMinute), 5*aMinute).State != want {
			t.Errorf("a walk of %v: not %s", took, want)
		}
	}
}

// walked returns a reading of the tokens that were issued by then, walked in full at each of the times after epoch.
func walked(tokens []Token, times ...time.Duration) *Reading {
	r := &Reading{Target: Target{Thresholds: shipped}}
	for _, t := range times {
		seen := slices.DeleteFunc(slices.Clone(tokens), func(x Token) bool { return x.Created > at(t) })
		r.Census = count(epoch.Add(t), r.Census, seen...)
		r.Census.Took = 0
	}
	return r
}

func TestStatus(t *testing.T) {
	always := eachToken(60*24*6, 0, 10*aMinute, 15*aMinute) // 60 days
	end := 60*aDay + 5*aMinute
	nightly := eachToken(30, 2*anHour, aDay, 15*aMinute)
	slept := 29*aDay + 2*anHour + 15*aMinute
	daily := eachToken(60, 0, aDay, 7*aDay) // each extends the last by a day when 6 are left
	held := 66 * aDay
	monthly := []Token{tok(0, 30*aDay), tok(27*aDay, 57*aDay)}
	with := func(tokens []Token, more ...Token) []Token { return append(slices.Clone(tokens), more...) }
	alone := func(r *Reading, after time.Duration) *Reading {
		r.Target.Thresholds.LostAfter, r.Target.Thresholds.LostAlone = after, true
		return r
	}
	short := func(r *Reading, lifetime time.Duration) *Reading {
		r.Census.Lifetime = lifetime.Milliseconds()
		return r
	}
	const none = -1
	for _, tt := range []struct {
		name    string
		reading *Reading
		now     time.Duration
		every   time.Duration
		want    State
		since   time.Duration // none: unknown
	}{
		{"never read", &Reading{}, 0, 0, Unknown, none},
		{"nothing was ever there", walked(nil, 0), anHour, 0, Empty, none},
		{"always on", walked(always, end-aMinute), end - aMinute, 0, OK, 25*aDay + 4*aMinute},
		{"it ended, and may have been replaced since", walked(always, end-aMinute), end + 8*aMinute, 0, Paused, end},
		{"not read since, which is not lost later", walked(always, end-aMinute), end + aDay, 0, Paused, end},
		{"read since, but not after that time", walked(always, end+9*aMinute), end + 12*aMinute, 0, Paused, end},
		{"lost", walked(always, end+10*aMinute), end + 10*aMinute, 0, Lost, end},
		{"lost after two intervals", walked(always, end+2*anHour-aMinute), end + 2*anHour, anHour, Paused, end},
		{"lost at two intervals", walked(always, end+2*anHour), end + 2*anHour, anHour, Lost, end},
		{"dead before the first walk", walked(always, end+20*aDay), end + 20*aDay, 0, Lost, end},
		{"dead for 35 days", walked(always, end+35*aDay), end + 35*aDay, 0, Lost, end},
		{"dead for longer", walked(always, end+36*aDay), end + 36*aDay, 0, Retired, end + 35*aDay},
		{"lost in the first week", walked(always[:24*6*3], 3*aDay+15*aMinute), 3*aDay + 15*aMinute, 0, Overdue, 3*aDay + 15*aMinute},
		{"a token for an hour is no rhythm", walked([]Token{tok(0, anHour)}, 3*aDay), 3 * aDay, 0, Paused, anHour},
		{"but is expected within three days", walked([]Token{tok(0, anHour)}, 3*aDay+2*anHour), 3*aDay + 2*anHour, 0, Overdue, 3*aDay + anHour},
		{"nightly", walked(nightly, slept+20*anHour), slept + 20*anHour, 0, Paused, slept},
		{"nightly, missed", walked(nightly, slept+26*anHour), slept + 26*anHour, 0, Overdue, slept + 25*anHour + 45*aMinute},
		{"nightly, missed unseen", walked(nightly, slept+25*anHour), slept + 30*anHour, 0, Paused, slept},
		{"that time alone", alone(walked(nightly, slept+5*aMinute), 5*aMinute), slept + 5*aMinute, 0, Lost, slept},
		{"and not before", alone(walked(nightly, slept+50*anHour), 60*anHour), slept + 50*anHour, 0, Paused, slept},
		{"in the first week too", alone(walked(nightly[:2], 3*aDay), aDay), 3 * aDay, 0, Lost, aDay + 2*anHour + 15*aMinute},
		{"renewed daily", walked(daily, held-6*aDay), held - 6*aDay, 0, OK, 25 * aDay},
		{"not renewed", walked(daily, held-3*aDay+aMinute), held - 3*aDay + aMinute, 0, NotRenewed, held - 3*aDay},
		{"not looked since", walked(daily, held-3*aDay-aMinute), held - 3*aDay + aMinute, 0, OK, 28*aDay - aMinute},
		{"about to end", walked(daily, held-8*anHour), held - 8*anHour, 0, AboutToEnd, held - 8*anHour - 24*aMinute},
		{"at risk without a reserve", walked(monthly, 52*aDay), 52 * aDay, 0, AtRisk, 51 * aDay},
		{"before", walked(monthly, 50*aDay), 51*aDay - aMinute, 24 * anHour, OK, 27 * aDay},
		{"one without expiration", walked(with(monthly, Token{ID: "x", Created: at(aDay)}), 56*aDay), 56 * aDay, 0, OK, 21 * aDay},
		{"about to end without a reserve", walked(monthly, 56*aDay), 56 * aDay, 0, AboutToEnd, 56 * aDay},
		{"not in the first week", walked([]Token{tok(0, 5*aDay)}, 5*aDay-aMinute), 5*aDay - aMinute, 0, AtRisk, 4 * aDay},
		{"stale before it was at risk", walked(monthly, 51*aDay-20*aMinute-time.Second), 57*aDay - aMinute, 0, OK, 27 * aDay},
		{"stale after it was at risk", walked(monthly, 51*aDay-20*aMinute), 57*aDay - aMinute, 0, AtRisk, 51 * aDay},
		{"of four intervals", short(walked(monthly, 56*aDay), 20*aMinute), 56 * aDay, 0, OK, 21 * aDay},
		{"of five", short(walked(monthly, 57*aDay-2*aMinute), 25*aMinute), 57*aDay - aMinute, 0, AboutToEnd, 57*aDay - 75*time.Second},
	} {
		every := tt.every
		if every == 0 {
			every = 5 * aMinute
		}
		got := tt.reading.Status(epoch.Add(tt.now), every)
		since := time.Duration(none)
		if got.Since != 0 {
			since = time.UnixMilli(got.Since).Sub(epoch)
		}
		if got.State != tt.want || since != tt.since {
			t.Errorf("%s: %s since %v, want %s since %v; %+v", tt.name, got.State, since, tt.want, tt.since, got)
		}
	}
}
