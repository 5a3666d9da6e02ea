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
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxEmpty is how many pages in a row may have no tokens. No list that ends is known to have more than a few: what goes on
// like that does so for ever.
const maxEmpty = 500

// Pages lists the authentication tokens of t, page by page. See poller.Source.
func (c *Client) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) { c.newWalk(t).pages(ctx)(yield) }
}

// pages reads one page after the other.
func (w *walk) pages(ctx context.Context) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		seed, seen := maphash.MakeSeed(), map[uint64]bool{}
		empty := 0
		for number := 1; ; number++ {
			err := w.get(ctx, number)
			if err != nil {
				yield(poller.Page{}, err)
				return
			}
			w.add(number)
			if !yield(w.page, nil) || w.next == "" {
				return
			}
			if empty++; len(w.page.Tokens) > 0 {
				empty = 0
			}
			if empty == maxEmpty {
				yield(poller.Page{}, fail(poller.Loop, "page %d: it and the %d before it have no tokens, and there is always a nextToken", number, maxEmpty-1))
				return
			}
			h := maphash.String(seed, w.next)
			if seen[h] {
				yield(poller.Page{}, fail(poller.Loop, "page %d: its nextToken was given before", number))
				return
			}
			seen[h] = true
		}
	}
}

// walk is the state of one target's walk: one page at a time, what it needs for it used again for the next.
type walk struct {
	client  *Client
	target  poller.Target
	filter  string // of the tokens listed, as the end of a query
	size    int    // of the pages asked for
	decoder *decoder
	body    bytes.Buffer
	call    call
	token   accessToken // in use
	page    poller.Page
	next    string   // nextToken of the page; empty: it was the last
	read    int64    // tokens of the list so far
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

// add notes what a page read contains, for ends.
func (w *walk) add(number int) {
	w.read += int64(len(w.page.Tokens))
	if w.totals[1] = w.page.Total; number == 1 {
		w.totals[0] = w.page.Total
	}
}

// ends returns an error if a page looks like the end of the list, but its totalCount contradicts the pages before. Tokens
// expire while active ones are listed, so there only the sum of the counts shows what is missing.
func (w *walk) ends(page poller.Page, next string) error {
	if len(page.Tokens) > 0 || next != "" || w.filter != "" || w.read >= w.totals[0] || page.Total < 0 || page.Total == w.totals[1] || page.Total == w.read {
		return nil
	}
	return fmt.Errorf("no tokens, no nextToken and totalCount %d, but totalCount was %d before and %d tokens were read", page.Total, w.totals[1], w.read)
}

// begin has the next page be the first of another list.
func (w *walk) begin(size int, filter string) {
	w.size, w.filter, w.next, w.read, w.totals = size, filter, "", 0, [2]int64{}
}

// hide hides whatever must not be told of the requests.
func (w *walk) hide() poller.Scrubber {
	return poller.Scrubber{}.Hide(w.target.Consumer, w.target.Label).And(w.token.hide)
}

// get reads the page that next tells.
func (w *walk) get(ctx context.Context, number int) error {
	w.call.what = "page " + strconv.Itoa(number)
	if number == 1 {
		return w.first(ctx)
	}
	return w.list(ctx)
}

// list reads a page, with a new access token when the API refuses the one in use.
func (w *walk) list(ctx context.Context) error {
	err := w.client.do(ctx, &w.call, &w.body)
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusUnauthorized && !f.throttled &&
		w.client.tokens.drop(w.token) {
		err = w.client.do(ctx, &w.call, &w.body)
	}
	return err
}

// request builds the request for one page and waits until it may be sent.
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
		return nil, fail(poller.ClientError, "the request cannot be built: %w", err)
	}
	for {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.developer.wait(ctx); err != nil {
			return nil, err
		}
		// It may have expired while waiting.
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

// plain is an encoded query in plain percent-encoding, as the vendor's client does it: a server need not read + as a space.
func plain(query string) string { return strings.ReplaceAll(query, "+", "%20") }
