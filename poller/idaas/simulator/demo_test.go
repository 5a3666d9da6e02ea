package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestDemoStories checks that the demo shows its states from its start until an hour later.
func TestDemoStories(t *testing.T) {
	begin := time.Date(2026, 5, 1, 12, 34, 56, 789, time.UTC)
	for _, after := range []time.Duration{0, time.Second, 5 * time.Minute, time.Hour} {
		now := begin
		d := NewDemo(func() time.Time { return now })
		now = begin.Add(after)
		count := func(consumer, provider string) Counts { return d.Handler.Count(consumer, provider, now) }
		expiring := func(consumer, provider string, within time.Duration) int {
			return d.Handler.Expiring(consumer, provider, now, within)
		}
		orders, crm := count(demoBilling, demoOrders), count(demoBilling, demoCRM)
		checkout, ci := count(demoCheckout, demoOrders), count(demoCI, demoOrders)
		github, report := count(demoCI, demoGitHub), count(demoReport, demoWarehouse)
		nightly := count(demoReport, demoCRM)
		agent, idle := count(demoAgent, demoCRM), count(demoImporter, demoWarehouse)
		for story, holds := range map[string]bool{
			"short JWTs are alive, the newest for minutes": orders.Active == 3 && expiring(demoBilling, demoOrders, 9*time.Minute) < 3,
			"some expire within minutes":                   expiring(demoBilling, demoOrders, 6*time.Minute) > 0,
			"some have expired":                            orders.Expired == 12 && crm.Expired == 1,
			"an OAuth token lasts for weeks":               crm.Active == 1 && expiring(demoBilling, demoCRM, 30*demoDay) == 0,
			"a busy one has more than a page":              checkout.Total > 100,
			"some are revoked":                             ci.Revoked > 10 && ci.Active > 0 && count(demoAgent, demoOrders).Revoked > 1,
			"one is about to end for hours": github.Active == 1 && expiring(demoCI, demoGitHub, time.Hour) == 0 && expiring(
				demoCI, demoGitHub, 6*time.Hour,
			) == 1,
			"one is lost":       report == Counts{Total: 10, Expired: 10},
			"one is paused":     nightly.Active == 0 && nightly.Expired >= 34,
			"some never expire": agent.Active == 2 && agent.WithoutExpiration == 2 && agent.Revoked == 1,
			"one has none":      idle == Counts{},
		} {
			if !holds {
				t.Errorf("after %s it is not so that %s", after, story)
			}
		}
	}
}

func TestDemoRotates(t *testing.T) {
	now := epoch
	d := NewDemo(func() time.Time { return now })
	for range 240 {
		now = now.Add(15 * time.Second)
		for _, target := range []DemoTarget{
			{demoBilling, demoOrders}, {demoCheckout, demoOrders}, {demoCheckout, demoWarehouse}, {demoAgent, demoOrders},
		} {
			if c := d.Handler.Count(target.Consumer, target.Provider, now); c.Active == d.Handler.Expiring(
				target.Consumer, target.Provider, now, 6*time.Minute,
			) {
				t.Errorf("%v at %s: all of %+v end within 6 minutes", target, now, c)
			}
		}
	}
}

func TestDemoOverHTTP(t *testing.T) {
	now := epoch
	d := NewDemo(func() time.Time { return now })
	server := httptest.NewServer(d.Handler)
	defer server.Close()
	f := &fixture{Server: d.Handler, t: t, url: server.URL}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {d.ClientID}, "client_secret": {d.ClientSecret}, "scope": {ReadScope},
	}
	var access struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(f.post(form).body), &access); err != nil {
		t.Fatal(err)
	}
	list := func(target DemoTarget) response {
		t.Helper()
		values := url.Values{"consumerId": {target.Consumer}, "credentialProviderIdentifier": {target.Provider}, "maxResults": {"100"}}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/v2/"+d.InstanceID+"/authenticationTokens?"+values.Encode(), nil)
		r.Header.Set("Authorization", "Bearer "+access.Token)
		return f.do(r)
	}
	consumers := map[string]bool{}
	seen := map[string]bool{}
	for _, target := range d.Targets {
		consumers[target.Consumer] = true
		answer := list(target)
		var page listed
		if err := json.Unmarshal([]byte(answer.body), &page); err != nil || answer.status != http.StatusOK {
			t.Fatalf("%+v: %+v", target, answer)
		}
		if want := d.Handler.Count(target.Consumer, target.Provider, now).Total; *page.Total != want || len(page.Entities) != min(want, 100) {
			t.Errorf("%+v: %d of %d tokens, want %d", target, len(page.Entities), *page.Total, want)
		}
		for _, e := range page.Entities {
			if seen[e.ID] || !strings.HasPrefix(e.ID, "atntkn_") {
				t.Errorf("id %q", e.ID)
			}
			seen[e.ID] = true
		}
	}
	if len(consumers) != 6 {
		t.Errorf("%d consumers", len(consumers))
	}
	flaky := DemoTarget{demoReport, demoCRM}
	for minute := range 16 {
		now = epoch.Add(time.Duration(minute)*time.Minute + 30*time.Second)
		want := map[int]int{0: 503, 4: 429}[minute%8]
		if got := list(flaky).status; got != max(want, 200) {
			t.Errorf("minute %d: %d", minute, got)
		}
		if got := list(d.Targets[0]).status; got != http.StatusOK {
			t.Errorf("minute %d, another target: %d", minute, got)
		}
	}
}
