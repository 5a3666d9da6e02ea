package poller

import (
	"cmp"
	"hash/maphash"
	"iter"
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
	Issued  int64 // the later of its creation and its update; 0: unknown
	Info    Info
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

// Expiring returns how many active tokens expire within d.
func (s States) Expiring(d time.Duration) int {
	n, _ := slices.BinarySearch(s.pending, s.now+d.Milliseconds()+1)
	return n
}

// A record is one reading of a token. expires is revoked, never, or its expiration.
type record struct {
	hash    uint64
	expires int64
}

const (
	revoked = math.MinInt64
	never   = math.MaxInt64
)

const (
	soonest = 10
	// candidates are more, since some will have expired or turn out to be revoked when the walk ends.
	candidates = 500
)

// candidate is a token that may be among the soonest to expire.
type candidate struct {
	record
	issued   int64
	id, kind string
	counts   bool // this reading of it
}

// counting is a Census in the making. It keeps 16 bytes a token, and strings of a few candidates only.
type counting struct {
	seed     maphash.Seed
	records  [][]record // in pieces, since what grows by being copied is there twice
	readings int
	pending  int // readings that expire, but had not when they were read
	soon     []candidate
	bound    int64     // expiration from which on there are candidates enough; 0: not yet
	latest   candidate // of those that expire, the one that does last
	newest   int64     // issue of those active when they were read
	info     *Info
	issued   int64
	reported int64
	pages    int
	dead     *dead // of a live walk
}

// piece is the most records in one.
const piece = 1 << 14

func (c *counting) add(p Page, now time.Time) {
	c.pages++
	if p.Total >= 0 {
		c.reported = p.Total
	}
	ms, before := now.UnixMilli(), len(c.soon)
	for i := range p.Tokens {
		t := &p.Tokens[i]
		r := record{maphash.String(c.seed, t.ID), t.Expires}
		switch {
		case t.Revoked:
			r.expires = revoked
		case t.Expires <= 0:
			r.expires = never
		}
		c.keep(r)
		if r.expires > ms {
			c.newest = max(c.newest, t.Issued)
		}
		if r.expires > ms && r.expires < never {
			c.pending++
			if r.expires > c.latest.expires || r.expires == c.latest.expires && t.Issued > c.latest.issued {
				c.latest.record, c.latest.issued = r, t.Issued
			}
			if c.bound == 0 || r.expires < c.bound {
				c.soon = append(c.soon, candidate{record: r, issued: t.Issued, id: short(t.ID), kind: t.Info.TokenType})
			}
		}
		c.learn(t)
	}
	pack(c.soon[before:])
	if len(c.soon) >= 2*candidates {
		c.sift(now)
		c.soon = c.soon[:min(len(c.soon), candidates)]
		if c.bound = 0; len(c.soon) == candidates {
			c.bound = c.soon[candidates-1].expires
		}
	}
}

// learn takes the info of t, if none issued later is known.
func (c *counting) learn(t *Token) {
	if c.info == nil || t.Issued > c.issued {
		info := t.Info
		c.info, c.issued = &info, t.Issued
	}
}

func (c *counting) keep(r record) {
	n := len(c.records)
	if n == 0 || len(c.records[n-1]) == cap(c.records[n-1]) {
		c.records = append(c.records, make([]record, 0, min(max(c.readings, 100), piece)))
		n++
	}
	c.records[n-1] = append(c.records[n-1], r)
	c.readings++
}

// pack copies the ids of candidates out of what may be all of a page.
func pack(soon []candidate) {
	var all strings.Builder
	for _, t := range soon {
		all.WriteString(t.id)
	}
	ids := all.String()
	for i, t := range soon {
		soon[i].id, ids = ids[:len(t.id)], ids[len(t.id):]
	}
}

// short is an id as it is kept, which has no bound where it comes from.
func short(id string) string {
	const most = 200
	if len(id) <= most {
		return id
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
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.expires, b.expires)
}

// census ends the walk: each id counts once, by one of its readings, and what this walk cannot know is carried on
// from prev, which may be nil.
func (c *counting) census(prev *Census, end time.Time, took time.Duration) *Census {
	out := &Census{NewestIssue: c.newest, Info: c.info, Reported: c.reported, Pages: c.pages, ReadAt: end, Took: took}
	if c.pending > 0 {
		out.Expirations = make([]int64, 0, c.pending)
	}
	c.sift(end)
	twice := 0
	for part := range c.parts() {
		for i, t := range c.soon {
			_, counts := slices.BinarySearchFunc(part, t.record, compare)
			c.soon[i].counts = t.counts || counts
		}
		for _, r := range part {
			if c.dead != nil && r.expires > 0 && r.expires <= c.dead.at {
				twice++
			}
			switch {
			case r.expires == revoked:
				out.Revoked++
			case r.expires == never:
				out.NeverExpiring++
			case r.expires <= end.UnixMilli():
				out.Expired++
			default:
				out.Expirations = append(out.Expirations, r.expires)
			}
		}
	}
	if c.dead != nil {
		out.Revoked = c.dead.revoked
		out.Expired += max(0, c.dead.expired-twice)
	}
	slices.Sort(out.Expirations)
	for _, t := range c.soon {
		// Not when another reading of it counts: it was revoked, say.
		if t.counts && len(out.Soonest) < soonest {
			out.Soonest = append(out.Soonest, Expiry{strings.Clone(t.id), t.kind, t.issued, t.expires})
		}
	}
	if n := len(out.Expirations); n > 0 && c.latest.issued > 0 && out.Expirations[n-1] == c.latest.expires {
		out.Lifetime = max(0, c.latest.expires-c.latest.issued)
	}
	if prev == nil {
		return out
	}
	if len(out.Expirations) == 0 {
		out.Lifetime = prev.Lifetime
	}
	if len(out.Expirations)+out.NeverExpiring == 0 {
		out.LastActive = prev.At(end).LastActive
	}
	if out.Info == nil {
		out.Info = prev.Info
	}
	return out
}

// parts yields one reading of each token, in order, some at a time: to sort them all at once, they would have to be copied.
func (c *counting) parts() iter.Seq[[]record] {
	return func(yield func([]record) bool) {
		bits := 4
		if c.readings <= piece {
			bits = 0
		}
		part := make([]record, 0, c.readings>>bits+c.readings>>(bits+4))
		for prefix := range uint64(1) << bits {
			part = part[:0]
			for _, records := range c.records {
				for _, r := range records {
					if r.hash>>(64-bits) == prefix {
						part = append(part, r)
					}
				}
			}
			slices.SortFunc(part, compare)
			if !yield(slices.CompactFunc(part, func(a, b record) bool { return a.hash == b.hash })) {
				return
			}
		}
	}
}
