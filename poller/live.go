package poller

import (
	"context"
	"hash/maphash"
	"iter"
	"math"
	"time"
)

// Live is a source that can list the active tokens alone, and tell how many others there are. See Source.
type Live interface {
	Source
	// PageSize is how many tokens a page is asked for.
	PageSize() int
	// ActivePages lists the tokens that are neither revoked nor expired.
	ActivePages(ctx context.Context, t Target) iter.Seq2[Page, error]
	// Count counts tokens by one request.
	Count(ctx context.Context, t Target, what Counted) (Count, error)
}

// Counted is which tokens are counted.
type Counted int

// Every Counted.
const (
	AllTokens Counted = iota
	RevokedTokens
	ExpiredTokens // and not revoked
)

// Count is how many tokens there were at one moment.
type Count struct {
	Total    int64
	From, To time.Time // when that moment was: not before, and not after
	Tokens   []Token   // some of those counted; valid until the next page
}

const (
	// counts are the requests of a live walk beside its pages.
	counts = 3
	// asks are how often the expired are counted, at most: once, and again while that is not sure.
	asks = 1 + 3
)

// Walk walks t once, in full, or live unless live is nil. Its error carries a Reason.
func Walk(ctx context.Context, s Source, live Live, t Target) (*Census, error) {
	start := time.Now()
	c := newCounting()
	var err error
	if live != nil {
		err = c.live(ctx, live, t, time.Now)
	} else {
		_, err = c.full(ctx, s, t, math.MaxInt, time.Now)
	}
	if err != nil {
		return nil, err
	}
	return c.census(nil, time.Now(), time.Since(start)), nil
}

func newCounting() *counting { return &counting{seed: maphash.MakeSeed(), reported: -1} }

// read walks t as it takes the fewest requests; prev is what the last walk found, nil if there was none.
func (p *Poller) read(ctx context.Context, t Target, prev *Census, c *counting) error {
	live := p.config.Live
	if live == nil {
		_, err := c.full(ctx, p.config.Source, t, math.MaxInt, p.wall)
		return err
	}
	size := live.PageSize()
	pages := func(tokens int) int { return max(1, (tokens+size-1)/size) }
	most := math.MaxInt
	if prev == nil {
		// The first page tells whether there can be fewer.
		most = (counts + 1) * size
	} else if s := prev.At(prev.ReadAt); pages(s.Total) > counts+pages(s.Active) {
		return c.live(ctx, live, t, p.wall)
	}
	done, err := c.full(ctx, live, t, most, p.wall)
	if err != nil || done {
		return err
	}
	return c.live(ctx, live, t, p.wall)
}

// full reads every page of t. It gives up, and reports so, if the first says that there are more tokens than most; its
// totalCount then need not be asked for again.
func (c *counting) full(ctx context.Context, s Source, t Target, most int, now func() time.Time) (done bool, err error) {
	for page, err := range s.Pages(ctx, t) {
		if err != nil {
			return false, err
		}
		if c.pages == 0 && page.Total > int64(most) {
			c.pages, c.reported = 1, page.Total
			return false, nil
		}
		c.add(page, now())
	}
	return true, nil
}

// live reads the active tokens of t and counts the others.
func (c *counting) live(ctx context.Context, s Live, t Target, now func() time.Time) error {
	reported := c.reported
	for page, err := range s.ActivePages(ctx, t) {
		if err != nil {
			return err
		}
		c.add(page, now())
	}
	ask := func(what Counted) (Count, error) {
		c.pages++
		got, err := s.Count(ctx, t, what)
		for i := range got.Tokens {
			c.learn(&got.Tokens[i])
		}
		return got, err
	}
	gone, err := ask(RevokedTokens)
	if err != nil {
		return err
	}
	var ended Count
	for range asks {
		if ended, err = ask(ExpiredTokens); err != nil {
			return err
		}
		if !c.endsWithin(ended.From, ended.To) {
			break
		}
	}
	if reported < 0 {
		all, err := ask(AllTokens)
		if err != nil {
			return err
		}
		reported = all.Total
	}
	c.reported, c.dead = reported, &dead{int(gone.Total), int(ended.Total), ended.To.UnixMilli()}
	return nil
}

// dead is what a live walk counted.
type dead struct {
	revoked, expired int
	at               int64 // when they were: those walked that had expired until then are among them
}

// endsWithin reports whether a token expires after from, and at to or before.
func (c *counting) endsWithin(from, to time.Time) bool {
	for _, records := range c.records {
		for _, r := range records {
			if r.expires > from.UnixMilli() && r.expires <= to.UnixMilli() {
				return true
			}
		}
	}
	return false
}
