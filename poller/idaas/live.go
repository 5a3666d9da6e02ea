package idaas

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// PageSize returns how many tokens a page is asked for now.
func (c *Client) PageSize() int { return c.pageSize.now() }

// ActivePages lists the tokens of t that are neither revoked nor expired. See poller.Live.
func (c *Client) ActivePages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return c.pages(ctx, t, "&revoked=false&expired=false")
}

var filters = map[poller.Counted]struct{ query, what string }{
	poller.AllTokens:     {"", "the count of all tokens"},
	poller.RevokedTokens: {"&revoked=true", "the count of revoked tokens"},
	poller.ExpiredTokens: {"&revoked=false&expired=true", "the count of expired tokens"},
}

// Count asks for the totalCount of some tokens of t; none is an error. See poller.Live.
func (c *Client) Count(ctx context.Context, t poller.Target, what poller.Counted) (poller.Count, error) {
	w := c.newWalk(t)
	w.size, w.filter, w.call.what = 1, filters[what].query, filters[what].what
	if err := w.list(ctx, 0); err != nil {
		return poller.Count{}, err
	}
	if w.page.Total < 0 {
		return poller.Count{}, fail(poller.Malformed, "%s: no totalCount", w.call.what)
	}
	from, to := w.call.sent, w.call.sent.Add(w.call.took)
	if date, err := http.ParseTime(w.call.header.Get("Date")); err == nil {
		// That clock decides what has expired. It tells whole seconds, which say nothing unless they are others than ours.
		if date.After(to) || from.Sub(date) >= time.Second {
			from, to = time.UnixMilli(min(from.UnixMilli(), date.UnixMilli())), time.UnixMilli(max(to.UnixMilli(), date.UnixMilli()+1000))
		}
	}
	return poller.Count{Total: w.page.Total, From: from, To: to, Tokens: w.page.Tokens}, nil
}
