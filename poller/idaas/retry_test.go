package idaas

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestRetriesAreBoundedAndPerPage(t *testing.T) {
	for _, tt := range []struct {
		retries  int
		times    int // each page fails
		requests int
		reason   poller.Reason
	}{
		{0, 0, 3, ""},
		{0, 1, 1, poller.ServerError},
		{1, 1, 6, ""},
		{1, 2, 2, poller.ServerError},
		{4, 4, 15, ""},
		{4, 5, 5, poller.ServerError},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{})
			for page := 1; page <= 3 && tt.times > 0; page++ {
				a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: 502, Page: page, Times: tt.times})
			}
			r := a.poll(t, a.client(retries(tt.retries), pageSize(10)), a.fill(1, 30)...)[0]
			if tt.reason == "" {
				a.checkCounts(t, r)
			} else if r.Failure == nil || r.Failure.Reason != tt.reason {
				t.Errorf("%+v: %+v", tt, r.Failure)
			}
			if n := a.Requests(simulator.List); n != tt.requests {
				t.Errorf("%+v: %d requests", tt, n)
			}
		})
	}
}

func TestBackoffIsExponentialWithFullJitter(t *testing.T) {
	t.Parallel()
	const attempts = 12
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 1)
		c := a.client(retries(attempts - 1))
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status})
		const walks = 40
		for range walks {
			a.poll(t, c, targets...)
		}
		waits := a.events.soFar().waits[WaitBackoff]
		if len(waits) != walks*(attempts-1) {
			t.Fatalf("%d waits for %d retries", len(waits), walks*(attempts-1))
		}
		for i := range attempts - 1 {
			bound := min(30*time.Second, 500*time.Millisecond<<i)
			var least, most, sum time.Duration = bound, 0, 0
			for walk := range walks {
				d := waits[walk*(attempts-1)+i]
				least, most, sum = min(least, d), max(most, d), sum+d
			}
			// The probability is below 1e-10 for a uniform distribution over 40 waits.
			if most > bound || most < bound/2 || least > bound/2 || sum/walks < bound/5 || sum/walks > bound*4/5 {
				t.Errorf("before retry %d: from %v to %v, mean %v; want full jitter under %v", i+1, least, most, sum/walks, bound)
			}
		}
	})
}

func TestAPageSizeThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{MaxPageSize: 50})
		targets := a.fill(2, 45)
		c := a.client(pageSize(100))
		a.checkCounts(t, a.poll(t, c, targets[0])[0])
		if n := a.Requests(simulator.List); n != 2+3 {
			t.Errorf("%d requests, want the refused one twice and three pages", n)
		}
		if log := a.log.String(); strings.Count(log, "WARN") != 1 || !strings.Contains(log, "page size refused") ||
			!strings.Contains(log, "refused=100 size=20") {
			t.Errorf("log:\n%s", log)
		}
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
		if n := a.Requests(simulator.List); n != 5+6 {
			t.Errorf("%d requests: the size is not kept", n)
		}
		if n := strings.Count(a.log.String(), "page size refused"); n != 1 {
			t.Errorf("warned %d times", n)
		}
		if got := a.events.soFar().pageSizes; !slices.Equal(got, []int{100, 20}) {
			t.Errorf("reported the sizes %v", got)
		}
		var statuses []int
		for _, r := range a.Log() {
			if r.Operation == simulator.List {
				statuses = append(statuses, r.Status)
			}
		}
		for i, status := range statuses {
			if (status == http.StatusOK) != (i > 1) {
				t.Errorf("statuses %v", statuses)
				break
			}
		}
	})
}

// A 400 that is no refusal of the page size keeps it: if it is not repeated, or also returned for the small size.
func TestAStrayBadRequestLeavesThePageSize(t *testing.T) {
	for name, body := range map[string]string{
		"HTML":           "<html><body>400 Bad Request</body></html>",
		"nothing":        " ",
		"a numeric code": `{"code":400,"message":"bad"}`,
		"the API's own":  "",
	} {
		for times := 1; times <= 3; times += 2 {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				targets := a.fill(1, 150)
				c := a.client()
				a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: 400, Body: body, Page: 1, Times: times})
				r := a.poll(t, c, targets...)[0]
				if times == 1 {
					a.checkCounts(t, r)
				} else if r.Failure == nil || r.Failure.Reason != poller.ClientError {
					t.Errorf("%s, %d times: %+v", name, times, r.Failure)
				}
				if r := a.poll(t, c, targets...)[0]; r.Census == nil || r.Census.Pages != 2 {
					t.Errorf("%s, %d times: the size is not kept", name, times)
				}
				if got := a.events.soFar().pageSizes; !slices.Equal(got, []int{100}) || strings.Contains(a.log.String(), "page size") {
					t.Errorf("%s, %d times: reported the sizes %v\n%s", name, times, got, a.log.String())
				}
			})
		}
	}
}

// A refused size is tried again after an hour, by one walk at a time, and used if the API accepts it.
func TestARefusedPageSizeIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(4, 45)
		larger := func(r *http.Request) bool { return r.URL.Query().Get("maxResults") == "100" }
		refusing := true
		a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refusing && larger(r) {
				http.Error(w, "{}", http.StatusBadRequest)
				return
			}
			a.ServeHTTP(w, r)
		}))
		c := a.client()
		pages := func(want int) {
			t.Helper()
			for _, r := range a.poll(t, c, targets...) {
				a.checkCounts(t, r)
				if r.Census.Pages != want {
					t.Errorf("%d pages, want %d", r.Census.Pages, want)
				}
			}
		}
		pages(3)
		before := a.events.soFar().requests["list 400"]
		time.Sleep(time.Hour - time.Second)
		pages(3)
		if n := a.events.soFar().requests["list 400"] - before; n != 0 {
			t.Errorf("the larger size was tried %d times within the hour", n)
		}
		time.Sleep(time.Second)
		pages(3)
		if n := a.events.soFar().requests["list 400"] - before; n != 2 {
			t.Errorf("%d requests were refused after an hour, want those of one walk", n)
		}
		refusing = false
		time.Sleep(time.Hour)
		a.poll(t, c, targets...)
		pages(1)
		if got := a.events.soFar().pageSizes; !slices.Equal(got, []int{100, 20, 100}) {
			t.Errorf("reported the sizes %v", got)
		}
		if log := a.log.String(); strings.Count(log, "page size refused") != 1 || strings.Count(log, "page size accepted again") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestWalksThatLearnOfTheSizeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{MaxPageSize: 20, Latency: time.Second})
		for _, r := range a.poll(t, a.client(), a.fill(10, 45)...) {
			a.checkCounts(t, r)
		}
		if n := strings.Count(a.log.String(), "page size refused"); n != 1 {
			t.Errorf("warned %d times", n)
		}
	})
}

func TestABadRequestThatIsNotAboutTheSize(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		page     int
		requests int // for the page
	}{
		{"on the first page", 100, 1, 3},
		{"on the first page of the small size", 20, 1, 1},
		{"on the first page of less", 7, 1, 1},
		{"on a later page", 25, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				targets := a.fill(1, 45)
				c := a.client(pageSize(tt.size))
				remove := a.Inject(simulator.Fault{
					Operation: simulator.List, Kind: simulator.Status, Status: 400, Code: "invalid_parameter", Page: tt.page,
				})
				r := a.poll(t, c, targets...)[0]
				if r.Failure == nil || r.Failure.Reason != poller.ClientError || !strings.Contains(r.Failure.Text, "invalid_parameter") {
					t.Errorf("%+v", r.Failure)
				}
				if n := a.Requests(simulator.List) - (tt.page - 1); n != tt.requests {
					t.Errorf("%d requests, want %d", n, tt.requests)
				}
				remove()
				r = a.poll(t, c, targets...)[0]
				a.checkCounts(t, r)
				if want := (45 + tt.size - 1) / tt.size; r.Census.Pages != want {
					t.Errorf("%d pages, want %d: the size has changed", r.Census.Pages, want)
				}
				if strings.Contains(a.log.String(), "page size") {
					t.Errorf("warned:\n%s", a.log.String())
				}
			})
		})
	}
}

func TestEventsOfAQuietWalk(t *testing.T) {
	for _, skew := range []time.Duration{0, -time.Hour, 90 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{ClockSkew: skew, Latency: 400 * time.Millisecond})
			start := time.Now()
			a.checkCounts(t, a.poll(t, a.client(pageSize(10), rateLimit(1)), a.fill(1, 30)...)[0])
			events := a.events.soFar()
			if len(events.requests) != 2 || events.requests["token 200"] != 1 || events.requests["list 200"] != 3 {
				t.Errorf("requests %v", events.requests)
			}
			if events.retries != 0 || events.throttled != 0 || len(events.failed) != 0 || len(events.expires) != 1 ||
				events.expires[0].Sub(start) != 20*time.Minute {
				t.Errorf("%d retries, %d throttled, %v failed, tokens until %v", events.retries, events.throttled, events.failed, events.expires)
			}
			if len(events.waited) != 1 || events.waited[WaitLimiter] != 3*600*time.Millisecond {
				t.Errorf("waited %v, want the rest of each second between requests", events.waited)
			}
			if len(events.skew) != 4 {
				t.Errorf("skew reported %d times", len(events.skew))
			}
			for _, got := range events.skew {
				if (got - skew).Abs() > time.Second {
					t.Errorf("skew %v, want about %v", got, skew)
				}
			}
		})
	}
}

func TestEventsOfAThrottledWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 3)
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, RetryAfter: "5", Times: 2})
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, Times: 1})
		a.checkCounts(t, a.poll(t, a.client(), targets...)[0])
		events := a.events.soFar()
		if events.requests["list 429"] != 3 || events.requests["list 200"] != 1 || events.retries != 3 || events.throttled != 3 {
			t.Errorf("requests %v, %d retries, %d throttled", events.requests, events.retries, events.throttled)
		}
		if events.waited[WaitRetryAfter] != 10*time.Second || len(events.waits[WaitBackoff]) != 1 {
			t.Errorf("waited %v", events.waits)
		}
	})
}

func TestNothingIsToldOfAbandonedWalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		p := a.poller(a.client(), 2, a.fill(2, 3)...)
		a.Inject(simulator.Fault{Operation: simulator.Access, Kind: simulator.Hang})
		stop := run(p)
		time.Sleep(time.Second)
		start := time.Now()
		stop()
		if d := time.Since(start); d != 0 {
			t.Errorf("stopping took %v", d)
		}
		if events := a.events.soFar(); len(events.failed) != 0 || events.retries != 0 {
			t.Errorf("reported failures %v, %d retries", events.failed, events.retries)
		}
	})
}
