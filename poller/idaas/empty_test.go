package idaas

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// TestEmptyPagesWithoutEndAreALoop: also if each page has a new nextToken.
func TestEmptyPagesWithoutEndAreALoop(t *testing.T) {
	token := `{"authenticationTokenId":"a","expirationTime":1}`
	for _, tt := range []struct {
		name     string
		token    func(page int) bool // whether the page has one
		end      int                 // the page without nextToken; 0: none
		reason   poller.Reason
		requests int
	}{
		{"from the first page on", func(int) bool { return false }, 0, poller.Loop, maxEmpty},
		{"after a page with a token", func(page int) bool { return page == 1 }, 0, poller.Loop, maxEmpty + 1},
		{"just not too many, then the end", func(int) bool { return false }, maxEmpty, "", maxEmpty},
		{"just not too many, again and again", func(page int) bool { return page%maxEmpty == 0 }, 2 * maxEmpty, "", 2 * maxEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				page := 0
				lists := roundTrip(func(*http.Request) (*http.Response, error) {
					page++
					entities, next := "", fmt.Sprintf(`,"nextToken":"%d"`, page)
					if tt.token(page) {
						entities = token
					}
					if page == tt.end {
						next = ""
					}
					body := io.NopCloser(strings.NewReader(`{"entities":[` + entities + `]` + next + `}`))
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body}, nil
				})
				client := a.client(readyText("ready"), func(c *Config) { c.Transport = lists })
				r := a.poll(t, client, target("consumer", "provider"))[0]
				var reason poller.Reason
				if r.Failure != nil {
					reason = r.Failure.Reason
				}
				if reason != tt.reason || page != tt.requests {
					t.Errorf("%+v %+v by %d requests, want %q by %d", r.Census, r.Failure, page, tt.reason, tt.requests)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
