package idaas

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Locate returns the instance. What is not configured is discovered.
func (c *Client) Locate(ctx context.Context) (Instance, error) { return c.instance.get(ctx) }

// Authenticate fetches an access token if necessary. It returns its expiration, zero if unknown, and its scope, empty if the token
// endpoint returned none.
func (c *Client) Authenticate(ctx context.Context) (expires time.Time, scope string, err error) {
	t, err := c.tokens.get(ctx)
	return t.expires, clean(t.scope), err
}

// Sample describes the API behaviour in the first pages of a target.
type Sample struct {
	Pages, Tokens     int
	Complete          bool          // the list has no more pages
	Reported          int64         // totalCount of the first page; -1: absent
	Size              int           // of the pages, as accepted by the API
	Took              time.Duration // of the first page
	WithoutExpiration int           // tokens whose expirationTime is absent, null or 0
	InSeconds         int           // tokens whose expirationTime is in seconds
	End               string        // nextToken at the end of a complete list: absent, null or empty
	RequestID         bool          // responses have a request id
	RateLimit         []string      // names of the rate-limit headers
}

// Sample reads at most the given number of pages of t.
func (c *Client) Sample(ctx context.Context, t poller.Target, pages int) (Sample, error) {
	w := c.newWalk(t)
	s := Sample{Reported: -1}
	for s.Pages < pages && !s.Complete {
		if err := w.get(ctx, s.Pages+1); err != nil {
			return s, err
		}
		if s.Pages == 0 {
			s.Took, s.Reported, s.Size = w.call.took, w.page.Total, w.size
		}
		s.Pages++
		w.add(s.Pages)
		s.Tokens += len(w.page.Tokens)
		s.Complete = w.next == ""
		if err := s.inspect(w.body.Bytes(), w.call.header); err != nil {
			return s, err
		}
	}
	return s, nil
}

// inspect adds facts that a decoded page no longer has.
func (s *Sample) inspect(body []byte, header http.Header) error {
	var w struct {
		Entities []struct {
			Expires int64 `json:"expirationTime"`
		} `json:"entities"`
		NextToken jsontext.Value `json:"nextToken"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return err
	}
	for _, e := range w.Entities {
		switch ms := millis(e.Expires); {
		case ms == 0:
			s.WithoutExpiration++
		case ms != e.Expires:
			s.InSeconds++
		}
	}
	if s.Complete {
		s.End = map[string]string{"": "absent", "null": "null", `""`: "empty"}[string(w.NextToken)]
	}
	s.RequestID = header.Get(requestIDHeader) != ""
	for _, name := range rateLimitHeaders {
		if header.Get(name) != "" && s.Pages == 1 {
			s.RateLimit = append(s.RateLimit, name)
		}
	}
	return nil
}
