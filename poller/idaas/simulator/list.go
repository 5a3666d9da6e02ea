package simulator

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const defaultPageSize = 20

type query struct {
	cursor
	consumer, provider string
	revoked, expired   *bool
	size               int
	binding            string
}

// cursor is the content of a nextToken: the next page and its start.
type cursor struct {
	page      int
	position  int64
	generated int64 // matching generated tokens, counted on the first page only; -1 before
}

type item struct {
	position int64
	token    *Token
}

type page struct {
	query
	items []item
	more  bool
	next  int64 // position of the next page
	total int64
}

func (s *Server) list(r *http.Request) answer {
	ctx := r.Context()
	if left, over := s.overQuota(); over {
		return s.config.Quota.refuse(left)
	}
	if instance, _ := instanceOf(r.URL.Path); instance != s.config.InstanceID {
		return failure(http.StatusNotFound, "instance_not_found", "the instance does not exist")
	}
	if r.Method != http.MethodGet {
		return failure(http.StatusMethodNotAllowed, "method_not_allowed", "use GET")
	}
	client, denied := s.authorize(bearer(r))
	if denied != nil {
		return *denied
	}
	q, refused := s.parse(r.URL.Query())
	if refused != nil {
		return *refused
	}
	if !s.knows(q.provider) {
		return failure(http.StatusNotFound, "credential_provider_not_found", "the credential provider does not exist")
	}
	if !client.reads(q.provider) {
		return failure(http.StatusForbidden, "forbidden", "the client has no permission for the data of this credential provider")
	}
	p := s.page(ctx, q)
	return answer{
		status: http.StatusOK,
		key:    "authenticationTokenId",
		page:   &p,
		encode: func(e *encoder) { s.encode(e, &p) },
	}
}

func (s *Server) parse(values url.Values) (query, *answer) {
	q := query{
		consumer: values.Get("consumerId"),
		provider: values.Get("credentialProviderIdentifier"),
		size:     min(defaultPageSize, s.config.MaxPageSize),
		binding:  binding(values),
	}
	refuse := func(code, message string) (query, *answer) {
		a := failure(http.StatusBadRequest, code, message)
		return query{}, &a
	}
	if q.consumer == "" {
		return refuse("invalid_parameter", "consumerId is required")
	}
	if q.provider == "" {
		return refuse("invalid_parameter", "credentialProviderIdentifier is required")
	}
	for name, filter := range map[string]**bool{"revoked": &q.revoked, "expired": &q.expired} {
		switch text := strings.ToLower(values.Get(name)); { // the vendor's Python client sends True and False
		case slices.Contains(s.config.IgnoredFilters, name):
		case text == "true" || text == "false":
			value := text == "true"
			*filter = &value
		case values.Has(name):
			return refuse("invalid_parameter", name+" is neither true nor false")
		}
	}
	if values.Has("maxResults") {
		n, err := strconv.Atoi(values.Get("maxResults"))
		if s.config.ClampPageSize {
			n = min(n, s.config.MaxPageSize)
		}
		if err != nil || n < 1 || n > s.config.MaxPageSize {
			return refuse("invalid_parameter", fmt.Sprintf("maxResults is not between 1 and %d", s.config.MaxPageSize))
		}
		q.size = n
	}
	var ok bool
	if q.cursor, ok = s.unseal(values); !ok {
		return refuse("invalid_next_token", "nextToken is not one of this query")
	}
	return q, nil
}

func (s *Server) knows(provider string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.providers[provider]
	return known
}

func (s *Server) matches(q *query, t *Token, now time.Time) bool {
	return (q.revoked == nil || *q.revoked == t.Revoked) && (q.expired == nil || *q.expired == s.expired(t, now))
}

// page returns one page. It stops early, with an incomplete page, when the context ends.
func (s *Server) page(ctx context.Context, q query) page {
	now := s.config.Now()
	v := s.view(q.consumer, q.provider, now)
	p := page{query: q, items: make([]item, 0, q.size)}
	start, offset, seen := q.position, int64(0), 0
	if s.config.OffsetCursor {
		start = 0
	}
	for position, t := range v.from(start) {
		if seen++; seen%4096 == 0 && ctx.Err() != nil {
			return p
		}
		if !s.matches(&q, t, now) {
			continue
		}
		if s.config.OffsetCursor {
			position = offset
			if offset++; position < q.position {
				continue
			}
		}
		if len(p.items) == q.size {
			p.more, p.next = true, position
			break
		}
		p.items = append(p.items, item{position, t})
	}
	p.total = s.total(ctx, v, &p.query, now)
	return p
}

func (s *Server) total(ctx context.Context, v view, q *query, now time.Time) int64 {
	if q.revoked == nil && q.expired == nil {
		return v.generatedCount() + int64(len(v.stored))
	}
	count := func(from int64, counted func(position int64) bool) int64 {
		n, seen := int64(0), 0
		for position, t := range v.from(from) {
			if seen++; !counted(position) || seen%4096 == 0 && ctx.Err() != nil {
				break
			}
			if s.matches(q, t, now) {
				n++
			}
		}
		return n
	}
	if q.generated < 0 {
		q.generated = count(0, func(position int64) bool { return position < firstStored })
	}
	return q.generated + count(firstStored, func(int64) bool { return true })
}

func (s *Server) encode(e *encoder, p *page) {
	e.open()
	entities := encoder{alteration: e.alteration, buf: make([]byte, 0, 400*(1+len(p.items)))}
	entities.buf = append(entities.buf, '[')
	for _, item := range p.items {
		entities.token(s.config.InstanceID, p.consumer, item.token, s.config.Seconds)
	}
	e.scratch = append(entities.buf, ']')
	e.member("entities")
	if here := int64(len(p.items)); s.config.Total != nil {
		if total := s.config.Total(p.total, here, max(0, p.total-int64(p.page)*int64(p.size))); total != "" {
			e.raw("totalCount", total)
		}
	} else if !s.config.OmitTotalCount {
		e.int("totalCount", p.total)
	}
	switch {
	case p.more:
		e.text("nextToken", s.seal(p.binding, cursor{p.page + 1, p.next, p.generated}))
	case s.config.End == EndNull:
		e.raw("nextToken", "null")
	case s.config.End == EndEmpty:
		e.text("nextToken", "")
	}
	e.int("maxResults", int64(p.size))
	e.end()
}

// binding identifies the list of a nextToken.
func binding(values url.Values) string {
	bound := url.Values{}
	for _, name := range []string{"consumerId", "credentialProviderIdentifier", "revoked", "expired", "maxResults"} {
		bound[name] = values[name]
	}
	return bound.Encode()
}

func (s *Server) seal(binding string, c cursor) string {
	payload := fmt.Sprintf("%d %d %d", c.page, c.position, c.generated)
	return base64.RawURLEncoding.EncodeToString(append(s.mac(binding, payload), payload...))
}

func (s *Server) unseal(values url.Values) (cursor, bool) {
	c := cursor{page: 1, generated: -1}
	token := values.Get("nextToken")
	if token == "" {
		return c, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < macSize {
		return cursor{}, false
	}
	payload := string(raw[macSize:])
	if !hmac.Equal(raw[:macSize], s.mac(binding(values), payload)) {
		return cursor{}, false
	}
	_, err = fmt.Sscanf(payload, "%d %d %d", &c.page, &c.position, &c.generated)
	return c, err == nil
}

const macSize = 12

func (s *Server) mac(binding, payload string) []byte {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "%q %s", binding, payload)
	return h.Sum(nil)[:macSize]
}
