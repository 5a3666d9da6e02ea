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

// Token is an authentication token of a page. Times are Unix milliseconds.
type Token struct {
	ID      string
	Revoked bool
	Expires int64 // 0: never
	Created int64 // 0: unknown
	Updated int64 // time of renewal in place, revocation, or the mark as expired; 0: unknown
	Info    Info
}

// Issued returns the time of issue or of the last renewal in place; 0: unknown.
func (t Token) Issued() int64 {
	if t.Created > 0 && (t.Revoked || t.Expires > 0 && t.Updated >= t.Expires) {
		return t.Created
	}
	return max(t.Created, t.Updated)
}

// Info has the fields of a token that describe its target, as in the API.
type Info struct {
	ProviderID   string `json:"provider_id"`   // system id of the credential provider
	TokenType    string `json:"token_type"`    // jwt or oauth_access_token
	ConsumerType string `json:"consumer_type"` // application or custom
}

// Census has the facts of a target after a complete walk; some are carried over from earlier walks. It is immutable after publication.
// Times are Unix milliseconds. At computes states.
type Census struct {
	Revoked       int
	Expired       int     // at the end of the walk
	NeverExpiring int     // active
	Expirations   []int64 // of the tokens active at the end of the walk, ascending

	Lifetime    int64    // of the active token that expires last, in milliseconds, carried over after its expiration; 0: unknown
	NewestIssue int64    // of the tokens active at the end of the walk; 0: unknown
	LastActive  int64    // if no token is active: expiration of the last one, by earlier walks; 0: none
	History     *History `json:",omitzero"` // nil: no token was ever known
	Info        *Info    // of the newest token; nil: no token was ever known
	Soonest     []Expiry `json:",omitzero"` // up to ten active tokens, the next to expire first
	Reported    int64    // totalCount; -1: absent

	Pages  int
	ReadAt time.Time // end of the walk
	Took   time.Duration
}

// Expiry is an active token with its expiration. Times are Unix milliseconds.
type Expiry struct {
	ID, Type        string
	Issued, Expires int64 // Issued 0: unknown
}

// States are counts at one time. Active + Expired + Revoked = Total. Times are Unix milliseconds.
type States struct {
	Total, Active, Expired, Revoked, NeverExpiring int

	Earliest   int64 // first expiration of an active token; 0: none
	Latest     int64 // last expiration of an active token; 0: none, or a token never expires
	LastActive int64 // last time with an active token; 0: none

	now     int64
	pending []int64
}

// At returns the states at now. No other code computes them.
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

// record is a token of a page. expires is its expiration or never; of a revoked token it is -1 minus the time of revocation, below 0.
type record struct {
	hash            uint64
	expires, issued int64
}

const never = math.MaxInt64

// end returns the time of expiration or revocation.
func (r record) end() int64 {
	if r.expires < 0 {
		return -1 - r.expires
	}
	return r.expires
}

const (
	soonest    = 10
	candidates = 500 // for soonest: some expire or are revoked during the walk
)

// candidate is a token that may be among the soonest to expire.
type candidate struct {
	record
	id, kind string
}

// counting builds a Census. It has 24 bytes per token, and the strings of at most 1,000 candidates and a page.
type counting struct {
	seed     maphash.Seed
	records  []record
	soon     []candidate
	bound    int64 // tokens that expire at this time or later are no candidates; 0: all are
	info     *Info
	issued   int64
	begun    bool  // a page was added
	reported int64 // by the first page
	pages    int   // requests, including those of unproved walks
	dead     *Dead // of a live walk
	inPlace  span  // from the first creation to the latest update of tokens renewed in place
	unproved *Unproved
	now      func() time.Time
	fallback func() // called before a full walk after an unproved live walk; may be nil
}

func (c *counting) add(p Page, now time.Time) {
	if c.pages++; !c.begun {
		c.begun, c.reported = true, p.Total // later pages may count the remaining tokens only
	}
	if c.dead = p.Dead; p.Dead != nil {
		c.reported, c.pages = p.Dead.All, c.pages-1+p.Dead.Requests
	}
	if n := len(c.records) + len(p.Tokens); n > cap(c.records) {
		room := n + n/4
		if all := int(c.reported); n <= all && all < 16*n {
			room = all + all/64 // one allocation: growth would need the memory twice
		}
		c.records = append(make([]record, 0, room), c.records...)
	}
	for _, t := range p.Tokens {
		issued := t.Issued()
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

// prove returns an Unproved if the counts of a live walk with that duration do not add up. Else it removes listed tokens from the expired
// count. The sum may be too high by tokens that expired during the walk, and too low by those issued, too.
func (c *counting) prove(prev *Census, took time.Duration) error {
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
		if prev != nil && r.issued > prev.NewestIssue && r.issued >= newest-took.Milliseconds() {
			issued++
		}
	}
	listed, d := int64(len(c.records)), c.dead
	excess := listed + d.Expired + d.Revoked - d.All
	if excess < least-2*issued || excess > most {
		return &Unproved{Why: fmt.Sprintf("the counts do not add up: %d listed, %d expired, %d revoked, %d in all",
			listed, d.Expired, d.Revoked, d.All)}
	}
	d.Expired -= min(max(excess, least), most)
	return nil
}

// unique sorts records by compare, and removes all but the first of each token.
func (c *counting) unique() {
	slices.SortFunc(c.records, compare)
	c.records = slices.CompactFunc(c.records, func(a, b record) bool { return a.hash == b.hash })
}

// short returns a copy of id, cut after 200 bytes. The copy does not keep its page in memory.
func short(id string) string {
	const most = 200
	if len(id) <= most {
		return strings.Clone(id)
	}
	return strings.ToValidUTF8(strings.Clone(id[:most]), "") + "…"
}

// sift sorts the candidates by expiration, and removes duplicates and those that are not active at now.
func (c *counting) sift(now time.Time) {
	slices.SortFunc(c.soon, func(a, b candidate) int { return compare(a.record, b.record) })
	c.soon = slices.CompactFunc(c.soon, func(a, b candidate) bool { return a.hash == b.hash })
	c.soon = slices.DeleteFunc(c.soon, func(t candidate) bool { return t.expires <= now.UnixMilli() })
	slices.SortFunc(c.soon, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.expires, b.expires), cmp.Compare(a.id, b.id))
	})
}

// compare orders records by token. The first record of a token is the one that is used.
func compare(a, b record) int {
	if a.hash != b.hash { // fast path
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Or(cmp.Compare(a.expires, b.expires), cmp.Compare(a.issued, b.issued))
}

// census returns the Census after a complete walk. Each token counts once. prev is the census before; it may be nil.
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
	out.Expirations = slices.Grow(out.Expirations, pending) // exactly: they stay in memory
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
	out.Expired = max(0, out.Expired) // below 0 if the API's clock was ahead and tokens were removed
	slices.Sort(out.Expirations)
	c.sift(end)
	for _, t := range c.soon {
		// Another record of the token may be the one that is used, for example if it was revoked.
		if _, used := slices.BinarySearchFunc(c.records, t.record, compare); used && len(out.Soonest) < soonest {
			out.Soonest = append(out.Soonest, Expiry{t.id, t.kind, t.issued, t.expires})
		}
	}
	if last.issued > 0 {
		out.Lifetime = max(0, last.expires-last.issued)
	}
	if prev != nil {
		out.Info = cmp.Or(out.Info, prev.Info)
		if len(out.Expirations) == 0 {
			out.Lifetime = prev.Lifetime
			if out.NeverExpiring == 0 {
				out.LastActive = prev.At(end).LastActive
			}
		}
	}
	out.History = c.history(prev, out)
	return out
}
