package exporter

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	consumerSuccess = "idaas_consumer_discovery_success"
	unwatched       = "idaas_consumers_unwatched"
)

// shown returns the shown targets, sorted, as label@provider.
func (f *fixture) shown() string {
	var targets []string
	for _, r := range f.app.shown().Readings {
		targets = append(targets, r.Target.Label+"@"+r.Target.Provider)
	}
	slices.Sort(targets)
	return strings.Join(targets, " ")
}

func (f *fixture) wantShown(what, targets, unwatchedOnes string) {
	f.Helper()
	if got := f.shown(); got != targets {
		f.Errorf("%s: %q, want %q\n%s", what, got, targets, f.log.String())
	}
	if got := f.metric(unwatched); got != unwatchedOnes {
		f.Errorf("%s: %q unwatched, want %q", what, got, unwatchedOnes)
	}
}

// Applications appear, are renamed, disabled and deleted; their list and that of the providers fail independently.
func TestConsumers(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumers: {match: '^prod-'}, credential_providers: all}, {consumer: app_1, credential_providers: [p2]}]")
		f.SetProvider(simulator.Provider{Identifier: "p1"})
		f.SetProvider(simulator.Provider{Identifier: "p2", Disabled: true})
		f.SetApplication(simulator.Application{ID: "app_1", Name: "prod-one"})
		f.SetApplication(simulator.Application{ID: "app_exporter", Name: "exporter"})
		f.start("IDAAS_CONSUMER_LABEL=name", "IDAAS_REQUEST_RETRIES=0")
		defer func() { f.stop() }()
		f.wantShown("at first", "prod-one@p1 prod-one@p2", "0")
		f.SetApplication(simulator.Application{ID: "app_2", Name: "prod-two", Identity: "agent"})
		f.SetApplication(simulator.Application{ID: "app_3", Name: "test-three"})
		f.pass(10 * time.Minute)
		f.wantShown("a new one", "prod-one@p1 prod-one@p2 prod-two@p1", "1")
		f.SetApplication(simulator.Application{ID: "app_1", Name: "prod-first"})
		f.pass(10 * time.Minute)
		f.wantShown("renamed", "prod-first@p1 prod-first@p2 prod-two@p1", "1")

		remove := f.Inject(simulator.Fault{Operation: simulator.Applications, Kind: simulator.Status, Status: 403})
		f.SetProvider(simulator.Provider{Identifier: "p3"})
		f.pass(20 * time.Minute)
		f.wantShown("while one list fails", "prod-first@p1 prod-first@p2 prod-first@p3 prod-two@p1 prod-two@p3", "1")
		if f.metric(success) != "1" || f.metric(consumerSuccess) != "0" {
			t.Errorf("%s %s", f.metric(success), f.metric(consumerSuccess))
		}
		f.wantLogged("discovery failed, targets unchanged\" list=applications", 1)
		remove()
		f.SetApplication(simulator.Application{ID: "app_1", Name: "prod-first", Disabled: true})
		f.pass(3 * time.Minute)
		f.wantShown("disabled: what is named stays, with its name", "prod-first@p2 prod-two@p1 prod-two@p3", "1")
		if f.metric(consumerSuccess) != "1" || f.metric("idaas_consumer_discovery_last_success_timestamp_seconds") == "" {
			t.Error("its metrics")
		}
		f.RemoveApplication("app_3")
		f.pass(11 * time.Minute)
		f.wantShown("deleted", "prod-first@p2 prod-two@p1 prod-two@p3", "0")

		f.write("[{consumer: app_1, credential_providers: [p2]}]")
		f.reload()
		f.wantShown("nothing found, but names", "prod-first@p2", "1")
	})
}

// Without discovery and names, no list is read and nothing is said about those unwatched.
func TestNoConsumersWanted(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumers: all, credential_providers: [p1]}]")
		f.SetApplication(simulator.Application{ID: "app_1"})
		f.start()
		defer func() { f.stop() }()
		f.wantShown("at first", "app_1@p1", "0")
		f.write("[{consumer: app_1, credential_providers: [p1]}]")
		f.reload()
		f.wantShown("no more", "app_1@p1", "")
		before := f.Requests(simulator.Applications)
		f.pass(time.Hour)
		if n := f.Requests(simulator.Applications) - before; n != 0 || f.metric(consumerSuccess) != "" {
			t.Errorf("%d requests, success %q", n, f.metric(consumerSuccess))
		}
	})
}

// With names and no list known, targets are shown after the first attempt to get one, and after a minute at most.
func TestWaitingForNames(t *testing.T) {
	withKeys(t)
	for name, tt := range map[string]struct {
		fault  simulator.Fault
		after  time.Duration // until targets are shown
		target string
	}{
		"at once": {simulator.Fault{Operation: simulator.Access, Kind: simulator.Slow}, 0, "one@p1"},
		"a slow list": {
			simulator.Fault{Operation: simulator.Applications, Kind: simulator.Slow, Delay: 5 * time.Second}, 5 * time.Second, "one@p1",
		},
		"no list": {simulator.Fault{Operation: simulator.Applications, Kind: simulator.Hang}, time.Minute, "app_1@p1"},
		"refused": {simulator.Fault{Operation: simulator.Applications, Kind: simulator.Status, Status: 403}, 0, "app_1@p1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, "[{consumer: app_1, credential_providers: [p1]}]")
				f.Add("app_1", "p1", simulator.Token{})
				f.SetApplication(simulator.Application{ID: "app_1", Name: "one"})
				f.Inject(tt.fault)
				f.start("IDAAS_CONSUMER_LABEL=name", "IDAAS_REQUEST_TIMEOUT=1h")
				defer func() { f.stop() }()
				if tt.after > 0 {
					f.pass(tt.after - 2*time.Second)
					if got := f.shown(); got != "" || f.metric("idaas_poll_targets") != "0" {
						t.Errorf("%s is shown before", got)
					}
					f.pass(2 * time.Second)
				}
				if got := f.shown(); got != tt.target {
					t.Errorf("%q, want %q\n%s", got, tt.target, f.log.String())
				}
			})
		})
	}
}

// After a restart, the lists of the state file give targets and names without the API, those of former applications too.
func TestConsumersAfterARestart(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumers: {match: two}, credential_providers: [p1]}, {consumer: app_1, credential_providers: [p1]}]")
		f.SetProvider(simulator.Provider{Identifier: "p1"})
		f.SetApplication(simulator.Application{ID: "app_1", Name: "one"})
		f.SetApplication(simulator.Application{ID: "app_2", Name: "two"})
		f.SetApplication(simulator.Application{ID: "app_3", Name: "three"})
		state := []string{"IDAAS_STATE_FILE=" + filepath.Join(t.TempDir(), "state"), "IDAAS_CONSUMER_LABEL=name"}
		f.start(state...)
		f.RemoveApplication("app_1")
		f.pass(12 * time.Minute)
		f.wantShown("before", "one@p1 two@p1", "1")
		f.stop()
		f.Inject(simulator.Fault{Kind: simulator.Reset})
		f.start(state...)
		defer func() { f.stop() }()
		f.wantShown("restored", "one@p1 two@p1", "1")
		f.pass(20 * time.Minute)
		f.wantShown("later", "one@p1 two@p1", "1")
	})
}

// A target that is shown as another one is left out and logged once.
func TestHiddenTargetsAreLogged(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, alias: twin, credential_providers: [p1]}, {consumers: all, credential_providers: [p1]}]")
		f.SetApplication(simulator.Application{ID: "twin"})
		f.start()
		defer func() { f.stop() }()
		f.SetApplication(simulator.Application{ID: "other"})
		f.pass(time.Hour)
		f.wantShown("without it", "other@p1 twin@p1", "0")
		f.wantLogged(`msg="target left out" consumer=twin credential_provider=p1`, 1)
	})
}

// A model: applications come and go, also while their list is read. One that lives is never dropped, and one that was deleted is.
func TestApplicationsDeletedMeanwhile(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumers: all, credential_providers: [p1]}]")
		random := rand.New(rand.NewPCG(1, 2))
		live, next := []string{}, 0
		create := func() {
			next++
			id := fmt.Sprintf("app_%06d", next)
			f.SetApplication(simulator.Application{ID: id, Created: time.Now().Add(time.Duration(next-1000) * time.Millisecond)})
			live = append(live, id)
		}
		for range 150 {
			create()
		}
		f.start("IDAAS_POLL_SCHEDULE=@yearly")
		defer func() { f.stop() }()
		lacking := 0
		for range 60 {
			done := make(chan struct{})
			f.Inject(simulator.Fault{Operation: simulator.Applications, Page: 1, Times: 1, Kind: simulator.Slow, Then: func() {
				i := random.IntN(len(live))
				f.RemoveApplication(live[i])
				live = slices.Delete(live, i, i+1)
				create() // the total is the same
				close(done)
			}})
			<-done
			f.pass(time.Second)
			if lists := f.app.shown().Lists; lists.Applications.Missing != nil {
				lacking++
			}
			watched := " " + f.shown() + " "
			for _, id := range live[:len(live)-1] {
				if !strings.Contains(watched, " "+id+"@p1 ") {
					t.Fatalf("%s lives and was dropped", id)
				}
			}
			f.pass(25 * time.Minute)
			if want := strings.Join(live, "@p1 ") + "@p1"; f.shown() != want {
				t.Fatalf("watched are %d, alive %d", len(strings.Fields(f.shown())), len(live))
			}
		}
		if lacking < 20 {
			t.Errorf("%d lists lacked an application", lacking)
		}
	})
}

// Three shards agree on who watches whom while lists change, fail and are doubted.
func TestShardsAgree(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		const entries = "[{consumers: {match: '^prod'}, credential_providers: all}, {consumers: {identity: agent}, credential_providers: [p1]}]"
		f := newFixture(t, entries)
		random := rand.New(rand.NewPCG(3, 4))
		set := func(i int) {
			f.SetApplication(simulator.Application{
				ID: fmt.Sprintf("app_%03d", i), Name: fmt.Sprint([]string{"prod-", "test-", ""}[random.IntN(3)], random.IntN(50)),
				Identity: []string{"agent", ""}[random.IntN(2)], Disabled: random.IntN(8) == 0,
			})
		}
		for i := range 120 {
			set(i)
		}
		for i := range 6 {
			f.SetProvider(simulator.Provider{Identifier: fmt.Sprint("p", i)})
		}
		shards := []*fixture{
			{T: t, Server: f.Server, file: f.file},
			{T: t, Server: f.Server, file: f.file},
			{T: t, Server: f.Server, file: f.file},
			f,
		}
		for i, s := range shards {
			index, count := fmt.Sprint("IDAAS_SHARD_INDEX=", i), "IDAAS_SHARD_COUNT=3"
			if s == f {
				index, count = "IDAAS_SHARD_INDEX=0", "IDAAS_SHARD_COUNT=1"
			}
			s.start(index, count, "IDAAS_CONSUMER_LABEL=name", "IDAAS_POLL_SCHEDULE=@yearly")
			defer s.stop()
		}
		for round := range 30 {
			for range 5 {
				set(random.IntN(120))
			}
			f.SetProvider(simulator.Provider{Identifier: fmt.Sprint("p", random.IntN(6)), Disabled: random.IntN(3) == 0})
			kinds := []simulator.FaultKind{simulator.Throttle, simulator.HalfList, simulator.EmptyList, simulator.Reset}
			remove := f.Inject(simulator.Fault{
				Operation: []string{simulator.Applications, simulator.Providers}[random.IntN(2)], Kind: kinds[random.IntN(4)],
				Times: 1 + random.IntN(3),
			})
			f.pass(15 * time.Minute)
			remove()
			f.pass(15 * time.Minute)
			var all []string
			for i, s := range shards[:3] {
				if all = append(all, strings.Fields(s.shown())...); s.metric(unwatched) != f.metric(unwatched) {
					t.Errorf("round %d: shard %d has %s unwatched, one process has %s", round, i, s.metric(unwatched), f.metric(unwatched))
				}
			}
			slices.Sort(all)
			if got := strings.Join(all, " "); got != f.shown() {
				t.Fatalf("round %d: the shards watch\n%s\none process watches\n%s", round, got, f.shown())
			}
		}
	})
}

// The demo finds one more consumer two minutes after its start.
func TestDemoFindsAConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
		demo := simulator.NewDemo(time.Now)
		f := &fixture{T: t, Server: demo.Handler, network: Network{
			RAM: ram.Credentials{ID: demo.AccessKeyID, Secret: demo.AccessKeySecret}, DiscoverEvery: time.Minute,
		}}
		f.start("IDAAS_INSTANCE_ID="+demo.InstanceID, "IDAAS_CLIENT_ID="+demo.ClientID, "IDAAS_CLIENT_SECRET="+demo.ClientSecret,
			"IDAAS_TARGETS=billing:orders_jwt", "IDAAS_CONSUMER_LABEL=name", "IDAAS_POLL_SCHEDULE=@every 15s")
		defer func() { f.stop() }()
		if err := f.app.cfg.AddTargets(demo.Found); err != nil {
			t.Fatal(err)
		}
		f.reload()
		f.wantShown("at first", "billing@orders_jwt", "2")
		f.pass(100 * time.Second)
		f.wantShown("before", "billing@orders_jwt", "2")
		f.pass(20 * time.Second)
		f.wantShown("after two minutes", "billing@orders_jwt refund-agent@orders_jwt", "2")
		f.pass(5 * time.Second)
		f.want("read", "billing@orders_jwt refund-agent@orders_jwt")
	})
}
