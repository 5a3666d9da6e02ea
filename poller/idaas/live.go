package idaas

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	counts = 3     // the requests of a live walk beside its pages
	asks   = 1 + 3 // how often the expired are counted, at most: once, and again while that is not sure
)

// LivePages lists the active tokens of t and counts the others, where that takes fewer requests. See poller.Live.
func (c *Client) LivePages(ctx context.Context, t poller.Target, known *poller.Census, ends func(from, to time.Time) bool) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		w := c.newWalk(t)
		size := w.size
		pages := func(tokens int) int { return max(1, (tokens+size-1)/size) }
		more := known != nil && pages(known.At(known.ReadAt).Total) > counts+pages(known.At(known.ReadAt).Active)
		last := poller.Page{Total: -1, Dead: &poller.Dead{}}
		if !more {
			for page, err := range w.pages(ctx) {
				// Of an unknown target the first page tells; its total need not be asked for again.
				if more = known == nil && err == nil && page.Total > int64((counts+1)*size); more {
					last.Total, last.Dead.Requests = page.Total, 1
					break
				}
				if known = new(poller.Census); !yield(page, err) {
					return
				}
			}
			if !more {
				return
			}
		}
		w.filter, w.next = "&revoked=false&expired=false", ""
		for page, err := range w.pages(ctx) {
			if !yield(page, err) || err != nil {
				return
			}
		}
		w.size, w.next = 1, ""
		count := func(filter, what string) (int64, error) {
			w.filter, w.call.what = filter, "the count of "+what+" tokens"
			err := w.list(ctx)
			if err == nil && w.page.Total < 0 {
				err = fail(poller.Malformed, "%s: no totalCount", w.call.what)
			}
			w.next = ""
			last.Tokens = append(last.Tokens, w.page.Tokens...)
			last.Dead.Requests++
			return w.page.Total, err
		}
		var err error
		last.Dead.Revoked, err = count("&revoked=true", "revoked")
		for n := 0; n < asks && err == nil; n++ {
			last.Dead.Expired, err = count("&revoked=false&expired=true", "expired")
			from, to := w.call.answered()
			if last.Dead.At = to; !ends(from, to) {
				break
			}
		}
		if last.Total < 0 && err == nil {
			last.Total, err = count("", "all")
		}
		yield(last, err)
	}
}

// answered returns between which times the API answered, by either clock: its own decides what has expired.
func (c *call) answered() (from, to time.Time) {
	from, to = c.sent, c.sent.Add(c.took)
	// It tells whole seconds, which say nothing unless they are others than ours.
	if date, err := http.ParseTime(c.header.Get("Date")); err == nil && (date.After(to) || from.Sub(date) >= time.Second) {
		from, to = time.UnixMilli(min(from.UnixMilli(), date.UnixMilli())), time.UnixMilli(max(to.UnixMilli(), date.UnixMilli()+1000))
	}
	return from, to
}
