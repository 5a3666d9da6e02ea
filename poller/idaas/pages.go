package idaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxEmpty is the number of consecutive pages without tokens after which a list counts as endless.
const maxEmpty = 500

// Pages lists the authentication tokens of t, page by page. See poller.Source.
func (c *Client) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) { c.newWalk(t).pages(ctx)(yield) }
}

// pages reads the pages in order.
func (w *walk) pages(ctx context.Context) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		seed, seen := maphash.MakeSeed(), map[uint64]bool{}
		empty := 0
		for number := 1; ; number++ {
			w.call.what = "page " + strconv.Itoa(number)
			read := w.list
			if number == 1 {
				read = w.first
			}
			if err := read(ctx); err != nil {
				yield(poller.Page{}, err)
				return
			}
			w.read += int64(len(w.page.Tokens))
			if w.totals[1] = w.page.Total; number == 1 {
				w.totals[0] = w.page.Total
			}
			if !yield(w.page, nil) || w.next == "" {
				return
			}
			if empty++; len(w.page.Tokens) > 0 {
				empty = 0
			}
			if empty == maxEmpty {
				yield(poller.Page{}, fail(poller.Loop, "page %d: no tokens in %d consecutive pages, each with a nextToken", number, maxEmpty))
				return
			}
			h := maphash.String(seed, w.next)
			if seen[h] {
				yield(poller.Page{}, fail(poller.Loop, "page %d: its nextToken was returned before", number))
				return
			}
			seen[h] = true
		}
	}
}

// walk is the state of one target's walk. Its memory is reused for each page.
type walk struct {
	client  *Client
	target  poller.Target
	filter  string // of the listed tokens, the end of a query
	size    int    // of the requested pages
	decoder *decoder
	body    bytes.Buffer
	call    call
	token   accessToken // in use
	page    poller.Page
	next    string   // nextToken of the page; empty: it is the last
	read    int64    // number of tokens in the pages before
	totals  [2]int64 // totalCount of its first and of its latest page
}

func (c *Client) newWalk(t poller.Target) *walk {
	w := &walk{client: c, target: t, size: c.pageSize.get(), decoder: &decoder{}}
	w.call = call{operation: OpList, retries: c.config.Retries, hide: w.hide(), build: w.request, decode: func(body []byte) error {
		page, next, err := w.decoder.read(body)
		if err == nil {
			err = w.ends(page, next)
		}
		if err == nil {
			w.page, w.next = page, next
		}
		return err
	}}
	return w
}

// ends returns an error if a page looks like the end of the list, but its totalCount contradicts the pages before. Not for lists of active
// tokens, which may expire meanwhile: there the sum of the counts is checked.
func (w *walk) ends(page poller.Page, next string) error {
	if len(page.Tokens) > 0 || next != "" || w.filter != "" || w.read >= w.totals[0] ||
		page.Total < 0 || page.Total == w.totals[1] || page.Total == w.read {
		return nil
	}
	return fmt.Errorf("no tokens, no nextToken and totalCount %d, but totalCount was %d before and %d tokens were read",
		page.Total, w.totals[1], w.read)
}

// begin starts another list.
func (w *walk) begin(size int, filter string) {
	w.size, w.filter, w.next, w.read, w.totals = size, filter, "", 0, [2]int64{}
}

// hide returns a scrubber of the secret parts of requests.
func (w *walk) hide() poller.Scrubber {
	return poller.Scrubber{}.Hide(w.target.Consumer, w.target.Label).And(w.token.hide)
}

// list reads a page. If the API refuses the access token, it tries once with a new one.
func (w *walk) list(ctx context.Context) error {
	err := w.client.do(ctx, &w.call, &w.body)
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusUnauthorized && !f.throttled &&
		w.client.dropToken(w.token) {
		err = w.client.do(ctx, &w.call, &w.body)
	}
	return err
}

// request waits for the limiter and builds the request for one page.
func (w *walk) request(ctx context.Context) (*http.Request, error) {
	c := w.client
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	query := "consumerId=" + url.QueryEscape(w.target.Consumer) + "&credentialProviderIdentifier=" + url.QueryEscape(w.target.Provider) +
		"&maxResults=" + strconv.Itoa(w.size) + w.filter
	if w.next != "" {
		query += "&nextToken=" + url.QueryEscape(w.next)
	}
	u := at.Endpoint + "/v2/" + url.PathEscape(at.ID) + "/authenticationTokens?" + plain(query)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return nil, fail(poller.ClientError, "request not built: %w", err)
	}
	for {
		token, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.developer.wait(ctx); err != nil {
			return nil, err
		}
		// It may have expired in the limiter.
		if token.usable(time.Now()) {
			if token.text != w.token.text {
				w.token = token
				w.call.hide = w.hide()
			}
			req.Header.Set("Authorization", "Bearer "+token.text)
			return req, nil
		}
	}
}

// plain replaces + in an encoded query, like the vendor's client: a server need not decode it as a space.
func plain(query string) string { return strings.ReplaceAll(query, "+", "%20") }

const (
	// smallPage is the page size after a refusal of the configured one. The vendor's example has it.
	smallPage = 20
	// tryLarger is the time until the configured page size is tried again.
	tryLarger = time.Hour
)

// paging has the page size for requests: the configured one, or smallPage while the API refuses that. It is safe for concurrent use.
type paging struct {
	config *Config

	mu      sync.Mutex
	current int
	retryAt time.Time // if current is not the configured size
}

// get returns the page size for a new walk. At tryLarger, one walk gets the configured one again.
func (p *paging) get() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.current != p.config.PageSize && !now.Before(p.retryAt) {
		p.retryAt = now.Add(tryLarger)
		return p.config.PageSize
	}
	return p.current
}

// set makes later walks use size. refusal is the reason if it is not the configured one.
func (p *paging) set(size int, refusal error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size != p.config.PageSize {
		p.retryAt = time.Now().Add(tryLarger)
	}
	if size == p.current {
		return
	}
	p.current = size
	p.config.Events.PageSize(size)
	if size == p.config.PageSize {
		p.config.Log.Info("page size accepted again", "size", size)
	} else {
		p.config.Log.Warn("page size refused, smaller one used", "refused", p.config.PageSize, "size", size, "for", tryLarger, "error", refusal)
	}
}

// first reads the first page of a walk. A 400 may be a refusal of the page size, or a transient error of a gateway. The page size is
// reduced only if it is refused twice and smallPage is accepted.
func (w *walk) first(ctx context.Context) error {
	sizes := &w.client.pageSize
	err := w.list(ctx)
	if w.size > smallPage && badRequest(err) {
		if err = w.list(ctx); badRequest(err) {
			refused := w.size
			w.size = smallPage
			if w.list(ctx) == nil {
				sizes.set(smallPage, err)
				return nil
			}
			w.size = refused
		}
	}
	if err == nil && w.size == sizes.config.PageSize {
		sizes.set(w.size, nil)
	}
	return err
}

func badRequest(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.status == http.StatusBadRequest && !f.throttled
}
