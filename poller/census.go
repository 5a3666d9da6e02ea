package poller

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"
)

// Token is one authentication token as a page of the list shows it. Times are Unix milliseconds.
type Token struct {
	ID      string
	Revoked bool
	Expires int64 // 0: never
	Created int64 // 0: unknown
	Updated int64 // when it was renewed in place, or revoked, or only marked as expired; 0: unknown
	Info    Info
}

// issued is 0 when it is unknown.
func (t Token) issued() int64 {
	if t.Created > 0 && (t.Revoked || t.Expires > 0 && t.Updated >= t.Expires) {
		return t.Created
	}
	return max(t.Created, t.Updated)
}

// Info is what a token says of its target, in the API's own words.
type Info struct {
	ProviderID   string `json:"provider_id"`   // system id of the credential provider
	TokenType    string `json:"token_type"`    // jwt or oauth_access_token
	ConsumerType string `json:"consumer_type"` // application or custom
}

// Census holds the facts of one target after one complete walk, some of them carried on from the walks before.
// It never changes once published. Times are Unix milliseconds; At turns facts into states.
type Census struct {
	Revoked       int
	Expired       int     // already when the walk ended
	NeverExpiring int     // active
	Expirations   []int64 // of the tokens active when the walk ended, ascending

	// Lifetime of the active token that expires last, in milliseconds, carried on after it ended; 0: unknown.
	Lifetime int64
	// NewestIssue among the tokens active when the walk ended; 0: unknown.
	NewestIssue int64
	// LastActive is the end of the last active token as of the walks before, for when this one saw none; 0: never seen.
	LastActive int64
	// History is nil until a token was seen.
	History *History `json:",omitzero"`
	// Info is that of the token issued last; nil until a token was seen.
	Info *Info
	// Soonest are the active tokens that expire first, in that order: ten, or all when there are fewer.
	Soonest []Expiry `json:",omitzero"`
	// Reported is the API's own totalCount; -1 when it sent none.
	Reported int64

	Pages  int
	ReadAt time.Time // end of the walk
	Took   time.Duration
}

// Expiry is an active token with its end, in Unix milliseconds.
type Expiry struct {
	ID, Type        string
	Issued, Expires int64 // Issued is 0 when it is unknown
}

// States are the counts of one moment. Active + Expired + Revoked = Total. Times are Unix milliseconds.
type States struct {
	Total, Active, Expired, Revoked, NeverExpiring int

	Earliest   int64 // first active token to expire; 0: none does
	Latest     int64 // when the last active token is gone; 0: none is active, or one never expires
	LastActive int64 // see Census; 0: no active token was ever seen

	now     int64
	pending []int64
}

// At returns the states at now: the only place that computes them.
func (c *Census) At(now time.Time) States {
	ms := now.UnixMilli()
	gone, _ := slices.BinarySearch(c.Expirations, ms+1)
	s := States{
		Active:        len(c.Expirations) - gone + c.NeverExpiring,
		Expired:       c.Expired + gone,
		Revoked:       c.Revoked,
		NeverExpiring: c.NeverExpiring,
		LastActive:    c.LastActive,
		now:           ms,
		pending:       c.Expirations[gone:],
	}
	s.Total = s.Active + s.Expired + s.Revoked
	if n := len(s.pending); n > 0 {
		s.Earliest = s.pending[0]
		if c.NeverExpiring == 0 {
			s.Latest = s.pending[n-1]
		}
	}
	switch n := len(c.Expirations); {
	case s.Active > 0:
		s.LastActive = c.ReadAt.UnixMilli()
	case n > 0:
		s.LastActive = c.Expirations[n-1]
	}
	return s
}

// empty reports whether no token was ever seen.
func (c *Census) empty() bool {
	at := c.At(c.ReadAt)
	return c.History == nil && at.Total == 0 && at.LastActive == 0
}

// Expiring returns how many active tokens expire within d.
func (s States) Expiring(d time.Duration) int {
	n, _ := slices.BinarySearch(s.pending, s.now+d.Milliseconds()+1)
	return n
}

// A record is one reading of a token. expires is never, its expiration or, below 0 for a revoked one, -1 minus its end.
type record struct {
	hash            uint64
	expires, issued int64
}

const never = math.MaxInt64

// end returns when the token ends or was revoked.
func (r record) end() int64 {
	if r.expires < 0 {
		return -1 - r.expires
	}
	return r.expires
}

const (
	soonest = 10
	// candidates are more, since some will have expired or turn out to be revoked when the walk ends.
	candidates = 500
)

// candidate is a token that may be among the soonest to expire.
type candidate struct {
	record
	id, kind string
}

// counting is a Census in the making. It keeps 24 bytes a token, and strings of a few candidates only.
type counting struct {
	seed     maphash.Seed
	records  []record
	soon     []candidate
	bound    int64 // expiration from which on there are candidates enough; 0: not yet
	info     *Info
	issued   int64
	begun    bool  // a page was added
	reported int64 // by the first page
	pages    int   // requests, those of walks that were not proved included
	dead     *Dead // of a live walk
	inPlace  span  // from the first creation to the latest update of tokens renewed in place
	unproved *Unproved
	now      func() time.Time
	fallback func() // called before a target is read in full because a live walk was not proved; may be nil
}

func (c *counting) add(p Page, now time.Time) {
	if c.pages++; !c.begun {
		c.begun, c.reported = true, p.Total // later pages may only count what remains
	}
	if c.dead = p.Dead; p.Dead != nil {
		c.reported, c.pages = p.Dead.All, c.pages-1+p.Dead.Requests
	}
	if n := len(c.records) + len(p.Tokens); n > cap(c.records) {
		room := n + n/4
		if all := int(c.reported); n <= all && all < 16*n {
			room = all + all/64 // what grows by itself would be there twice
		}
		c.records = append(make([]record, 0, room), c.records...)
	}
	for _, t := range p.Tokens {
		issued := t.issued()
		if c.info == nil || issued > c.issued {
			info := t.Info
			c.info, c.issued = &info, issued
		}
		if p.Dead != nil {
			continue
		}
		r := record{maphash.String(c.seed, t.ID), t.Expires, issued}
		if t.Expires <= 0 {
			r.expires = never
		}
		switch {
		case t.Revoked:
			r.expires = -1 - max(t.Created, min(r.expires, t.Updated))
		case t.Created > 0 && issued >= t.Created+msMinute:
			if c.inPlace.from == 0 {
				c.inPlace.from = t.Created
			}
			c.inPlace = span{min(c.inPlace.from, t.Created), max(c.inPlace.to, issued)}
		}
		c.records = append(c.records, r)
		if r.expires > now.UnixMilli() && r.expires < never && (c.bound == 0 || r.expires < c.bound) {
			c.soon = append(c.soon, candidate{r, short(t.ID), t.Info.TokenType})
		}
	}
	if len(c.soon) >= 2*candidates {
		c.sift(now)
		c.soon = c.soon[:min(len(c.soon), candidates)]
		if c.bound = 0; len(c.soon) == candidates {
			c.bound = c.soon[candidates-1].expires
		}
	}
}

// prove returns an Unproved unless the counts of a live walk, which took that long, add up. The expired then no longer
// include listed tokens. See design: the sum may be too high by tokens that expired, and too low also by tokens issued.
func (c *counting) prove(known *Census, took time.Duration) error {
	c.unique()
	var newest, least, most, issued int64
	for _, r := range c.records {
		newest = max(newest, r.issued)
	}
	for _, r := range c.records {
		if r.expires <= c.dead.From.UnixMilli() {
			least++
		}
		if r.expires <= c.dead.To.UnixMilli() {
			most++
		}
		if known != nil && r.issued > known.NewestIssue && r.issued >= newest-took.Milliseconds() {
			issued++
		}
	}
	listed, d := int64(len(c.records)), c.dead
	excess := listed + d.Expired + d.Revoked - d.All
	if excess < least-2*issued || excess > most {
		return &Unproved{Why: fmt.Sprintf("the counts do not add up: %d listed, %d expired, %d revoked, %d in all", listed, d.Expired, d.Revoked, d.All)}
	}
	d.Expired -= min(max(excess, least), most)
	return nil
}

// unique leaves one reading of each token, in the order of compare.
func (c *counting) unique() {
	slices.SortFunc(c.records, compare)
	c.records = slices.CompactFunc(c.records, func(a, b record) bool { return a.hash == b.hash })
}

// short is an id as it is kept, which has no bound where it comes from, and may be part of a page there.
func short(id string) string {
	const most = 200
	if len(id) <= most {
		return strings.Clone(id)
	}
	return strings.ToValidUTF8(strings.Clone(id[:most]), "") + "…"
}

// sift leaves the candidates that are active at now, those first that expire first, each reading once.
func (c *counting) sift(now time.Time) {
	slices.SortFunc(c.soon, func(a, b candidate) int { return compare(a.record, b.record) })
	c.soon = slices.CompactFunc(c.soon, func(a, b candidate) bool { return a.hash == b.hash })
	c.soon = slices.DeleteFunc(c.soon, func(t candidate) bool { return t.expires <= now.UnixMilli() })
	slices.SortFunc(c.soon, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.expires, b.expires), cmp.Compare(a.id, b.id))
	})
}

// compare orders readings by token, and by which of them counts.
func compare(a, b record) int {
	if a.hash != b.hash { // nearly always
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Or(cmp.Compare(a.expires, b.expires), cmp.Compare(a.issued, b.issued))
}

// census ends the walk: each id counts once, by one of its readings, and what this walk cannot know is carried on
// from prev, which may be nil.
func (c *counting) census(prev *Census, end time.Time, took time.Duration) *Census {
	c.unique()
	out := &Census{Info: c.info, Reported: c.reported, Pages: c.pages, ReadAt: end, Took: took}
	if c.dead != nil {
		out.Revoked, out.Expired = int(c.dead.Revoked), int(c.dead.Expired)
	}
	now := end.UnixMilli()
	pending := 0
	for _, r := range c.records {
		if r.expires > now && r.expires < never {
			pending++
		}
	}
	out.Expirations = slices.Grow(out.Expirations, pending) // and no more: this is what stays in memory
	var last record
	for _, r := range c.records {
		switch {
		case r.expires < 0:
			out.Revoked++
			continue
		case r.expires == never:
			out.NeverExpiring++
		case r.expires <= now:
			out.Expired++
			continue
		default:
			out.Expirations = append(out.Expirations, r.expires)
			if r.expires > last.expires || r.expires == last.expires && r.issued > last.issued {
				last = r
			}
		}
		out.NewestIssue = max(out.NewestIssue, r.issued)
	}
	out.Expired = max(0, out.Expired) // the API's clock was ahead, and what it counted was removed
	slices.Sort(out.Expirations)
	c.sift(end)
	for _, t := range c.soon {
		// Not when another reading of it counts: it was revoked, say.
		if _, counts := slices.BinarySearchFunc(c.records, t.record, compare); counts && len(out.Soonest) < soonest {
			out.Soonest = append(out.Soonest, Expiry{t.id, t.kind, t.issued, t.expires})
		}
	}
	if last.issued > 0 {
		out.Lifetime = max(0, last.expires-last.issued)
	}
	if prev != nil {
		out.carry(prev)
	}
	out.History = c.history(prev, out)
	return out
}

// carry carries on from prev what the walk cannot know.
func (c *Census) carry(prev *Census) {
	if len(c.Expirations) == 0 {
		c.Lifetime = prev.Lifetime
	}
	if len(c.Expirations)+c.NeverExpiring == 0 {
		c.LastActive = prev.At(c.ReadAt).LastActive
	}
	if c.Info == nil {
		c.Info = prev.Info
	}
}
