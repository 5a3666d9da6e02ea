package idaas

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// mixed returns tokens of every state: the i-th is revoked, never expiring, expired or active.
func mixed(name string, n int) []simulator.Token {
	tokens := make([]simulator.Token, n)
	now := time.Now()
	for i := range tokens {
		t := simulator.Token{ID: fmt.Sprintf("%s_%05d", name, i), Created: now.Add(-time.Hour), Updated: now.Add(-time.Minute)}
		switch i % 5 {
		case 0:
			t.Revoked, t.Expires = true, now.Add(time.Hour)
		case 1:
			t.ExpiresAs = simulator.Form(i / 5 % 4)
		case 2:
			t.Expires = now.Add(-time.Duration(i) * time.Minute)
		default:
			t.Expires = now.Add(time.Duration(i+1) * time.Minute)
			t.RevokedAs = simulator.Form(i / 5 % 3)
		}
		tokens[i] = t
	}
	return tokens
}

func TestCountsEqualAnIndependentCount(t *testing.T) {
	type faults = []simulator.Fault
	for _, tt := range []struct {
		name   string
		config simulator.Config
		tokens int
		faults faults
		pages  int // of 3 tokens, as expected
	}{
		{"ends without nextToken", simulator.Config{End: simulator.EndAbsent}, 7, nil, 3},
		{"ends with nextToken null", simulator.Config{End: simulator.EndNull}, 7, nil, 3},
		{"ends with nextToken empty", simulator.Config{End: simulator.EndEmpty}, 7, nil, 3},
		{"the last page is full", simulator.Config{}, 6, nil, 2},
		{"a single token", simulator.Config{}, 1, nil, 1},
		{"no tokens", simulator.Config{}, 0, nil, 1},
		{"no tokens and no total", simulator.Config{OmitTotalCount: true}, 0, nil, 1},
		{"no total", simulator.Config{OmitTotalCount: true}, 7, nil, 3},
		{"smaller pages than asked for", simulator.Config{MaxPageSize: 2, ClampPageSize: true}, 7, nil, 4},
		{"pages by offset", simulator.Config{OffsetCursor: true}, 8, nil, 3},
		{"expirations in seconds", simulator.Config{Seconds: true}, 25, nil, 9},
		{"short pages", simulator.Config{}, 9, faults{{Kind: simulator.ShortPage}}, 9},
		{"an empty first page", simulator.Config{}, 7, faults{{Kind: simulator.EmptyPage, Page: 1}}, 4},
		{
			"empty pages in the middle",
			simulator.Config{},
			9,
			faults{{Kind: simulator.EmptyPage, Page: 2}, {Kind: simulator.EmptyPage, Page: 3}},
			5,
		},
		{"an empty page before the last", simulator.Config{}, 7, faults{{Kind: simulator.EmptyPage, Page: 3}}, 4},
		{"every last token of a page again on the next", simulator.Config{}, 9, faults{{Kind: simulator.Duplicates}}, 4},
		{"unknown fields", simulator.Config{}, 9, faults{{Kind: simulator.UnknownFields}}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, tt.config)
				a.Add("consumer", "provider", mixed("t", tt.tokens)...)
				a.Add("other", "provider", mixed("other", 4)...)
				for _, f := range tt.faults {
					f.Operation = simulator.List
					a.Inject(f)
				}
				r := a.poll(t, a.client(pageSize(3)), target("consumer", "provider"))[0]
				a.checkCounts(t, r)
				if got := a.Requests(simulator.List); got != tt.pages || r.Census.Pages != tt.pages {
					t.Errorf("%d requests for %d pages, want %d", got, r.Census.Pages, tt.pages)
				}
				want := int64(tt.tokens)
				if tt.config.OmitTotalCount {
					want = -1
				}
				if r.Census.Reported != want {
					t.Errorf("reported %d, want %d", r.Census.Reported, want)
				}
			})
		})
	}
}

func TestFormsOfExpiration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		now := time.Now()
		for i, f := range []struct {
			token string
			want  poller.States
		}{
			{`"expirationTime":null`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
			{`"x":1`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
			{`"expirationTime":0`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
			{`"expirationTime":-1`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
			{`"expirationTime":-9223372036854775808`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
			{
				fmt.Sprintf(`"expirationTime":%d`, now.Unix()+60),
				poller.States{Total: 1, Active: 1, Earliest: now.UnixMilli() + 60e3, Latest: now.UnixMilli() + 60e3},
			},
			{
				fmt.Sprintf(`"expirationTime":%d`, now.UnixMilli()+60e3),
				poller.States{Total: 1, Active: 1, Earliest: now.UnixMilli() + 60e3, Latest: now.UnixMilli() + 60e3},
			},
			{fmt.Sprintf(`"expirationTime":%d`, now.Unix()-60), poller.States{Total: 1, Expired: 1}},
			{`"expirationTime":99999999999`, poller.States{Total: 1, Active: 1, Earliest: 99999999999e3, Latest: 99999999999e3}},
			{`"expirationTime":253402300799`, poller.States{Total: 1, Active: 1, Earliest: 253402300799e3, Latest: 253402300799e3}},
			{`"expirationTime":253402300799000`, poller.States{Total: 1, Active: 1, Earliest: 253402300799e3, Latest: 253402300799e3}},
			{`"expirationTime":999999999999`, poller.States{Total: 1, Active: 1, Earliest: 999999999999e3, Latest: 999999999999e3}},
			{`"expirationTime":1000000000000`, poller.States{Total: 1, Expired: 1}},
			{`"expirationTime":1`, poller.States{Total: 1, Expired: 1}},
			{`"expirationTime":9223372036854775807`, poller.States{Total: 1, Active: 1, NeverExpiring: 1}},
		} {
			consumer := fmt.Sprint("c", i)
			a.Add(consumer, "p", simulator.Token{Extra: f.token})
			r := a.poll(t, a.client(), target(consumer, "p"))[0]
			if r.Census == nil {
				t.Errorf("%s: %+v", f.token, r.Failure)
				continue
			}
			got := r.Census.At(now)
			if got.Total != f.want.Total || got.Active != f.want.Active || got.Expired != f.want.Expired ||
				got.NeverExpiring != f.want.NeverExpiring || got.Earliest != f.want.Earliest || got.Latest != f.want.Latest {
				t.Errorf("%s: %+v, want %+v", f.token, got, f.want)
			}
		}
	})
}

func TestConsumersAndProvidersAreSentAsTheyAre(t *testing.T) {
	consumers := []string{
		"plain", "with:colon", `with "quotes"`, "with 'apostrophe'", "with space", "with+plus", "with%percent", "with%20escape", "with/slash",
		"../up",
		"someone@example.com", "a&b=c", "a?b#c", `back\slash`, "semi;colon", "tab\there", "line\nbreak",
		"日本語", "é", "e\u0301", "🙂", "*~._-", "{}[]|^`<>",
		strings.Repeat("long", 200),
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		var targets []poller.Target
		for i, consumer := range consumers {
			provider := fmt.Sprint("provider.", i%3)
			a.Add(consumer, provider, mixed(fmt.Sprint("t", i), i+1)...)
			targets = append(targets, target(consumer, provider))
		}
		for i, r := range a.poll(t, a.client(pageSize(10)), targets...) {
			a.checkCounts(t, r)
			if r.Census != nil && r.Census.At(time.Now()).Total != i+1 {
				t.Errorf("%q: %d tokens, want %d", r.Target.Consumer, r.Census.At(time.Now()).Total, i+1)
			}
		}
		for _, r := range a.Log() {
			if strings.Contains(r.Query, "+") {
				t.Errorf("a space was sent as +: %s", r.Query)
			}
		}
	})
}

func TestWhatARequestSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			want := "GET http://api.test/v2/idaas_simulator/authenticationTokens?consumerId=c&credentialProviderIdentifier=p&maxResults=100"
			if got := r.Method + " http://" + r.Host + r.RequestURI; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			for name, want := range map[string]string{
				"Authorization": "Bearer ready", "Accept": "application/json", "User-Agent": "idaas-token-exporter/test", "Content-Type": "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			fmt.Fprint(w, `{"entities":[]}`)
		}))
		if r := a.poll(t, a.client(readyText("ready")), target("c", "p"))[0]; r.Failure != nil {
			t.Errorf("%+v", r.Failure)
		}
	})
}

func TestManyTokens(t *testing.T) {
	t.Parallel()
	const tokens = 20_000
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		some, now := mixed("t", 500), time.Now()
		a.Generate("consumer", "provider", tokens-1, func(i int) simulator.Token {
			token := some[i%len(some)]
			token.ID = fmt.Sprint("generated_", i)
			return token
		})
		a.Add("consumer", "provider", simulator.Token{Expires: now.Add(time.Hour)})
		r := a.poll(t, a.client(), target("consumer", "provider"))[0]
		a.checkCounts(t, r)
		if s := r.Census.At(now); s.Total != tokens || r.Census.Pages != tokens/100 || a.Requests(simulator.List) != tokens/100 {
			t.Errorf("%+v on %d pages by %d requests", s, r.Census.Pages, a.Requests(simulator.List))
		}
	})
}

// A walk ends at the end of its list. The source must not read more pages after the consumer stopped.
func TestPagesStopsWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		a.Add("consumer", "provider", mixed("t", 50)...)
		pages := 0
		for page, err := range a.client(pageSize(10)).Pages(t.Context(), target("consumer", "provider")) {
			if err != nil || len(page.Tokens) != 10 {
				t.Fatalf("%d tokens, %v", len(page.Tokens), err)
			}
			if pages++; pages == 2 {
				break
			}
		}
		if pages != 2 || a.Requests(simulator.List) != 2 {
			t.Errorf("%d pages by %d requests", pages, a.Requests(simulator.List))
		}
	})
}

func TestAListThatNeverEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 0)
		// Each token and each nextToken is new, so this loop cannot be detected.
		requests := 0
		a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			if r.Method == http.MethodPost {
				a.ServeHTTP(w, r)
				return
			}
			fmt.Fprintf(w, `{"entities":[{"authenticationTokenId":"t%d"}],"nextToken":"n%[1]d"}`, requests)
		}))
		r := a.poll(t, a.client(rateLimit(0.2)), targets...)[0]
		if r.Census != nil || r.Failure.Reason != poller.Deadline || r.Failure.At.Sub(time.Date(2020, 1, 1, 1, 0, 0, 0, time.UTC)) != 0 {
			t.Errorf("%+v %+v", r.Census, r.Failure)
		}
		if requests < 700 || requests > 722 {
			t.Errorf("%d requests in an hour of one each 5 seconds", requests)
		}
	})
}

func TestARepeatedNextTokenIsALoop(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fault    simulator.Fault
		requests int
	}{
		{"the first page leads to itself", simulator.Fault{Page: 1}, 2},
		{"the third page leads to itself", simulator.Fault{Page: 3}, 3},
		{"the third page leads to the second", simulator.Fault{Page: 3, Size: 2}, 3},
		{"the last page leads to the second", simulator.Fault{Page: 5, Size: 4}, 5},
		// That nextToken is new at first: only the second round shows the loop.
		{"the last page leads to the first", simulator.Fault{Page: 5, Size: 5}, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.Add("consumer", "provider", mixed("t", 50)...)
				tt.fault.Kind = simulator.Loop
				a.Inject(tt.fault)
				r := a.poll(t, a.client(pageSize(10)), target("consumer", "provider"))[0]
				if r.Census != nil || r.Failure.Reason != poller.Loop || a.Requests(simulator.List) != tt.requests {
					t.Errorf("%+v %+v by %d requests, want %d", r.Census, r.Failure, a.Requests(simulator.List), tt.requests)
				}
			})
		})
	}
}
