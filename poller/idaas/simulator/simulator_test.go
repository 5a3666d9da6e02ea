package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	testClient = "app_test"
	testSecret = "s3cr/t+%&"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fixture is a Server on loopback, whose clock changes only with now.
type fixture struct {
	*Server
	t   *testing.T
	url string
	now time.Time
}

func start(t *testing.T, config Config) *fixture {
	t.Helper()
	f := &fixture{t: t, now: epoch}
	if config.Now == nil {
		config.Now = func() time.Time { return f.now }
	}
	if config.Clients == nil {
		config.Clients = []Client{{ID: testClient, Secret: testSecret}}
	}
	f.Server = New(config)
	server := httptest.NewServer(f.Server)
	t.Cleanup(server.Close)
	t.Cleanup(f.Close)
	f.url = server.URL
	return f
}

type response struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body, or of the whole request when status is 0
}

func (f *fixture) do(r *http.Request) response {
	f.t.Helper()
	// A Transport repeats a GET if a reused connection breaks.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	answer, err := client.Do(r)
	if err != nil {
		return response{err: err}
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return response{status: answer.StatusCode} // the body ends with the connection
	}
	body, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, string(body), err}
}

func (f *fixture) post(form url.Values, basic ...string) response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+TokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic != nil {
		r.SetBasicAuth(basic[0], basic[1])
	}
	return f.do(r)
}

func tokenForm(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {testClient}, "scope": {ReadScope}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func (f *fixture) accessToken() string {
	f.t.Helper()
	answer := f.post(tokenForm("client_secret", testSecret))
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil || body.AccessToken == "" {
		f.t.Fatalf("no access token: %+v", answer)
	}
	return body.AccessToken
}

func listQuery(more ...string) url.Values {
	values := url.Values{"consumerId": {"c"}, "credentialProviderIdentifier": {"p"}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return values
}

func (f *fixture) list(ctx context.Context, token string, values url.Values) response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/v2/idaas_simulator/authenticationTokens?"+values.Encode(), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return f.do(r)
}

type listed struct {
	Entities []struct {
		ID      string `json:"authenticationTokenId"`
		Expires *int64 `json:"expirationTime"`
		Revoked *bool  `json:"revoked"`
	} `json:"entities"`
	Total *int    `json:"totalCount"`
	Next  *string `json:"nextToken"`
	Max   int     `json:"maxResults"`
}

// page lists one page.
func (f *fixture) page(token string, values url.Values) (page listed) {
	f.t.Helper()
	answer := f.list(f.t.Context(), token, values)
	if err := json.Unmarshal([]byte(answer.body), &page); err != nil || answer.status != http.StatusOK {
		f.t.Fatalf("%v: %+v", err, answer)
	}
	return page
}

// walk lists all tokens that match a query, page by page.
func (f *fixture) walk(token string, values url.Values, between func(page int)) (pages [][]string) {
	f.t.Helper()
	for len(pages) < 10_000 {
		page := f.page(token, values)
		ids := []string{}
		for _, entity := range page.Entities {
			ids = append(ids, entity.ID)
		}
		pages = append(pages, ids)
		if page.Next == nil || *page.Next == "" {
			return pages
		}
		values.Set("nextToken", *page.Next)
		if between != nil {
			between(len(pages))
		}
	}
	f.t.Fatal("the walk does not end")
	return nil
}

func numbered(n int) []Token {
	tokens := make([]Token, n)
	for i := range tokens {
		tokens[i] = Token{ID: "t" + strconv.Itoa(i), Expires: epoch.Add(time.Duration(i+1) * time.Hour)}
	}
	return tokens
}

func TestPaging(t *testing.T) {
	for end, last := range map[End]string{EndAbsent: "", EndNull: `"nextToken":null,`, EndEmpty: `"nextToken":"",`} {
		for _, offset := range []bool{false, true} {
			for size, want := range map[int]string{1: "1 1 1 1 1", 2: "2 2 1", 5: "5", 100: "5"} {
				f := start(t, Config{End: end, OffsetCursor: offset})
				f.Add("c", "p", numbered(5)...)
				token := f.accessToken()
				var sizes, ids []string
				values := listQuery("maxResults", strconv.Itoa(size))
				for _, page := range f.walk(token, values, nil) {
					sizes = append(sizes, strconv.Itoa(len(page)))
					ids = append(ids, page...)
				}
				if got := strings.Join(sizes, " "); got != want || strings.Join(ids, " ") != "t0 t1 t2 t3 t4" {
					t.Errorf("end %d, offset %t, size %d: pages of %s: %v", end, offset, size, got, ids)
				}
				body := f.list(t.Context(), token, values).body
				if strings.Contains(body, "nextToken") != (last != "") || !strings.Contains(body, last) {
					t.Errorf("end %d: %s", end, body)
				}
			}
		}
	}
}

func TestPagingWhileTokensChange(t *testing.T) {
	for _, offset := range []bool{false, true} {
		f := start(t, Config{OffsetCursor: offset})
		f.Add("c", "p", numbered(6)...)
		pages := f.walk(f.accessToken(), listQuery("maxResults", "2"), func(page int) {
			switch page {
			case 1:
				f.Remove("t0")
				f.Add("c", "p", Token{ID: "new"})
			case 2:
				f.Remove("t4")
			}
		})
		want := "[[t0 t1] [t2 t3] [t5 new]]"
		if offset {
			want = "[[t0 t1] [t3 t4] [new]]"
		}
		if got := fmt.Sprint(pages); got != want {
			t.Errorf("offset %t: got %s, want %s", offset, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	f := start(t, Config{})
	f.Add("c", "p",
		Token{ID: "active", Expires: epoch.Add(time.Millisecond)},
		Token{ID: "forever"},
		Token{ID: "expired", Expires: epoch},
		Token{ID: "revoked", Revoked: true},
		Token{ID: "both", Expires: epoch.Add(-time.Hour), Revoked: true})
	f.Generate("c", "p", 3, func(i int) Token { return Token{ID: fmt.Sprint("g", i), Revoked: i == 1} })
	token := f.accessToken()
	for filter, want := range map[string]string{
		"":                            "g0 g1 g2 active forever expired revoked both",
		"revoked=true":                "g1 revoked both",
		"revoked=false":               "g0 g2 active forever expired",
		"expired=true":                "expired both",
		"revoked=false&expired=true":  "expired",
		"revoked=true&expired=true":   "both",
		"revoked=false&expired=false": "g0 g2 active forever",
	} {
		for _, size := range []string{"1", "2", "100"} {
			values, _ := url.ParseQuery(filter)
			values.Set("consumerId", "c")
			values.Set("credentialProviderIdentifier", "p")
			values.Set("maxResults", size)
			first := f.page(token, values)
			var ids []string
			for _, page := range f.walk(token, values, nil) {
				ids = append(ids, page...)
			}
			if got := strings.Join(ids, " "); got != want || *first.Total != len(ids) {
				t.Errorf("%q by %s: got %s (of %d), want %s", filter, size, got, *first.Total, want)
			}
			if last := f.page(token, values); *last.Total != len(ids) {
				t.Errorf("%q by %s: total on the last page is %d", filter, size, *last.Total)
			}
		}
	}
}
