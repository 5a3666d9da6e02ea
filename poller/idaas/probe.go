package idaas

import (
	"context"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Locate returns the instance. What is not configured is discovered.
func (c *Client) Locate(ctx context.Context) (Instance, error) { return c.instance.get(ctx) }

// Authenticate fetches an access token if necessary. It returns its expiration, zero if unknown, and its scope, empty if the token
// endpoint returned none.
func (c *Client) Authenticate(ctx context.Context) (expires time.Time, scope string, err error) {
	t, err := c.token(ctx)
	return t.expires, clean(t.scope), err
}

// Sample describes the API behaviour in the first pages of a target.
type Sample struct {
	Pages, Tokens int
	Complete      bool          // the list has no more pages
	Reported      int64         // totalCount of the first page; -1: absent
	Size          int           // of the pages, as accepted by the API
	Took          time.Duration // of the first page
	Lifetime      time.Duration // of the token issued last; 0: unknown, or it never expires
}

// Sample reads at most the given number of pages of t.
func (c *Client) Sample(ctx context.Context, t poller.Target, pages int) (Sample, error) {
	w := c.newWalk(t)
	s, newest := Sample{Reported: -1}, int64(0)
	for page, err := range w.pages(ctx) {
		if err != nil {
			return s, err
		}
		if s.Pages++; s.Pages == 1 {
			s.Took, s.Reported, s.Size = w.call.took, page.Total, w.size
		}
		s.Tokens += len(page.Tokens)
		for _, token := range page.Tokens {
			if issued := token.Issued(); issued > newest {
				newest, s.Lifetime = issued, time.Duration(max(0, token.Expires-issued))*time.Millisecond
			}
		}
		if s.Complete = w.next == ""; s.Pages == pages {
			break
		}
	}
	return s, nil
}
