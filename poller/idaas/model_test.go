package idaas

import (
	"fmt"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// model has the tokens of one target at every moment, independent of the simulator.
type model struct {
	tokens map[string]*life
	drifts []time.Time // when a token was removed before others, so that pages by offset drift
}

// life has the forms of a token, each until the time of the next.
type life struct{ forms []form }

type form struct {
	from    time.Time
	exists  bool
	revoked bool
	expires time.Time // zero: never
}

func (m *model) set(id string, f form) {
	l := m.tokens[id]
	if l == nil {
		l = &life{forms: []form{{}}}
		m.tokens[id] = l
	}
	f.from = time.Now()
	l.forms = append(l.forms, f)
}

func (l *life) now() form { return l.forms[len(l.forms)-1] }

// within returns the forms of l during a span. At the moment of a change, it has both.
func (l *life) within(start, end time.Time) []form {
	var all []form
	for i, f := range l.forms {
		if f.from.After(end) || i+1 < len(l.forms) && l.forms[i+1].from.Before(start) {
			continue
		}
		all = append(all, f)
	}
	return all
}

const (
	absent  = "absent"
	revoked = "revoked"
	expired = "expired"
	active  = "active" // and will expire
	endless = "endless"
)

func (f form) state(at time.Time) string {
	switch {
	case !f.exists:
		return absent
	case f.revoked:
		return revoked
	case f.expires.IsZero():
		return endless
	case f.expires.UnixMilli() <= at.UnixMilli():
		return expired
	}
	return active
}

// bounds are the smallest and the largest counts, by state and in total, of a correct walk.
type bounds struct {
	least, most map[string]int
	total       [2]int
	changes     int // during the walk
	loose       int // error of a live walk, which adds counts of different moments
}

// bounds returns the possible counts at a time of a walk over a span. An unchanged token counts once, a changed one at most once, in one of
// its forms. If a walk may miss tokens, no count has a minimum. If there are several times, each of them may decide what has expired.
func (m *model) bounds(start, end time.Time, mayMiss bool, at ...time.Time) bounds {
	b := bounds{least: map[string]int{}, most: map[string]int{}}
	for _, l := range m.tokens {
		states := map[string]bool{}
		forms := l.within(start, end)
		for _, f := range forms {
			for _, at := range at {
				states[f.state(at)] = true
			}
		}
		b.changes += len(forms) - 1
		here := states[absent]
		delete(states, absent)
		if len(states) == 0 {
			continue
		}
		b.total[1]++
		for s := range states {
			b.most[s]++
			if len(states) == 1 && !here && !mayMiss {
				b.least[s]++
			}
		}
		if !here && !mayMiss {
			b.total[0]++
		}
	}
	return b
}

// drifted reports whether pages by offset may have missed tokens in a span.
func (m *model) drifted(start, end time.Time) bool {
	for _, at := range m.drifts {
		if !at.Before(start) && !at.After(end) {
			return true
		}
	}
	return false
}

// wrong returns the impossible counts among those shown at a time; empty if all are possible.
func (b bounds) wrong(s poller.States) string {
	if s.Active+s.Expired+s.Revoked != s.Total {
		return fmt.Sprintf("the states do not sum up to the total: %+v", s)
	}
	for state, n := range map[string]int{
		revoked: s.Revoked, expired: s.Expired, active: s.Active - s.NeverExpiring, endless: s.NeverExpiring,
	} {
		if n < b.least[state]-b.loose || n > b.most[state]+b.loose {
			return fmt.Sprintf("%d %s, want from %d to %d", n, state, b.least[state], b.most[state])
		}
	}
	if s.Total < b.total[0]-b.loose || s.Total > b.total[1]+b.loose {
		return fmt.Sprintf("%d in all, want from %d to %d", s.Total, b.total[0], b.total[1])
	}
	return ""
}

// forget removes forms that no walk can have seen.
func (m *model) forget(before time.Time) {
	for id, l := range m.tokens {
		if f := l.now(); !f.exists && f.from.Before(before) {
			delete(m.tokens, id)
			continue
		}
		for len(l.forms) > 1 && l.forms[1].from.Before(before) {
			l.forms = l.forms[1:]
		}
	}
}
