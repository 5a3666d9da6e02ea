package idaas

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	countRequests = 3                // requests of a live walk in addition to its pages
	likelyCap     = 1000             // totals are capped at a multiple of it
	maxExpired    = 10 * time.Minute // an expired token may still be listed as active for so long
)

// LivePages lists the active tokens of t and counts the others if that takes fewer requests. See poller.Live.
func (c *Client) LivePages(ctx context.Context, t poller.Target, known *poller.Census, always bool) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		w := c.newWalk(t)
		live, learned := always, 0
		if known != nil {
			s := known.At(known.ReadAt)
			live = live || w.pagesOf(s.Total) > countRequests+w.pagesOf(s.Active)
		}
		if !live {
			for page, err := range w.pages(ctx) {
				// The first page of an unknown target shows which walk takes fewer requests.
				if live = known == nil && err == nil && page.Total > int64((countRequests+1)*w.size) && page.Total%likelyCap != 0; live {
					learned = 1
					break
				}
				if known = new(poller.Census); !yield(page, err) {
					return
				}
			}
			if !live {
				return
			}
		}
		err := w.live(ctx, learned, always, yield)
		if badRequest(err) {
			err = &poller.Unproved{Why: err.Error(), Final: true} // the API refuses a filter or maxResults=1
		}
		if err != nil {
			yield(poller.Page{}, err)
		}
	}
}

// live yields the pages of the active tokens and one with the counts. It counts the revoked tokens first: a token that is revoked during
// the walk makes the sum too small, never too large.
func (w *walk) live(ctx context.Context, learned int, always bool, yield func(poller.Page, error) bool) error {
	size, pages := w.size, 0
	last := poller.Page{Total: -1, Dead: &poller.Dead{Requests: countRequests + learned}}
	count := func(filter, what string, fits func(poller.Token) bool) (int64, error) {
		w.begin(1, filter)
		w.call.what = "the count of " + what + " tokens"
		if err := w.list(ctx); err != nil {
			return 0, err
		}
		if w.page.Total < 0 {
			return 0, &poller.Unproved{Why: w.call.what + ": no totalCount"}
		}
		for _, t := range w.page.Tokens {
			if !fits(t) {
				return 0, &poller.Unproved{Why: w.call.what + ": it contains other tokens"}
			}
			last.Tokens = append(last.Tokens, t)
		}
		return w.page.Total, nil
	}
	var err error
	if last.Dead.Revoked, err = count("&revoked=true", "revoked", func(t poller.Token) bool { return t.Revoked }); err != nil {
		return err
	}
	w.begin(size, "&revoked=false&expired=false")
	for page, err := range w.pages(ctx) {
		if err != nil {
			return err
		}
		from, _ := w.call.responseTime()
		for _, t := range page.Tokens {
			if t.Revoked || t.Expires > 0 && t.Expires < from.Add(-maxExpired).UnixMilli() {
				return &poller.Unproved{Why: w.call.what + ": it lists revoked or expired tokens as active"}
			}
		}
		if pages++; !yield(page, nil) {
			return nil
		}
	}
	size = w.size // a smaller one may have been accepted
	if last.Dead.Expired, err = count("&revoked=false&expired=true", "expired", func(t poller.Token) bool { return !t.Revoked }); err != nil {
		return err
	}
	last.Dead.From, last.Dead.To = w.call.responseTime()
	if last.Dead.All, err = count("", "all", func(poller.Token) bool { return true }); err != nil {
		return err
	}
	w.size = size
	switch all := last.Dead.All; {
	case always:
	case all > 0 && all%likelyCap == 0:
		return &poller.Unproved{Why: fmt.Sprintf("the count of all tokens, %d, may be capped", all), Final: true}
	case w.pagesOf(int(all)) <= countRequests+pages:
		return &poller.Unproved{Why: fmt.Sprintf("a full walk of %d tokens takes no more requests", all), Final: true}
	}
	yield(last, nil)
	return nil
}

// pagesOf returns the number of pages of that many tokens.
func (w *walk) pagesOf(tokens int) int { return max(1, (tokens+w.size-1)/w.size) }

// responseTime returns the earliest and the latest time of the response, by both clocks: that of the API determines what has expired.
func (c *call) responseTime() (from, to time.Time) {
	from, to = c.sent, c.sent.Add(c.took)
	// Date has whole seconds, which are used only if they differ from ours.
	if date, ok := serverTime(c.header); ok && (date.After(to) || from.Sub(date) >= time.Second) {
		from, to = time.UnixMilli(min(from.UnixMilli(), date.UnixMilli())), time.UnixMilli(max(to.UnixMilli(), date.UnixMilli()+1000))
	}
	return from, to
}
