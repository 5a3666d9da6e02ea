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
	w := c.newWalk(t)
	w.filter = "&revoked=false&expired=false"
	return w.pages(ctx)
}

var filters = map[poller.Counted]string{
	poller.AllTokens:     "",
	poller.RevokedTokens: "&revoked=true",
	poller.ExpiredTokens: "&revoked=false&expired=true",
}

// Count asks for the totalCount of some tokens of t; none is an error. See poller.Live.
func (c *Client) Count(ctx context.Context, t poller.Target, what poller.Counted) (poller.Count, error) {
	w := c.newWalk(t)
	w.size, w.filter, w.call.what = 1, filters[what], "the count of "+string(what)+" tokens"
	if err := w.list(ctx); err != nil {
		return poller.Count{}, err
	}
	if w.page.Total < 0 {
		return poller.Count{}, fail(poller.Malformed, "%s: no totalCount", w.call.what)
	}
	from, to := w.call.sent, w.call.sent.Add(w.call.took)
	if date, err := http.ParseTime(w.call.header.Get("Date")); err == nil && (date.After(to) || from.Sub(date) >= time.Second) {
		// That clock decides what has expired. It tells whole seconds, which say nothing unless they are others than ours.
		from, to = time.UnixMilli(min(from.UnixMilli(), date.UnixMilli())), time.UnixMilli(max(to.UnixMilli(), date.UnixMilli()+1000))
	}
	return poller.Count{Page: w.page, From: from, To: to}, nil
}
