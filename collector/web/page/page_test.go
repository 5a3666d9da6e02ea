package page

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

var update = flag.Bool("update", false, "write what is served into testdata")

const day = 24 * time.Hour

// reading is of a census made by change.
func reading(label, provider string, change func(now time.Time, c *poller.Census)) *poller.Reading {
	now := time.Now()
	r := &poller.Reading{Target: poller.Target{
		Consumer: "raw-" + label, Provider: provider, Label: label,
		Windows: []poller.Window{{Label: "1h", Duration: time.Hour}, {Label: "1d", Duration: day}},
	}}
	if change != nil {
		r.Census = &poller.Census{Reported: -1, ReadAt: now.Add(-time.Minute), Took: 1500 * time.Millisecond}
		change(now, r.Census)
	}
	return r
}

// expiring gives a census tokens of a lifetime of 30 days, with ids.
func expiring(c *poller.Census, ends ...time.Time) {
	c.Lifetime = (30 * day).Milliseconds()
	for i, end := range ends {
		c.Expirations = append(c.Expirations, end.UnixMilli())
		c.Soonest = append(c.Soonest, poller.Expiry{ID: fmt.Sprint("tkn_", i), Type: "jwt", Issued: end.Add(-30 * day).UnixMilli(), Expires: end.UnixMilli()})
	}
}

// company has a target in every state, in no order. It must be called in a bubble: there the time is always the same.
func company() *poller.Snapshot {
	now := time.Now()
	failure := func(since time.Duration) *poller.Failure {
		return &poller.Failure{Reason: poller.ServerError, Text: "503 <b>down</b>", Since: now.Add(-since), At: now.Add(-time.Second)}
	}
	fine := reading("fine", "jwt", func(now time.Time, c *poller.Census) {
		expiring(c, now.Add(2*time.Hour), now.Add(20*day))
		c.Revoked, c.Expired, c.Reported = 2, 1, 5
	})
	fine.Failure = failure(time.Hour)
	unread := reading("unread", "oauth", nil)
	unread.Failure = failure(3 * time.Minute)
	return &poller.Snapshot{
		LastCycle: now.Add(-2 * time.Minute), NextCycle: now.Add(3 * time.Minute),
		Readings: []*poller.Reading{
			fine,
			reading("lost", "jwt", func(now time.Time, c *poller.Census) {
				c.Expired, c.Lifetime, c.LastActive = 4, day.Milliseconds(), now.Add(-time.Hour).UnixMilli()
			}),
			reading("risky", "jwt", func(now time.Time, c *poller.Census) { expiring(c, now.Add(3*day), now.Add(5*day)) }),
			reading("riskier", "oauth", func(now time.Time, c *poller.Census) { expiring(c, now.Add(-time.Second), now.Add(50*time.Minute)) }),
			reading("empty", "oauth", func(_ time.Time, c *poller.Census) { c.Reported = 0 }),
			reading("everlasting", "jwt", func(now time.Time, c *poller.Census) { c.NeverExpiring = 2; c.ReadAt = now.Add(-21 * time.Minute) }),
			reading("at the end of time", "jwt", func(_ time.Time, c *poller.Census) {
				c.Expirations = []int64{math.MaxInt64 - 1}
				c.Soonest = []poller.Expiry{{ID: "last", Issued: math.MaxInt64, Expires: math.MaxInt64 - 1}}
			}),
			unread,
		},
	}
}

func bubble(t *testing.T, c Config, f func(t *testing.T, page, api func(path string) *httptest.ResponseRecorder)) {
	synctest.Test(t, func(t *testing.T) {
		if c.Snapshot == nil {
			s := company()
			c.Snapshot = func() *poller.Snapshot { return s }
		}
		page, api := New(c)
		ask := func(h http.Handler) func(string) *httptest.ResponseRecorder {
			return func(path string) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				return w
			}
		}
		f(t, ask(page), ask(api))
	})
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what is served (go test ./collector/web/page -update writes it):\n%s", file, got)
	}
}

func indented(t *testing.T, w *httptest.ResponseRecorder) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	out, err := json.Marshal(v, json.Deterministic(true), jsonIndent)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestJSON(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _, api func(string) *httptest.ResponseRecorder) {
		w := api("/api/v1/targets")
		if kind := w.Header().Get("Content-Type"); w.Code != 200 || kind != "application/json" {
			t.Errorf("%d, %s", w.Code, kind)
		}
		golden(t, "targets.json", indented(t, w))
	})
	bubble(t, Config{MaxStaleness: 20 * time.Minute}, func(t *testing.T, _, api func(string) *httptest.ResponseRecorder) {
		golden(t, "stale.json", indented(t, api("/api/v1/targets?consumer=everlasting")))
	})
}

func TestHTML(t *testing.T) {
	bubble(t, Config{Version: "1.2.3"}, func(t *testing.T, page, _ func(string) *httptest.ResponseRecorder) {
		golden(t, "page.html", page("/").Body.Bytes())
		golden(t, "open.html", page("/?open=riskier:oauth&state=at_risk").Body.Bytes())
	})
}

// names are the consumers of an answer, in its order.
func names(w *httptest.ResponseRecorder) string {
	var answer struct {
		Targets []struct{ Consumer string }
		Matched int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer, json.MatchCaseInsensitiveNames(true)); err != nil {
		return fmt.Sprint(w.Code, w.Body)
	}
	out := fmt.Sprint(answer.Matched, ":")
	for _, t := range answer.Targets {
		out += " " + t.Consumer
	}
	return out
}

var shownName = regexp.MustCompile(`<th role="rowheader"[^>]*><a [^>]*><b>([^<]*)<`)

func shown(w *httptest.ResponseRecorder) string {
	var out []string
	for _, m := range shownName.FindAllStringSubmatch(w.Body.String(), -1) {
		out = append(out, m[1])
	}
	return strings.Join(out, " ")
}

func TestQueries(t *testing.T) {
	for query, want := range map[string]string{
		"":                                      "8: lost riskier risky empty unread fine at the end of time everlasting",
		"sort=name":                             "8: at the end of time empty everlasting fine lost riskier risky unread",
		"sort=next":                             "8: riskier fine risky at the end of time empty everlasting lost unread",
		"sort=last":                             "8: riskier risky fine at the end of time empty everlasting lost unread",
		"sort=age":                              "8: unread everlasting at the end of time empty fine lost riskier risky",
		"sort=total":                            "8: fine lost everlasting riskier risky at the end of time empty unread",
		"state=at_risk":                         "2: riskier risky",
		"state=lost":                            "1: lost",
		"state=empty":                           "1: empty",
		"state=unknown":                         "1: unread",
		"state=ok":                              "3: fine at the end of time everlasting",
		"consumer=fine":                         "1: fine",
		"consumer=fin":                          "0:",
		"consumer=raw-fine":                     "0:",
		"credential_provider=jwt&state=at_risk": "1: risky",
		"consumer=&state=&sort=":                "8: lost riskier risky empty unread fine at the end of time everlasting",
		"limit=2":                               "8: lost riskier",
		"limit=2&offset=7":                      "8: everlasting",
		"offset=8":                              "8:",
		"offset=99":                             "8:",
	} {
		bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
			got := names(api("/api/v1/targets?" + query))
			if got != want {
				t.Errorf("%s:\n got %s\nwant %s", query, got, want)
			}
			// The page shows the same.
			if _, rows, _ := strings.Cut(want, ":"); shown(page("/?"+query)) != strings.TrimSpace(rows) {
				t.Errorf("%s: the page has %s", query, shown(page("/?"+query)))
			}
		})
	}
}

func TestPageQueries(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, page, _ func(string) *httptest.ResponseRecorder) {
		for query, want := range map[string]string{
			"q=RISK":                   "riskier risky",
			"q=oauth&sort=name":        "empty riskier unread",
			"q=nothing":                "",
			"q=risk&state=ok":          "",
			"limit=3&open=empty:oauth": "empty unread fine",
			"open=gone:jwt&limit=1":    "lost",
		} {
			w := page("/?" + query)
			if got := shown(w); got != want || w.Code != 200 {
				t.Errorf("%s: %d, %s; want %s", query, w.Code, got, want)
			}
			for part, when := range map[string]bool{
				"No target passes this filter": want == "",
				"is not among these targets":   strings.Contains(query, "gone"),
				`class="opened"`:               strings.Contains(query, "empty:oauth"),
			} {
				if strings.Contains(w.Body.String(), part) != when {
					t.Errorf("%s: %q on the page: %t", query, part, !when)
				}
			}
		}
		for query, want := range map[string]string{
			"": "/api/v1/targets?", "refresh=30&q=a&open=b": "/api/v1/targets?", "q=a&state=ok&sort=name&limit=5": "/api/v1/targets?limit=5&amp;sort=name&amp;state=ok",
		} {
			if !strings.Contains(page("/?"+query).Body.String(), `href="`+want+`"`) {
				t.Errorf("%s: no link to %s", query, want)
			}
		}
		for query, want := range map[string]string{"": "", "refresh=30": "30", "refresh=5&state=ok": "5"} {
			if got := page("/?" + query).Header().Get("Refresh"); got != want {
				t.Errorf("%s: refreshed every %q s", query, got)
			}
		}
	})
}

func TestBadQueries(t *testing.T) {
	for query, want := range map[string]string{
		"stat=ok":              `unknown parameter "stat": accepted are consumer, credential_provider, state, sort, limit, offset`,
		"state=bad":            `state="bad": accepted are [lost at_risk empty unknown ok]`,
		"state=OK":             `state="OK"`,
		"sort=state":           `sort="state": accepted are name, next, last, age, total`,
		"limit=0":              `limit="0": accepted is a whole number from 1 to`,
		"limit=-1":             `limit="-1"`,
		"limit=1.5":            `limit="1.5"`,
		"limit=99999999999999": `limit="99999999999999"`,
		"offset=-1":            `offset="-1": accepted is a whole number from 0 to`,
		"offset=x":             `offset="x"`,
		"state=ok&state=lost":  "state is given 2 times",
		"a=%zz":                "invalid URL escape",
		"b=1&sort=no":          `unknown parameter "b"`,
		"sort=no&b=1":          `sort="no"`,
		"state=<script>":       `state="<script>"`,
	} {
		bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
			for _, w := range []*httptest.ResponseRecorder{page("/?" + strings.ReplaceAll(query, "<", "%3C")), api("/api/v1/targets?" + query)} {
				if kind := w.Header().Get("Content-Type"); w.Code != 400 || !strings.Contains(w.Body.String(), want) || kind != "text/plain; charset=utf-8" {
					t.Errorf("%s: %d, %s, %s; want %s", query, w.Code, kind, w.Body, want)
				}
			}
		})
	}
	bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
		for _, query := range []string{"q=x", "open=a:b", "refresh=30"} {
			if w := api("/api/v1/targets?" + query); w.Code != 400 {
				t.Errorf("%s: %d from the JSON", query, w.Code)
			}
		}
		for _, query := range []string{"refresh=4", "refresh=3601", "refresh=x", "limit=501"} {
			if w := page("/?" + query); w.Code != 400 {
				t.Errorf("%s: %d from the page", query, w.Code)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
		for _, w := range []*httptest.ResponseRecorder{page("/"), api("/"), page("/?x=1"), api("/?x=1")} {
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			got := w.Header().Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "style-src 'sha256-"} {
				if !strings.Contains(got, want) {
					t.Errorf("policy %q lacks %q", got, want)
				}
			}
		}
		body := page("/").Body.String()
		inline := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)[1]
		sum := sha256.Sum256([]byte(inline))
		if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Error("the policy does not allow the style")
		}
		for _, bad := range []string{"<script", " style=", " onclick", "http://", "https://", "ZgotmplZ"} {
			if strings.Contains(body, bad) {
				t.Errorf("the page has %q", bad)
			}
		}
	})
}

// What others chose the text of cannot become markup, and raw consumer ids are nowhere.
func TestHostileTexts(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror='a()'>` + "\u202e\x00{{.}}"
	bubble(t, Config{Version: hostile}, func(t *testing.T, _, _ func(string) *httptest.ResponseRecorder) {
		r := reading(hostile, hostile, func(now time.Time, c *poller.Census) {
			expiring(c, now.Add(time.Hour))
			c.Soonest[0].ID, c.Soonest[0].Type = hostile, hostile
		})
		r.Target.Consumer = "secret@example.com"
		r.Target.Windows[0].Label = hostile
		r.Failure = &poller.Failure{Reason: poller.Malformed, Text: hostile + "\xff", Since: time.Now(), At: time.Now()}
		page, api := New(Config{Version: hostile, Snapshot: func() *poller.Snapshot { return &poller.Snapshot{Readings: []*poller.Reading{r}} }})
		for _, query := range []string{"", "?open=" + escaped(hostile+":"+hostile), "?q=" + escaped(hostile), "?open=" + escaped(hostile)} {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+query, nil))
			body := w.Body.String()
			for _, bad := range []string{"<script", "<img", "secret@", "raw-", "\x00"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s: the page has %q", query, bad)
				}
			}
			if w.Code != 200 || !strings.Contains(body, "alert(1)") {
				t.Errorf("%s: %d, and the text is missing", query, w.Code)
			}
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if got := names(w); w.Code != 200 || got != "1: "+hostile || strings.Contains(w.Body.String(), "secret@") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
