package poller

import (
	"context"
	"iter"
	"math"
	"slices"
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
type Counted string

// Every Counted.
const (
	AllTokens     Counted = "all"
	RevokedTokens Counted = "revoked"
	ExpiredTokens Counted = "expired" // and not revoked
)

// Count has in its Total how many tokens there were at one moment, and some of them.
type Count struct {
	Page
	From, To time.Time // when that moment was: not before, and not after
}

const (
	// counts are the requests of a live walk beside its pages.
	counts = 3
	// asks are how often the expired are counted, at most: once, and again while that is not sure.
	asks = 1 + 3
)

// Walk walks t once, in full, or live unless live is nil. Its error carries a Reason.
func Walk(ctx context.Context, s Source, live Live, t Target) (*Census, error) {
	start, c := time.Now(), newCounting()
	var err error
	if live != nil {
		err = c.live(ctx, live, t, time.Now)
	} else {
		err = c.full(s.Pages(ctx, t), time.Now)
	}
	if err != nil {
		return nil, err
	}
	return c.census(nil, time.Now(), time.Since(start)), nil
}

// read walks t as it takes the fewest requests; prev is what the last walk found, nil if there was none.
func (p *Poller) read(ctx context.Context, t Target, prev *Census, c *counting) error {
	live := p.config.Live
	if live != nil {
		size := live.PageSize()
		pages := func(tokens int) int { return max(1, (tokens+size-1)/size) }
		if prev == nil {
			// The first page tells whether there can be fewer requests.
			c.most = int64(counts+1) * int64(size)
		} else if s := prev.At(prev.ReadAt); pages(s.Total) > counts+pages(s.Active) {
			return c.live(ctx, live, t, p.wall)
		}
	}
	err := c.full(p.config.Source.Pages(ctx, t), p.wall)
	if err == nil && c.most < 0 {
		return c.live(ctx, live, t, p.wall)
	}
	return err
}

// full reads every page, unless the first says that there are more tokens than most, which is then less than none: it is but
// a count of all tokens.
func (c *counting) full(pages iter.Seq2[Page, error], now func() time.Time) error {
	for page, err := range pages {
		if err != nil {
			return err
		}
		if c.pages == 0 && page.Total > c.most {
			c.pages, c.reported, c.most = 1, page.Total, -1
			return nil
		}
		c.add(page, now())
	}
	return nil
}

// live reads the active tokens of t and counts the others.
func (c *counting) live(ctx context.Context, s Live, t Target, now func() time.Time) error {
	reported := c.reported
	c.most = math.MaxInt64
	for page, err := range s.ActivePages(ctx, t) {
		if err != nil {
			return err
		}
		c.add(page, now())
	}
	ask := func(what Counted) (Count, error) {
		c.pages++
		got, err := s.Count(ctx, t, what)
		for _, t := range got.Tokens {
			c.learn(t)
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
		from, to := ended.From.UnixMilli(), ended.To.UnixMilli()
		if !slices.ContainsFunc(c.records, func(r record) bool { return r.expires > from && r.expires <= to }) {
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
