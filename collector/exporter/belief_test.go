package exporter

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	failed    = "discovery failed, targets unchanged"
	recovered = "discovery recovered"
)

// p1 is a credential provider in a list.
func p1(status string) string {
	return `{"CredentialProviderIdentifier":"p1","CredentialProviderType":"jwt","Status":"` + status + `"}`
}

// lists has the API list only these enabled providers from now on; a text with a { is the whole body.
func (f *fixture) lists(ids string) {
	if f.remove != nil {
		f.remove()
	}
	body := ids
	if !strings.Contains(ids, "{") {
		var entries []string
		for _, id := range strings.Fields(ids) {
			entries = append(entries, fmt.Sprintf(`{"CredentialProviderIdentifier":%q,"CredentialProviderType":"jwt","Status":"enabled"}`, id))
		}
		body = fmt.Sprintf(`{"CredentialProviders":[%s],"TotalCount":%d}`, strings.Join(entries, ","), len(entries))
	}
	f.remove = f.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Status, Status: 200, Body: body})
}

func (f *fixture) reload() {
	f.Helper()
	if err := f.app.reloader.Reload(); err != nil {
		f.Error(err)
	}
	f.pass(time.Second)
}

// wantLogged compares how often text was logged so far.
func (f *fixture) wantLogged(text string, times int) {
	f.Helper()
	if n := strings.Count(f.log.String(), text); n != times {
		f.Errorf("%q was logged %d times, want %d:\n%s", text, n, times, f.log.String())
	}
}

// wantTargets is want, whether or not they were read.
func (f *fixture) wantTargets(what, targets string) {
	f.Helper()
	var got []string
	for _, r := range f.app.poller.Snapshot().Readings {
		got = append(got, r.Target.Label+"@"+r.Target.Provider)
	}
	if text := strings.Join(got, " "); text != targets {
		f.Errorf("%s: %q, want %q\n%s", what, text, targets, f.log.String())
	}
}

// A list that may be wrong drops no target until it is believed.
func TestDoubtedLists(t *testing.T) {
	const all = "a@p1 a@p2 a@p3 a@p4 a@p5"
	withKeys(t)
	for name, tt := range map[string]struct {
		list  string
		first string        // what is watched once it was read
		after time.Duration // when it is believed; 0: not until an operator reloads
		then  string        // what is watched then
	}{
		"an empty list":                 {"", all, 0, ""},
		"a null list and a total of 0":  {`{"CredentialProviders":null,"TotalCount":0}`, all, 0, ""},
		"no list and a total of 0":      {`{"TotalCount":0}`, all, 0, ""},
		"an empty list without a total": {`{"CredentialProviders":[]}`, all, 0, ""},
		"all are disabled":              {`{"CredentialProviders":[` + p1("disabled") + `],"TotalCount":1}`, all, 0, ""},
		"all have another status":       {`{"CredentialProviders":[` + p1("Enabled") + `],"TotalCount":1}`, all, 0, ""},
		"two of five":                   {"p1 p2", all, 24 * time.Hour, "a@p1 a@p2"},
		"two of five and some others":   {"p1 p2 q1 q2 q3 q4", all, 24 * time.Hour, "a@p1 a@p2 a@q1 a@q2 a@q3 a@q4"},
		"others only":                   {"q1 q2 q3 q4 q5 q6", all, 24 * time.Hour, "a@q1 a@q2 a@q3 a@q4 a@q5 a@q6"},
		"three of five, and one other":  {"p1 p2 p3 q1", all + " a@q1", time.Minute, "a@p1 a@p2 a@p3 a@q1"},
		"half a list, by its total":     {`{"CredentialProviders":[` + p1("enabled") + `],"TotalCount":5}`, all, -1, all},
		"beside an error object":        {`{"CredentialProviders":[],"TotalCount":0,"Code":"Throttled.Hidden","Message":"x"}`, all, -1, all},
		"an error object":               {`{"error":{"code":"x"},"TotalCount":null}`, all, -1, all},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, "[{consumer: a, credential_providers: {type: jwt}}]")
				f.lists("p1 p2 p3 p4 p5")
				f.start("IDAAS_REQUEST_RETRIES=0")
				defer func() { f.stop() }()
				f.wantTargets("at first", all)
				f.lists(tt.list)
				f.pass(10 * time.Minute)
				f.wantTargets("after one list", tt.first)
				if doubted := tt.after != time.Minute; (f.metric(success) == "0") != doubted {
					t.Errorf("success is %s", f.metric(success))
				} else if doubted {
					f.wantLogged(failed, 1)
				}
				if tt.after > 0 {
					f.pass(tt.after - 2*time.Second - time.Minute*2*time.Duration(max(0, tt.after/time.Hour)/24))
					f.wantTargets("before the end", tt.first)
					f.pass(5 * time.Minute)
				} else {
					f.pass(25 * time.Hour)
					f.wantTargets("after 25 hours", all)
					f.wantLogged(failed, 1)
					f.reload()
				}
				f.wantTargets("in the end", tt.then)
				if (f.metric(success) == "0") != (tt.after < 0) {
					t.Errorf("success is %s in the end", f.metric(success))
				}
			})
		})
	}
}

// A provider that one list lacks is looked for again a minute later, and is never dropped by one list.
func TestMissingOnce(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.lists("p1 p2 p3")
		f.start()
		defer func() { f.stop() }()
		f.lists("p1 p2")
		f.pass(10*time.Minute + 30*time.Second)
		f.wantTargets("missing once", "a@p1 a@p2 a@p3")
		f.lists("p1 p2 p3")
		f.pass(31 * time.Second)
		if n := f.Requests(simulator.Providers); n != 3 {
			t.Errorf("%d lists within a minute", n)
		}
		f.pass(9 * time.Minute)
		if n := f.Requests(simulator.Providers); n != 3 {
			t.Errorf("%d lists: the next is ten minutes later", n)
		}
		f.lists("p1 p2")
		f.pass(time.Minute)
		f.wantTargets("missing once more", "a@p1 a@p2 a@p3")
		f.pass(time.Minute)
		f.wantTargets("missing twice", "a@p1 a@p2")
		f.wantLogged("targets changed", 2)
		f.wantLogged(failed, 0)
	})
}

// Only a valid reload that an operator asks for confirms a doubted list, and only one that is doubted by then.
func TestWhatConfirmsADoubtedList(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.lists("p1 p2 p3")
		f.start()
		defer func() { f.stop() }()
		f.reload() // nothing is doubted yet
		f.lists("")
		f.pass(10 * time.Minute)
		f.wantTargets("doubted", "a@p1 a@p2 a@p3")
		f.write("[{consumer: a, credential_providers: all}, {consumer: b, credential_providers: [p1]}]")
		f.pass(time.Minute)
		f.wantTargets("the file has changed", "b@p1 a@p1 a@p2 a@p3")
		f.write("[]")
		if err := f.app.reloader.Reload(); err == nil {
			t.Error("an empty file is taken")
		}
		f.pass(time.Minute)
		f.wantTargets("a bad reload", "b@p1 a@p1 a@p2 a@p3")
		f.write("[{consumer: b, credential_providers: [p1]}, {consumer: a, credential_providers: all}]")
		f.reload()
		f.wantTargets("confirmed", "b@p1")
		if f.metric(success) != "1" {
			t.Error("the list is still doubted")
		}
		f.wantLogged(recovered, 1)
		f.lists("p2")
		f.pass(10 * time.Minute)
		f.wantTargets("and later", "b@p1 a@p2")
	})
}

// What is believed outlives restarts: `once` too drops what two runs did not find, and a doubt goes on.
func TestBeliefAcrossRestarts(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		state := "IDAAS_STATE_FILE=" + filepath.Join(t.TempDir(), "state")
		restart := func(list, what, targets string) {
			t.Helper()
			if f.stop != nil {
				f.stop()
			}
			f.lists(list)
			f.start(state)
			f.wantTargets(what, targets)
		}
		restart("p1 p2 p3", "at first", "a@p1 a@p2 a@p3")
		restart("p1 p2", "missing once", "a@p1 a@p2 a@p3")
		restart("p1 p2", "missing twice", "a@p1 a@p2")
		restart("", "none", "a@p1 a@p2")
		restart("", "still none", "a@p1 a@p2")
		f.stop()
		f.log.Reset()
		f.lists(`{`)
		f.start(state, "IDAAS_REQUEST_RETRIES=0")
		f.reload()
		f.wantTargets("a doubt from before the restart is confirmed", "")
		restart("q1", "less than half", "a@q1")
		restart("q2", "others only", "a@q1")
		f.stop()
		f.pass(24 * time.Hour)
		f.start(state)
		f.wantTargets("others only, for a day", "a@q2")
		f.stop()
		f.wantLogged("targets changed", 3) // not at a restart that finds the same
	})
}

// A target that discovery loses and finds again shows its facts at once, though it cannot be read.
func TestFactsOfATargetThatReturns(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.Add("a", "p1", simulator.Token{})
		f.Add("a", "p2", simulator.Token{})
		state := "IDAAS_STATE_FILE=" + filepath.Join(t.TempDir(), "state")
		f.start(state)
		f.SetProvider(simulator.Provider{Identifier: "p2", Disabled: true})
		f.pass(12 * time.Minute)
		f.want("gone", "a@p1")
		f.stop()
		f.pass(6 * 24 * time.Hour)
		f.start(state)
		defer func() { f.stop() }()
		f.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
		f.SetProvider(simulator.Provider{Identifier: "p2"})
		f.pass(11 * time.Minute)
		f.want("back", "a@p1 a@p2")
	})
}

// Discovery and the targets file have timers of their own: a schedule of six hours delays neither.
func TestDiscoveryBetweenPolls(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.Add("a", "p1", simulator.Token{})
		remove := f.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Status, Status: 500})
		f.start("IDAAS_REQUEST_RETRIES=0")
		defer func() { f.stop() }()
		f.want("a failure at the start", "")
		remove()
		f.pass(time.Minute)
		f.want("a minute later", "a@p1")
		f.write("[{consumer: a, credential_providers: all}, {consumer: b, credential_providers: [p1]}]")
		f.pass(11 * time.Second)
		f.want("the file has changed", "b@p1 a@p1")
		f.wantLogged("targets changed", 2)
		f.reload()
		f.wantLogged("targets changed", 2)
	})
}

// A found provider that cannot be watched is logged once, and again only after it was well.
func TestProvidersThatCannotBeWatched(t *testing.T) {
	const status = `{"CredentialProviders":[{"CredentialProviderIdentifier":"p1","CredentialProviderType":"jwt","Status":"enabled"},
		{"CredentialProviderIdentifier":"p 2","CredentialProviderType":"jwt","Status":"enabled"},
		{"CredentialProviderIdentifier":"p3","CredentialProviderType":"jwt","Status":"active"}],"TotalCount":3}`
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.lists(status)
		f.start()
		defer func() { f.stop() }()
		f.pass(time.Hour)
		f.wantTargets("those that can be", "a@p1")
		f.wantLogged(`msg="listed item not watched" list="credential providers" id="p 2" problem="not an identifier of`, 1)
		f.wantLogged(`msg="listed item not watched" list="credential providers" id=p3 problem="unknown Status \"active\"`, 1)
		f.lists("p1")
		f.pass(10 * time.Minute)
		f.lists(status)
		f.pass(10 * time.Minute)
		f.wantLogged("listed item not watched", 4)
	})
}

// A list that leads to more targets than are accepted counts as failed, and so does a reload.
func TestTooManyFound(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		consumers := func(n int) string {
			var entries []string
			for i := range n {
				entries = append(entries, fmt.Sprintf("{consumer: c%d, credential_providers: {match: '^x'}}", i))
			}
			return "[" + strings.Join(entries, ", ") + ", {consumer: a, credential_providers: {match: '^p'}}]"
		}
		many := "p1 p2 "
		for i := range 1001 {
			many += fmt.Sprint("x", i, " ")
		}
		f := newFixture(t, consumers(100))
		f.lists("p1")
		f.start("IDAAS_SHARD_COUNT=20") // so that it has few of them
		defer func() { f.stop() }()
		f.lists(many)
		f.pass(10 * time.Minute)
		if f.metric(success) != "0" {
			t.Error("the list is taken")
		}
		f.wantLogged("more than 100000 targets", 1)
		f.write(consumers(99))
		f.reload()
		f.pass(time.Minute)
		if f.metric(success) != "1" {
			t.Error("the list is not taken")
		}
		f.write(consumers(100))
		if err := f.app.reloader.Reload(); err == nil || !strings.Contains(err.Error(), "more than 100000 targets") {
			t.Errorf("reload: %v", err)
		}
	})
}
