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

// reading returns a reading with a census made by change; nil: never read.
func reading(label, provider string, change func(now time.Time, c *poller.Census)) *poller.Reading {
	now := time.Now()
	r := &poller.Reading{Target: poller.Target{
		Consumer: "raw-" + label, Provider: provider, Label: label,
		Windows: []poller.Window{{Label: "1h", Duration: time.Hour}, {Label: "1d", Duration: day}},
		Thresholds: poller.Thresholds{
			AtRisk: poller.Before{Part: 0.2, Most: 7 * day}, AboutToEnd: poller.Before{Part: 0.05, Most: day}, LostAfter: 10 * time.Minute,
		},
	}}
	if change != nil {
		r.Census = &poller.Census{Reported: -1, ReadAt: now.Add(-time.Minute), Took: 1500 * time.Millisecond}
		change(now, r.Census)
	}
	return r
}

// steady returns the history of 50 days with a token, until end.
func steady(end time.Time) *poller.History {
	h := &poller.History{Since: end.Add(-50 * day).UnixMilli(), Start: end.Add(-50 * day).UnixMilli(), End: end.UnixMilli()}
	for i := range h.Days {
		h.Days[i] = 1440
	}
	return h
}

// nightly gives a census 40 days of tokens for one hour a day. The last one ended 2 h ago.
func nightly(now time.Time, c *poller.Census) {
	end := now.Add(-2 * time.Hour)
	c.Expired, c.LastActive = 40, end.UnixMilli()
	c.History = &poller.History{Since: now.Add(-40 * day).UnixMilli(), Start: end.Add(-time.Hour).UnixMilli(), End: end.UnixMilli()}
	for i := range c.History.Pauses[0] {
		c.History.Pauses[0][i] = poller.Pause{End: uint32(end.Unix()), Length: 23 * 3600}
	}
	for i := range 35 {
		n := end.Unix()/3600 - 1 - int64(i)*24
		c.History.Hours[n%840/8] |= 1 << (n % 8)
	}
}

// expiring gives a census tokens with a lifetime of 30 days.
func expiring(c *poller.Census, ends ...time.Time) {
	c.Lifetime, c.History = (30 * day).Milliseconds(), steady(time.Now().Add(-time.Minute))
	for i, end := range ends {
		c.Expirations = append(c.Expirations, end.UnixMilli())
		issued := end.Add(-30 * day).UnixMilli()
		c.Soonest = append(c.Soonest, poller.Expiry{ID: fmt.Sprint("tkn_", i), Type: "jwt", Issued: issued, Expires: end.UnixMilli()})
	}
}

// company returns unsorted targets in different states. Call it in a bubble, where the time is fixed.
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
	riskier := reading("riskier", "oauth", func(now time.Time, c *poller.Census) {
		expiring(c, now.Add(-time.Second), now.Add(50*time.Minute))
	})
	riskier.Target.Thresholds.AboutToEnd, riskier.Target.Thresholds.LostAlone = poller.Before{}, true
	unread := reading("unread", "oauth", nil)
	unread.Failure = failure(3 * time.Minute)
	return &poller.Snapshot{
		Schedules: []poller.Timing{{Last: now.Add(-2 * time.Minute), Next: now.Add(3 * time.Minute), Interval: 5 * time.Minute}},
		Readings: []*poller.Reading{
			fine,
			reading("lost", "jwt", func(now time.Time, c *poller.Census) {
				c.Expired, c.Lifetime, c.LastActive = 4, day.Milliseconds(), now.Add(-time.Hour).UnixMilli()
				c.History = steady(now.Add(-time.Hour))
			}),
			reading("risky", "jwt", func(now time.Time, c *poller.Census) { expiring(c, now.Add(3*day), now.Add(5*day)) }),
			riskier,
			reading("empty", "oauth", func(_ time.Time, c *poller.Census) { c.Reported = 0 }),
			reading("everlasting", "jwt", func(now time.Time, c *poller.Census) { c.NeverExpiring = 2; c.ReadAt = now.Add(-21 * time.Minute) }),
			reading("at the end of time", "jwt", func(_ time.Time, c *poller.Census) {
				c.Expirations = []int64{math.MaxInt64 - 1}
				c.Soonest = []poller.Expiry{{ID: "last", Issued: math.MaxInt64, Expires: math.MaxInt64 - 1}}
			}),
			reading("nightly", "jwt", nightly),
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
		t.Errorf("%s differs from the response (go test ./collector/web/page -update writes it):\n%s", file, got)
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
		paused := page("/?open=nightly:jwt").Body.String()
		for _, want := range []string{
			"<b>Paused, next token expected by 2000-01-02 20:00 UTC.</b>", "<dd>intermittent</dd>", "<dt>Usual pause</dt><dd>23 h</dd>",
			"<dt>Week repeats</dt><dd>no</dd>", "<dt>Next token expected by</dt><dd>2000-01-02 20:00:00 UTC</dd>",
			"<dt>History since</dt><dd>1999-11-26 22:00:00 UTC</dd>", `aria-label="Last five weeks: week from 1999-11-28: 7 h with`,
		} {
			if !strings.Contains(paused, want) {
				t.Errorf("the open target lacks %q", want)
			}
		}
	})
}

// names returns the consumers of a response, in its order.
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

var shownName = regexp.MustCompile(`<th role="rowheader"[^>]*><a [^>]*><b><bdi>([^<]*)<`)

func shown(w *httptest.ResponseRecorder) string {
	var out []string
	for _, m := range shownName.FindAllStringSubmatch(w.Body.String(), -1) {
		out = append(out, m[1])
	}
	return strings.Join(out, " ")
}

// TestNamesAreIsolated: a name with right-to-left override does not reverse other text.
func TestNamesAreIsolated(t *testing.T) {
	const turned = "\u202eabc"
	synctest.Test(t, func(t *testing.T) {
		r := reading(turned, turned, func(now time.Time, c *poller.Census) {
			expiring(c, now.Add(time.Hour))
			c.Soonest[0].ID, c.Soonest[0].Type = turned, turned
		})
		lost := reading(turned+"lost", turned, func(now time.Time, c *poller.Census) {
			c.Expired, c.History = 1, steady(now.Add(-time.Hour))
		})
		r.Failure = &poller.Failure{Reason: poller.Malformed, Text: turned, Since: time.Now(), At: time.Now()}
		page, _ := New(Config{Snapshot: func() *poller.Snapshot { return &poller.Snapshot{Readings: []*poller.Reading{r, lost}} }})
		for query, want := range map[string]int{
			"": 9, "?open=" + escaped(turned+":"+turned): 12, "?open=" + escaped(turned) + "&q=" + escaped(turned): 10,
		} {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+query, nil))
			text := regexp.MustCompile(`<(?:[^>"]|"[^"]*")*>`).ReplaceAllStringFunc(w.Body.String(), func(tag string) string {
				return regexp.MustCompile(`^</?bdi|^<|>$`).FindString(tag) + ">"
			})
			isolated := strings.Count(text, "<bdi>"+turned)
			if all := strings.Count(text, "\u202e"); isolated != all || all != want {
				t.Errorf("%s: %d of %d texts are isolated, want %d", query, isolated, all, want)
			}
		}
	})
}

func TestTimesOfJSONHaveWholeSeconds(t *testing.T) {
	fraction := regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*"`)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond)
		s := company()
		for _, r := range s.Readings {
			if r.Failure != nil {
				r.Failure.Since = r.Failure.Since.In(time.FixedZone("", 8*3600))
			}
		}
		_, api := New(Config{Snapshot: func() *poller.Snapshot { return s }})
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		times := fraction.FindAllString(w.Body.String(), -1)
		if len(times) < 20 {
			t.Errorf("%d times in %s", len(times), w.Body)
		}
		for _, text := range times {
			if _, err := time.Parse("2006-01-02T15:04:05Z", strings.Trim(text, `"`)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, page, api func(string) *httptest.ResponseRecorder) {
		for _, w := range []*httptest.ResponseRecorder{page("/"), api("/"), page("/?state=x"), api("/?x=1")} {
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			got := w.Header().Get("Content-Security-Policy")
			for _, want := range []string{
				"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "style-src 'sha256-",
			} {
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

// TestHostileTexts: texts from outside cannot become markup, and raw consumer ids are hidden.
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
