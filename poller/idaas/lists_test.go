package idaas

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

var listUser = simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}

// setApplications adds n applications and returns their ids.
func (a *api) setApplications(n int) (ids []string) {
	for i := range n {
		id := fmt.Sprintf("app_%04d", i)
		a.SetApplication(simulator.Application{ID: id, Name: "name of " + id, Created: time.Now().Add(time.Duration(i-3600) * time.Second)})
		ids = append(ids, id)
	}
	return ids
}

func listedIDs(found []poller.Listed) (ids []string) {
	for _, f := range found {
		ids = append(ids, f.Identifier)
	}
	return ids
}

// All pages are read, with names and types. Disabled applications and those that are not an M2M client are omitted.
func TestApplications(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.WithRAM(simulator.Config{}, listUser))
		c := a.client(func(c *Config) { c.Management = "http://management.test" })
		if found, err := c.Applications(t.Context()); err != nil || len(found) != 0 {
			t.Errorf("none: %v %v", found, err)
		}
		ids := a.setApplications(250)
		created := time.Now().Add(-2 * time.Hour)
		a.SetApplication(simulator.Application{ID: "app_agent", Name: "an agent", Identity: "agent", Created: created})
		a.SetApplication(simulator.Application{ID: "app_disabled", Disabled: true})
		a.SetApplication(simulator.Application{ID: "app_web", NoM2M: true})
		found, err := c.Applications(t.Context())
		if want := append(ids, "app_agent"); err != nil || !slices.Equal(listedIDs(found), want) {
			t.Errorf("%v, %d found", err, len(found))
		}
		want := poller.Listed{Identifier: "app_agent", Type: "agent", Name: "an agent", Created: created.UnixMilli()}
		if len(found) > 0 && found[len(found)-1] != want {
			t.Errorf("%+v, want %+v", found[len(found)-1], want)
		}
		if n := a.Requests(simulator.Applications); n != 1+3 {
			t.Errorf("%d requests, want 1 and 3", n)
		}
		a.RemoveApplication("app_0000")
		a.SetApplication(simulator.Application{ID: "app_0001", Name: "renamed"})
		found, err = c.Applications(t.Context())
		if err != nil || len(found) != 250 || found[0].Name != "renamed" {
			t.Errorf("%v, %d found: %+v", err, len(found), found[:min(1, len(found))])
		}
	})
}

// A list is complete if all pages have the same TotalCount, and the list has so many applications. Otherwise it is read three times.
func TestWholeApplications(t *testing.T) {
	entries := func(from, to int) string {
		var texts []string
		for i := from; i < to; i++ {
			texts = append(
				texts,
				fmt.Sprintf(`{"ApplicationId":"app_%d","ApplicationName":"n","ApplicationIdentityType":"agent","Status":"enabled","CreateTime":1}`, i),
			)
		}
		return strings.Join(texts, ",")
	}
	page := func(from, to int, total string) string {
		return `{"Applications":[` + entries(from, to) + `]` + total + `}`
	}
	const of3, of4 = `,"TotalCount":3`, `,"TotalCount":4`
	withKeys(t, testKeyID, testKeySecret, "")
	for name, tt := range map[string]struct {
		pages    []string // by number, the last one for all later ones
		requests int
		found    int // -1: malformed
	}{
		"one page":               {[]string{page(0, 3, of3)}, 1, 3},
		"none":                   {[]string{page(0, 0, `,"TotalCount":0`)}, 1, 0},
		"null and a total of 0":  {[]string{`{"Applications":null,"TotalCount":0}`}, 1, 0},
		"short pages":            {[]string{page(0, 1, of4), page(1, 2, of4), page(2, 4, of4)}, 3, 4},
		"pages overlap":          {[]string{page(0, 2, of4), page(1, 3, of4), page(2, 4, of4)}, 3, 4},
		"no total":               {[]string{page(0, 3, "")}, 3, -1},
		"no total on the second": {[]string{page(0, 2, of4), page(2, 4, "")}, 6, -1},
		"another total":          {[]string{page(0, 2, of4), page(2, 3, of3)}, 6, -1},
		"an empty page":          {[]string{page(0, 2, of4), page(0, 0, of4)}, 6, -1},
		"the same page again":    {[]string{page(0, 2, of4)}, 6, -1},
		"more than the total":    {[]string{page(0, 4, of3)}, 3, -1},
		"an empty object":        {[]string{`{}`}, 3, -1},
		"null":                   {[]string{`null`}, 3, -1},
		"HTML":                   {[]string{`<html>`}, 3, -1},
		"an error object":        {[]string{`{"Code":"X","Message":"y","TotalCount":0}`}, 3, -1},
		"an empty item":          {[]string{`{"Applications":[null],"TotalCount":1}`}, 3, -1},
		"a total that is text":   {[]string{page(0, 3, `,"TotalCount":"3"`)}, 3, -1},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{}
			requests := 0
			a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				number := 0
				_, _ = fmt.Sscan(r.URL.Query().Get("PageNumber"), &number)
				requests++
				_, _ = fmt.Fprint(w, tt.pages[min(number, len(tt.pages))-1])
			}))
			found, err := a.client(byRAM, retries(0)).Applications(t.Context())
			if tt.found < 0 && poller.ReasonOf(err) != poller.Malformed || tt.found >= 0 && (err != nil || len(found) != tt.found) {
				t.Errorf("%s: %v, %v", name, found, err)
			}
			if requests != tt.requests {
				t.Errorf("%s: %d requests, want %d", name, requests, tt.requests)
			}
		})
	}
}

// A refused page size is reduced to 20 for this list. Other refusals are reported.
func TestApplicationsRefused(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	for name, tt := range map[string]struct {
		config   simulator.Config
		user     simulator.RAMUser
		fault    simulator.Fault
		requests int
		want     poller.Reason
		text     string
	}{
		"page size": {config: simulator.Config{MaxPageSize: 50}, user: listUser, requests: 4},
		"always 400": {
			user: listUser, fault: simulator.Fault{Operation: simulator.Applications, Kind: simulator.Status, Status: 400},
			requests: 2, want: poller.ClientError, text: "applications, page 1: 400",
		},
		"policy": {
			user:     simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret, Actions: []string{"eiam:ListCredentialProviders"}},
			requests: 1, want: poller.Forbidden, text: "Action: eiam:ListApplications",
		},
		"throttled": {
			user: listUser, fault: simulator.Fault{Operation: simulator.Applications, Kind: simulator.Throttle, Times: 1},
			requests: 2,
		},
		"half of a page": {
			user: listUser, fault: simulator.Fault{Operation: simulator.Applications, Kind: simulator.TruncatedJSON}, requests: 3,
			want: poller.Malformed,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(tt.config, tt.user))
			a.setApplications(60)
			if tt.fault.Operation != "" {
				a.Inject(tt.fault)
			}
			found, err := a.client(byRAM).Applications(t.Context())
			if tt.want == "" && (err != nil || len(found) != 60) || tt.want != "" &&
				(poller.ReasonOf(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.text)) {
				t.Errorf("%s: %d, %v", name, len(found), err)
			}
			if n := a.Requests(simulator.Applications); n != tt.requests {
				t.Errorf("%s: %d requests, want %d", name, n, tt.requests)
			}
		})
	}
}

// A list lacks an application if another one is deleted meanwhile. Its TotalCount differs, so it is read again. If one is also created
// meanwhile, the list looks complete.
func TestApplicationsDeletedMeanwhile(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	for _, created := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(simulator.Config{}, listUser))
			a.setApplications(150)
			a.Inject(simulator.Fault{Operation: simulator.Applications, Page: 1, Times: 1, Kind: simulator.Slow, Then: func() {
				a.RemoveApplication("app_0010")
				if created {
					a.SetApplication(simulator.Application{ID: "app_new", Created: time.Now()})
				}
			}})
			found, err := a.client(byRAM).Applications(t.Context())
			lacks := !slices.Contains(listedIDs(found), "app_0100")
			if requests := a.Requests(simulator.Applications); err != nil || lacks != created ||
				requests != map[bool]int{false: 4, true: 2}[created] {
				t.Errorf("created %v: lacks a live one: %v, %d requests, %v", created, lacks, requests, err)
			}
		})
	}
}

// An application that cannot be watched has a Problem. One of an unknown type has none.
func TestApplicationsWithAProblem(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	for _, tt := range []struct{ id, kind, status, problem string }{
		{"app_a", "agent", "enabled", ""},
		{"app_a", "robot", "enabled", ""},
		{"app_a", "", "enabled", ""},
		{"app_a", "agent", "disabled", "left out"},
		{"app_a", "agent", "deleted", "left out"},
		{"app_a", "agent", "ENABLED", `unknown Status "ENABLED"; known: enabled, disabled`},
		{"app\n", "agent", "enabled", "not a text of 1 to 512 bytes without control characters"},
		{strings.Repeat("a", 513), "agent", "enabled", "not a text of 1 to 512 bytes without control characters"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(simulator.Config{}))
			body := fmt.Sprintf(
				`{"Applications":[{"ApplicationId":%q,"ApplicationIdentityType":%q,"Status":%q}],"TotalCount":1}`, tt.id, tt.kind, tt.status,
			)
			a.Inject(simulator.Fault{Operation: simulator.Applications, Kind: simulator.Status, Status: 200, Body: body})
			var want []poller.Listed
			if tt.problem != "left out" {
				want = []poller.Listed{{Identifier: tt.id, Type: tt.kind, Problem: tt.problem}}
			}
			if found, err := a.client(byRAM).Applications(t.Context()); err != nil || !slices.Equal(found, want) {
				t.Errorf("%q %q: %+v, %v", tt.id, tt.status, found, err)
			}
		})
	}
}
