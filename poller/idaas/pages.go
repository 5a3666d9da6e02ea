package idaas

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Pages lists the authentication tokens of t, page by page. See poller.Source.
func (c *Client) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return c.pages(ctx, t, "")
}

func (c *Client) pages(ctx context.Context, t poller.Target, filter string) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		w := c.newWalk(t)
		w.filter = filter
		seed, seen := maphash.MakeSeed(), map[uint64]bool{}
		for number := 1; ; number++ {
			err := w.read(ctx, number)
			if err != nil {
				yield(poller.Page{}, err)
				return
			}
			if !yield(w.page, nil) || w.next == "" {
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
	filter  string // of the tokens listed, as in a query
	size    int    // of the pages asked for
	decoder *decoder
	body    bytes.Buffer
	call    call
	asked   asked
	token   accessToken // in use
	header  http.Header // with that; of several requests, so never changed
	page    poller.Page
	next    string // nextToken of the page; empty: it was the last
}

// asked is what the requests of a walk have in common, as long as nothing of it changes.
type asked struct {
	at   Instance
	size int
	url  string
}

func (c *Client) newWalk(t poller.Target) *walk {
	w := &walk{client: c, target: t, size: c.pageSize.get(), decoder: newDecoder()}
	w.call = call{operation: OpList, retries: c.config.Retries, hide: w.hide(), build: w.request, decode: func(body []byte) error {
		page, next, err := w.decoder.read(body)
		if err == nil {
			w.page, w.next = page, next
		}
		return err
	}}
	return w
}

// hide hides whatever must not be told of the requests.
func (w *walk) hide() scrubber {
	hide := scrubber{}.hide(w.target.Consumer, w.target.Label)
	return scrubber{slices.Concat(hide.pairs, w.token.hide.pairs)}.hide(w.token.text, "[access token]")
}

// read reads the page that next tells.
func (w *walk) read(ctx context.Context, number int) error {
	if number == 1 {
		return w.first(ctx)
	}
	return w.list(ctx, number)
}

// list reads a page, with a new access token when the API refuses the one in use.
func (w *walk) list(ctx context.Context, number int) error {
	w.call.page = number
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
	if w.asked.at != at || w.asked.size != w.size {
		query := url.Values{
			"consumerId":                   {w.target.Consumer},
			"credentialProviderIdentifier": {w.target.Provider},
			"maxResults":                   {strconv.Itoa(w.size)},
		}
		w.asked = asked{at, w.size, at.Endpoint + "/v2/" + url.PathEscape(at.ID) + "/authenticationTokens?" + plain(query.Encode()) + w.filter}
	}
	u := w.asked.url
	if w.next != "" {
		u += "&nextToken=" + plain(url.QueryEscape(w.next))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return nil, fail(poller.ClientError, "the request cannot be built: %w", err)
	}
	for {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.gate.wait(ctx); err != nil {
			return nil, err
		}
		// It may have expired while waiting.
		if token.usable(time.Now()) {
			if token.text != w.token.text {
				w.token = token
				w.call.hide = w.hide()
				w.header = c.header()
				w.header.Set("Authorization", "Bearer "+token.text)
			}
			req.Header = w.header
			return req, nil
		}
	}
}

// plain is percent-encoding as the vendor's client does it: a server need not read + as a space.
func plain(query string) string { return strings.ReplaceAll(query, "+", "%20") }
