package page

import (
	"net/url"
	"slices"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// row is one target at one moment.
type row struct {
	*poller.Reading
	poller.States
	Status   poller.Status
	Shown    bool      // the last complete walk is within max staleness, so that its numbers are shown
	Stale    bool      // it is older than two intervals and 10 minutes
	ReadAt   time.Time // end of the last complete walk; zero: none
	rank     int       // in the order of urgency
	now      time.Time
	interval time.Duration // of polls
}

func newRow(r *poller.Reading, now time.Time, interval, maxStaleness time.Duration) row {
	out := row{Reading: r, Status: r.Status(now, interval), now: now, interval: interval}
	if c := r.Census; c != nil {
		out.ReadAt = c.ReadAt
		out.Stale = now.After(c.StaleAt(interval))
		if out.Shown = maxStaleness == 0 || now.Sub(c.ReadAt) <= max(maxStaleness, 3*interval); out.Shown {
			out.States = c.At(now)
		}
	}
	out.rank = slices.Index(poller.Urgency(), out.Status.State)
	return out
}

// Key identifies the target in an address. Address opens it, without filters.
func (r *row) Key() string     { return r.Target.Label + ":" + r.Target.Provider }
func (r *row) Address() string { return "?open=" + url.QueryEscape(r.Key()) + "#open" }

// Soonest are the active tokens that expire first.
func (r *row) Soonest() []poller.Expiry {
	if !r.Shown {
		return nil
	}
	all := r.Census.Soonest
	for len(all) > 0 && all[0].Expires <= r.now.UnixMilli() {
		all = all[1:]
	}
	return all
}

// target is a row as JSON. Unknown values are absent.
type target struct {
	Consumer    string       `json:"consumer"`
	ID          string       `json:"consumer_id,omitzero"` // of a listed application, if another label is shown
	Provider    string       `json:"credential_provider"`
	State       poller.State `json:"state"`
	Since       time.Time    `json:"since,omitzero"`
	Interval    float64      `json:"poll_interval_seconds,omitzero"`
	History     *history     `json:"history,omitempty"`
	*numbers    `json:",inline"`
	LastActive  time.Time `json:"last_active,omitzero"`
	Reported    *int64    `json:"reported_tokens,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	WalkSeconds *float64  `json:"walk_seconds,omitempty"`
	Failure     *failure  `json:"failure,omitempty"`
	Soonest     []token   `json:"soonest,omitzero"`
}

type numbers struct {
	Tokens            int            `json:"tokens"`
	Active            int            `json:"active"`
	Expired           int            `json:"expired"`
	Revoked           int            `json:"revoked"`
	WithoutExpiration int            `json:"without_expiration"`
	Expiring          map[string]int `json:"expiring"`
	Earliest          time.Time      `json:"earliest_expiration,omitzero"`
	Latest            time.Time      `json:"latest_expiration,omitzero"`
	LifetimeSeconds   float64        `json:"lifetime_seconds,omitzero"`
}

type history struct {
	Since           time.Time `json:"since"`
	UsualPause      *float64  `json:"usual_pause_seconds,omitempty"`
	NextExpected    time.Time `json:"next_expected,omitzero"`
	RenewalExpected time.Time `json:"renewal_expected,omitzero"`
}

type failure struct {
	Reason  poller.Reason `json:"reason"`
	Message string        `json:"message"`
	Since   time.Time     `json:"since,omitzero"`
}

type token struct {
	ID      string    `json:"id"`
	Type    string    `json:"type,omitempty"`
	Issued  time.Time `json:"issued,omitzero"`
	Expires time.Time `json:"expires"`
}

func newTarget(r *row, now time.Time) target {
	out := target{
		Consumer: r.Target.Label, ID: r.Target.Application, Provider: r.Target.Provider, State: r.Status.State,
		Since: instant(r.Status.Since), Interval: r.interval.Seconds(),
	}
	if f := r.Failure; f != nil {
		out.Failure = &failure{f.Reason, f.Text, f.Since}
	}
	c := r.Census
	if c == nil {
		return out
	}
	walk := c.Took.Seconds()
	out.LastActive, out.LastSuccess, out.WalkSeconds = instant(c.At(now).LastActive), c.ReadAt, &walk
	if c.Reported >= 0 {
		out.Reported = &c.Reported
	}
	if !r.Shown {
		return out
	}
	if st := r.Status; st.HistoryStart > 0 {
		out.History = &history{instant(st.HistoryStart), nil, instant(st.NextExpected), instant(st.RenewalExpected)}
		if seconds := float64(st.UsualPause) / 1000; seconds >= 0 {
			out.History.UsualPause = &seconds
		}
	}
	out.numbers = &numbers{
		Tokens: r.Total, Active: r.Active, Expired: r.Expired, Revoked: r.Revoked, WithoutExpiration: r.NeverExpiring,
		Expiring: make(map[string]int, len(r.Target.Windows)),
		Earliest: instant(r.Earliest), Latest: instant(r.Latest), LifetimeSeconds: float64(c.Lifetime) / 1000,
	}
	for _, w := range r.Target.Windows {
		out.Expiring[w.Label] = r.Expiring(w.Duration)
	}
	out.Soonest = []token{}
	for _, t := range r.Soonest() {
		out.Soonest = append(out.Soonest, token{t.ID, t.Type, instant(t.Issued), instant(t.Expires)})
	}
	return out
}
