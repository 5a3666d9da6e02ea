package page

import (
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestQueries(t *testing.T) {
	for query, want := range map[string]string{
		"":                                      "9: lost riskier risky unread nightly empty fine at the end of time everlasting",
		"sort=name":                             "9: at the end of time empty everlasting fine lost nightly riskier risky unread",
		"sort=next":                             "9: riskier fine risky at the end of time empty everlasting lost nightly unread",
		"sort=last":                             "9: riskier risky fine at the end of time empty everlasting lost nightly unread",
		"sort=age":                              "9: unread everlasting at the end of time empty fine lost nightly riskier risky",
		"sort=total":                            "9: nightly fine lost everlasting riskier risky at the end of time empty unread",
		"state=at_risk":                         "2: riskier risky",
		"state=lost":                            "1: lost",
		"state=empty":                           "1: empty",
		"state=unknown":                         "1: unread",
		"state=ok":                              "3: fine at the end of time everlasting",
		"consumer=fine":                         "1: fine",
		"consumer=fin":                          "0:",
		"consumer=raw-fine":                     "0:",
		"credential_provider=jwt&state=at_risk": "1: risky",
		"consumer=&state=&sort=":                "9: lost riskier risky unread nightly empty fine at the end of time everlasting",
		"limit=2":                               "9: lost riskier",
		"limit=2&offset=8":                      "9: everlasting",
		"q=RISK":                                "2: riskier risky",
		"q=oauth&sort=name":                     "3: empty riskier unread",
		"q=%20%09risk%E3%80%80":                 "2: riskier risky",
		"q=end+of":                              "1: at the end of time",
		"q=+&state=ok":                          "3: fine at the end of time everlasting",
		"q=risk&state=ok":                       "0:",
		"q=secret":                              "0:",
		"q=i&state=ok&limit=1&offset=1":         "3: at the end of time",
		"offset=9":                              "9:",
		"offset=99":                             "9:",
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
			"q=nothing":                "",
			"q=risk&state=ok":          "",
			"limit=3&open=empty:oauth": "unread nightly empty",
			"open=gone:jwt&limit=1":    "lost",
		} {
			w := page("/?" + query)
			if got := shown(w); got != want || w.Code != 200 {
				t.Errorf("%s: %d, %s; want %s", query, w.Code, got, want)
			}
			for part, when := range map[string]bool{
				"No target matches this filter": want == "",
				"is not among these targets":    strings.Contains(query, "gone"),
				`class="opened"`:                strings.Contains(query, "empty:oauth"),
			} {
				if strings.Contains(w.Body.String(), part) != when {
					t.Errorf("%s: %q on the page: %t", query, part, !when)
				}
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
		"stat=ok":              `unknown parameter "stat": accepted are q, consumer, credential_provider, state, sort, limit, offset`,
		"state=bad":            `state="bad": accepted are [lost about_to_end overdue not_renewed at_risk unknown paused empty retired ok]`,
		"state=OK":             `state="OK"`,
		"sort=state":           `sort="state": accepted are name, next, last, age, total`,
		"limit=0":              `limit="0": accepted is a whole number from 1 to`,
		"limit=-1":             `limit="-1"`,
		"limit=1.5":            `limit="1.5"`,
		"limit=99999999999999": `limit="99999999999999"`,
		"offset=-1":            `offset="-1": accepted is a whole number from 0 to`,
		"offset=x":             `offset="x"`,
		"state=ok&state=lost":  "state is given 2 times",
		"q=a&q=b":              "q is given 2 times",
		"a=%zz":                "invalid URL escape",
		"b=1&sort=no":          `unknown parameter "b"`,
		"sort=no&b=1":          `sort="no"`,
		"state=<script>":       `state="<script>"`,
	} {
		bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
			answers := []*httptest.ResponseRecorder{api("/api/v1/targets?" + query)}
			if !strings.HasPrefix(want, "unknown") {
				answers = append(answers, page("/?"+strings.ReplaceAll(query, "<", "%3C")))
			}
			for _, w := range answers {
				kind := w.Header().Get("Content-Type")
				if w.Code != 400 || !strings.Contains(w.Body.String(), want) || kind != "text/plain; charset=utf-8" {
					t.Errorf("%s: %d, %s, %s; want %s", query, w.Code, kind, w.Body, want)
				}
			}
		})
	}
	bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
		for _, query := range []string{"open=a:b", "refresh=30"} {
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

// TestPageIgnoresUnknownParameters: parameters that mail or chat add are ignored and are in no link.
func TestPageIgnoresUnknownParameters(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, page, _ func(string) *httptest.ResponseRecorder) {
		for _, query := range []string{"", "state=ok&open=fine:jwt", "q=risk&limit=1"} {
			want := page("/?" + query)
			got := page("/?utm_source=mail&" + query + "&x=1&x=2&Q=")
			if got.Code != 200 || got.Body.String() != want.Body.String() {
				t.Errorf("%s: %d %s", query, got.Code, got.Body)
			}
		}
	})
}

// links returns the addresses in a page and its headers.
func links(t *testing.T, w *httptest.ResponseRecorder) (out []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?:href|src|action|content|cite)="([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		out = append(out, html.UnescapeString(m[1]))
	}
	return append(out, regexp.MustCompile(`(?i)url=.*`).FindAllString(w.Header().Get("Refresh"), -1)...)
}

// TestLinks: behind https://host/prefix/ no link leaves the prefix, and the link to JSON has the targets of the page.
func TestLinks(t *testing.T) {
	base, err := url.Parse("https://host/a/prefix/")
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"", "q=risk", "q=%20risk%20", "q=e&sort=name&limit=2", "limit=2&offset=2", "limit=3&open=empty:oauth",
		"state=at_risk&refresh=30&open=risky:jwt",
		"credential_provider=jwt&limit=1&offset=9", "q=nothing", "consumer=at+the+end+of+time&open=x:y",
	} {
		bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
			w := page("/?" + query)
			var served string
			for _, link := range links(t, w) {
				to, err := base.Parse(link)
				if err != nil {
					t.Errorf("%s: %v", query, err)
					continue
				}
				path, inside := strings.CutPrefix(to.String(), base.String())
				if to.Scheme == "https" && !inside {
					t.Errorf("%s: %q leads to %s", query, link, to)
				}
				if strings.HasPrefix(path, "api/v1/targets?") {
					served = path
				}
			}
			_, got, _ := strings.Cut(names(api("/"+served)), ":")
			if served == "" || strings.TrimSpace(got) != shown(w) {
				t.Errorf("%s: %q has %s, but the page has %s", query, served, got, shown(w))
			}
		})
	}
}
