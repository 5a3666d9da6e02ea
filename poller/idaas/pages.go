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
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxEmpty is how many pages in a row may have no tokens. No list that ends is known to have more than a few: what goes on
// like that does so for ever.
const maxEmpty = 500

// Pages lists the authentication tokens of t, page by page. See poller.Source.
func (c *Client) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		w := c.newWalk(t)
		seed, seen := maphash.MakeSeed(), map[uint64]bool{}
		empty := 0
		for number := 1; ; number++ {
			err := w.read(ctx, number)
			if err != nil {
				yield(poller.Page{}, err)
				return
			}
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

// walk is the state of one target's walk: one page at a time, its buffers used again for the next.
type walk struct {
	client *Client
	target poller.Target
	size   int // of the pages asked for
	hide   scrubber
	body   bytes.Buffer
	answer *call // whose answer body is
	page   poller.Page
	next   string // nextToken of the page; empty: it was the last
}

func (c *Client) newWalk(t poller.Target) *walk {
	return &walk{client: c, target: t, size: c.pageSize.get(), hide: scrubber{}.hide(t.Consumer, t.Label)}
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
	var used accessToken
	call := &call{operation: OpList, what: fmt.Sprintf("page %d", number), retries: w.client.config.Retries}
	call.build = func(ctx context.Context) (req *http.Request, err error) {
		if req, used, err = w.client.listRequest(ctx, w.target, w.next, w.size); err == nil {
			call.hide = scrubber{slices.Concat(w.hide.pairs, used.hide.pairs)}.hide(used.text, "[access token]")
		}
		return req, err
	}
	page, next := w.page, w.next
	call.decode = func(body []byte) (err error) {
		page, next, err = decodePage(body, page.Tokens[:0])
		return err
	}
	err := w.client.do(ctx, call, &w.body)
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusUnauthorized && !f.throttled &&
		w.client.tokens.drop(used) {
		err = w.client.do(ctx, call, &w.body)
	}
	if err == nil {
		w.page, w.next, w.answer = page, next, call
	}
	return err
}

// listRequest builds the request for one page and waits until it may be sent.
func (c *Client) listRequest(ctx context.Context, t poller.Target, next string, size int) (*http.Request, accessToken, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, accessToken{}, err
	}
	query := url.Values{
		"consumerId":                   {t.Consumer},
		"credentialProviderIdentifier": {t.Provider},
		"maxResults":                   {strconv.Itoa(size)},
	}
	if next != "" {
		query.Set("nextToken", next)
	}
	u := at.Endpoint + "/v2/" + url.PathEscape(at.ID) + "/authenticationTokens?" + plain(query)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return nil, accessToken{}, fail(poller.ClientError, "the request cannot be built: %w", err)
	}
	for {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return nil, token, err
		}
		if err := c.gate.wait(ctx); err != nil {
			return nil, token, err
		}
		// It may have expired while waiting.
		if token.usable(time.Now()) {
			req.Header.Set("Authorization", "Bearer "+token.text)
			return req, token, nil
		}
	}
}

// plain is query in plain percent-encoding, as the vendor's client does: a server need not read + as a space.
func plain(query url.Values) string { return strings.ReplaceAll(query.Encode(), "+", "%20") }

// wirePage is an answer of the list call, as far as it is used. A null field counts as absent.
type wirePage struct {
	Entities   []wireToken `json:"entities"`
	TotalCount *int64      `json:"totalCount"`
	NextToken  string      `json:"nextToken"`
	Error      string      `json:"error"` // of an error object, whatever else it has

	Entities2   otherSpelling `json:"_entities,case:ignore"`
	TotalCount2 otherSpelling `json:"_totalCount,case:ignore"`
	NextToken2  otherSpelling `json:"_nextToken,case:ignore"`
	Error2      otherSpelling `json:"_error,case:ignore"`
}

type wireToken struct {
	ID           string `json:"authenticationTokenId"`
	Revoked      bool   `json:"revoked"`
	Expires      int64  `json:"expirationTime"`
	Created      int64  `json:"createTime"`
	Updated      int64  `json:"updateTime"`
	ProviderID   string `json:"credentialProviderId"`
	Type         string `json:"authenticationTokenType"`
	ConsumerType string `json:"consumerType"`

	ID2           otherSpelling `json:"_authenticationTokenId,case:ignore"`
	Revoked2      otherSpelling `json:"_revoked,case:ignore"`
	Expires2      otherSpelling `json:"_expirationTime,case:ignore"`
	Created2      otherSpelling `json:"_createTime,case:ignore"`
	Updated2      otherSpelling `json:"_updateTime,case:ignore"`
	ProviderID2   otherSpelling `json:"_credentialProviderId,case:ignore"`
	Type2         otherSpelling `json:"_authenticationTokenType,case:ignore"`
	ConsumerType2 otherSpelling `json:"_consumerType,case:ignore"`
}

// otherSpelling is where a known name in another case, or with underscores, ends up: passed over as unknown, it would let
// a token never expire.
type otherSpelling struct{}

// UnmarshalJSON refuses whatever has that name.
func (*otherSpelling) UnmarshalJSON([]byte) error {
	return errors.New("a known name in another spelling")
}

// decodePage reads a page and its nextToken; the tokens are appended to tokens. An answer that is not surely a page is
// an error, never an empty page.
func decodePage(body []byte, tokens []poller.Token) (poller.Page, string, error) {
	var w wirePage
	if err := json.Unmarshal(body, &w); err != nil {
		return poller.Page{}, "", err
	}
	page := poller.Page{Tokens: tokens, Total: -1}
	if w.TotalCount != nil && *w.TotalCount >= 0 {
		page.Total = *w.TotalCount
	}
	if w.Error != "" || len(w.Entities) == 0 && parseError(body).code != "" {
		return poller.Page{}, "", errors.New("an error instead of a page")
	}
	if w.Entities == nil && page.Total != 0 {
		return poller.Page{}, "", errors.New("neither entities nor a totalCount of 0")
	}
	for i, t := range w.Entities {
		if t.ID == "" {
			return poller.Page{}, "", fmt.Errorf("entities[%d] has no authenticationTokenId", i)
		}
		page.Tokens = append(page.Tokens, poller.Token{
			ID:      t.ID,
			Revoked: t.Revoked,
			Expires: millis(t.Expires),
			Issued:  max(millis(t.Created), millis(t.Updated)),
			Info: poller.Info{
				ProviderID:   label(t.ProviderID),
				TokenType:    label(t.Type),
				ConsumerType: label(t.ConsumerType),
			},
		})
	}
	return page, w.NextToken, nil
}

// millis reads a time of the API: documented as milliseconds, but one vendor source says seconds. Zero or less is none.
func millis(v int64) int64 {
	const secondsBelow = 1e12 // the year 33658 in seconds, 2001 in milliseconds
	switch {
	case v <= 0:
		return 0
	case v < secondsBelow:
		return v * 1000
	}
	return v
}

// label makes a text of the API fit to be a label value; most are as they come, and there is one for each token.
func label(s string) string {
	if s = strings.TrimSpace(s); len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return scrubber{}.clean(s)
}
