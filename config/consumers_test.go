package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

var testApplications = []poller.Listed{
	{Identifier: "app_1", Type: "application", Name: "prod-billing", Created: 1},
	{Identifier: "app_2", Type: "agent", Name: "prod-agent", Created: 2},
	{Identifier: "app_3", Type: "agent", Name: "test-agent", Created: 3},
	{Identifier: "app_4", Type: "robot", Name: "prod-robot", Created: 4},
	{Identifier: "app_5", Created: 5},
	{Identifier: "app_own", Type: "application", Name: "exporter", Created: 6},
}

// resolved returns what c means with the lists of the tests.
func resolved(t *testing.T, c *Config, applications []poller.Listed) poller.Resolved {
	t.Helper()
	found, err := c.Watch.Resolve(listsOf(testProviders, applications))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func labelsOf(unwatched []poller.Unwatched) string {
	var labels []string
	for _, u := range unwatched {
		labels = append(labels, u.Label)
	}
	return strings.Join(labels, " ")
}

func TestFoundConsumers(t *testing.T) {
	for name, tt := range map[string]struct{ entries, want, unwatched string }{
		"all at a provider": {
			"{consumers: all, credential_providers: [p]}", "app_1@p app_2@p app_3@p app_4@p app_5@p app_own@p", "",
		},
		"that match, by name":   {"{consumers: {match: '^prod-'}, credential_providers: [p]}", "app_1@p app_2@p app_4@p", "app_3 app_5"},
		"without a name, by id": {"{consumers: {match: '^app_5$'}, credential_providers: [p]}", "app_5@p", "app_1 app_2 app_3 app_4"},
		"of an identity":        {"{consumers: {identity: [agent]}, credential_providers: [p]}", "app_2@p app_3@p app_5@p", "app_1 app_4"},
		"of one identity, as text": {
			"{consumers: {identity: application, match: billing}, credential_providers: [p]}", "app_1@p", "app_2 app_3 app_4 app_5",
		},
		"of both": {
			"{consumers: {identity: [application, agent], match: '^prod'}, credential_providers: [p]}", "app_1@p app_2@p", "app_3 app_4 app_5",
		},
		"at found providers": {
			"{consumers: {match: billing}, credential_providers: {type: jwt}}", "app_1@dev-jwt app_1@prod-jwt", "app_2 app_3 app_4 app_5",
		},
		"at none": {
			"{consumers: {match: '^test-'}, credential_providers: none}, {consumer: app_1, credential_providers: [p]}, " +
				"{consumer: app_2, credential_providers: none}", "app_1@p", "app_4 app_5",
		},
		"none does not exclude": {
			"{consumers: {match: '^test-'}, credential_providers: none}, {consumers: {match: agent}, credential_providers: [p]}",
			"app_2@p app_3@p", "app_1 app_4 app_5",
		},
		"matches none": {"{consumers: {match: '^x'}, credential_providers: [p]}", "", "app_1 app_2 app_3 app_4 app_5"},
		"an alias of a found one": {
			"{consumers: {match: billing}, credential_providers: [p]}, {consumer: app_1, alias: bills, credential_providers: none}",
			"bills@p", "app_2 app_3 app_4 app_5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := all(t, "targets: ["+tt.entries+"]", "IDAAS_CLIENT_ID=app_own")
			found := resolved(t, c, testApplications)
			if got := shownTargets(found.Targets); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			if got := labelsOf(found.Unwatched); got != tt.unwatched || found.Unwatched == nil {
				t.Errorf("unwatched: %s\nwant %s", got, tt.unwatched)
			}
			if !c.Watch.Needs(poller.Applications) || c.Watch.Needs(poller.Providers) != strings.Contains(tt.entries, "type") {
				t.Error("the wrong lists are needed")
			}
			if unknown := resolved(t, c, nil); unknown.Unwatched != nil {
				t.Error("unwatched without a list")
			}
		})
	}
}

// Of the entries that give a pair, the one that names most of it takes precedence, and of equals the first.
func TestWhichEntryTakesPrecedence(t *testing.T) {
	entry := func(consumer, providers, after string) string {
		return fmt.Sprintf("{%s, credential_providers: %s, lost_after: %s}", consumer, providers, after)
	}
	entries := []string{
		entry("consumers: all", "all", "6s"), entry("consumers: {match: '^prod'}", "all", "5s"),
		entry("consumers: all", "[prod-jwt]", "4s"), entry("consumers: {match: prod}", "[prod-jwt]", "3s"),
		entry("consumer: app_1", "{type: jwt}", "2s"), entry("consumer: app_1", "all", "7s"),
		entry("consumer: app_1", "[prod-jwt]", "1s"),
	}
	for _, order := range []bool{false, true} {
		if order {
			slices.Reverse(entries)
		}
		c := all(t, "targets: ["+strings.Join(entries, ", ")+"]")
		got := map[string]float64{}
		for _, target := range resolved(t, c, testApplications[:3]).Targets {
			got[target.Consumer+"@"+target.Provider] = target.Thresholds.LostAfter.Seconds()
			if named := target.Consumer == "app_1" && target.Provider == "prod-jwt"; target.Found == named {
				t.Errorf("%s at %s: found is %v", target.Consumer, target.Provider, target.Found)
			}
		}
		want := map[string]float64{
			"app_1@prod-jwt": 1, "app_1@dev-jwt": 2, "app_1@prod-oauth": 7,
			"app_2@prod-jwt": 4, "app_2@dev-jwt": 6, "app_3@prod-jwt": 4, "app_3@dev-jwt": 6,
		}
		if order {
			want = map[string]float64{
				"app_1@prod-jwt": 1, "app_1@dev-jwt": 7, "app_1@prod-oauth": 7,
				"app_2@prod-jwt": 3, "app_2@dev-jwt": 5, "app_3@prod-jwt": 4, "app_3@dev-jwt": 6,
			}
		}
		for pair, after := range want {
			if got[pair] != after {
				t.Errorf("reversed %v: %s has the entry %v, want %v", order, pair, got[pair], after)
			}
		}
		if len(got) != 9 {
			t.Errorf("%d targets", len(got))
		}
	}
}

// A name is shown if it is a valid text that no alias, no other id and no older application has.
func TestNames(t *testing.T) {
	const at = ", credential_providers: [p]}"
	app := func(id, name string, created int64) poller.Listed {
		return poller.Listed{Identifier: id, Type: "agent", Name: name, Created: created}
	}
	one := app("app_1", "one", 1)
	for name, tt := range map[string]struct {
		entries      string
		applications []poller.Listed
		label        string
		want         string // label=id shown beside it
	}{
		"names":          {"{consumers: all" + at, []poller.Listed{one, app("app_2", "two", 2)}, "name", "one=app_1 two=app_2"},
		"ids":            {"{consumers: all" + at, []poller.Listed{one}, "id", "app_1="},
		"hashes":         {"{consumers: all" + at, []poller.Listed{one}, "hash", "d1437d2e5c54="},
		"of a named one": {"{consumer: app_1" + at + ", {consumer: user" + at, []poller.Listed{one}, "name", "one=app_1 user="},
		"none": {
			"{consumers: all" + at,
			[]poller.Listed{app("app_1", "", 1), app("app_2", "a\nb", 2), app("app_3", strings.Repeat("n", 513), 3)},
			"name", "app_1= app_2= app_3=",
		},
		"an alias": {"{consumers: all" + at + ", {consumer: app_1, alias: x" + at, []poller.Listed{one}, "name", "x=app_1"},
		"an alias, with ids": {
			"{consumers: all" + at + ", {consumer: app_1, alias: x" + at, []poller.Listed{one}, "id", "x=app_1",
		},
		"the alias of another": {
			"{consumer: user, alias: one" + at + ", {consumers: all" + at, []poller.Listed{one}, "name", "one= app_1=",
		},
		"the id of another": {
			"{consumer: user" + at + ", {consumers: all" + at,
			[]poller.Listed{app("app_1", "user", 1), app("app_2", "app_1", 2)},
			"name", "user= app_1= app_2=",
		},
		"two share it": {
			"{consumers: all" + at,
			[]poller.Listed{app("app_1", "one", 3), app("app_2", "one", 2), app("app_3", "one", 2)},
			"name", "app_1= one=app_2 app_3=",
		},
		"one that is not watched has it": {
			"{consumers: {identity: application}" + at + ", {consumer: app_2" + at, []poller.Listed{one, app("app_2", "one", 2)}, "name", "app_2=",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := all(t, "targets: ["+tt.entries+"]", "IDAAS_CONSUMER_LABEL="+tt.label)
			var got []string
			for _, target := range resolved(t, c, tt.applications).Targets {
				got = append(got, target.Label+"="+target.Application)
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("%s\nwant %s", text, tt.want)
			}
			if c.Watch.Names() != (tt.label == "name") {
				t.Error("names")
			}
		})
	}
}

// Unwatched applications are shown as consumers are.
func TestUnwatchedLabels(t *testing.T) {
	apps := []poller.Listed{{Identifier: "app_1", Name: "one", Type: "agent"}}
	for label, want := range map[string]poller.Unwatched{
		"id":   {Label: "app_1", Listed: apps[0]},
		"name": {Label: "one", Listed: apps[0]},
		"hash": {Label: "d1437d2e5c54", Listed: poller.Listed{Type: "agent"}},
	} {
		c := all(t, "targets: [{consumers: {match: '^x'}, credential_providers: [p]}]", "IDAAS_CONSUMER_LABEL="+label)
		if got := resolved(t, c, apps).Unwatched; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v", label, got)
		}
	}
}

// The last known name of a named consumer stays when its application leaves the list.
func TestRememberedNames(t *testing.T) {
	c := all(t, "targets: [{consumer: app_1, credential_providers: [p]}, {consumers: all, credential_providers: [p]}]",
		"IDAAS_CONSUMER_LABEL=name")
	lists := listsOf(nil, testApplications[:2])
	for i := range 3 {
		next := listsOf(nil, []poller.Listed{{Identifier: "app_9", Name: "prod-billing", Created: 9}})
		next.Former = c.Watch.Remembered(lists, next)
		if found, err := c.Watch.Resolve(next); err != nil || shownTargets(found.Targets) != "prod-billing@p app_9@p" {
			t.Errorf("list %d: %s, %v", i, shownTargets(found.Targets), err)
		}
		lists = next
	}
	again := listsOf(nil, []poller.Listed{{Identifier: "app_1", Name: "renamed", Created: 1}})
	if again.Former = c.Watch.Remembered(lists, again); again.Former != nil {
		t.Errorf("remembered: %v", again.Former)
	}
	if found, _ := c.Watch.Resolve(again); shownTargets(found.Targets) != "renamed@p" {
		t.Errorf("listed again: %s", shownTargets(found.Targets))
	}
}

// A target that is shown as another one at the same provider is left out: two series would be one.
func TestHiddenTargets(t *testing.T) {
	c := all(t, "targets: [{consumer: user, alias: other, credential_providers: [p]}, {consumers: all, credential_providers: [p, q]}]")
	found := resolved(t, c, []poller.Listed{{Identifier: "other"}})
	if got := shownTargets(found.Targets); got != "other@p other@q" || found.Targets[0].Consumer != "user" ||
		shownTargets(found.Hidden) != "other@p" {
		t.Errorf("%s, hidden %s", got, shownTargets(found.Hidden))
	}
}

// Each pair belongs to the same shard whatever its label is; each shard counts the unwatched of all.
func TestShardsOfFoundConsumers(t *testing.T) {
	shards := map[string]int{}
	for i, label := range []string{"id", "name", "hash"} {
		for index := range 3 {
			c := all(t, "targets: [{consumers: {match: prod}, credential_providers: all}]", "IDAAS_CONSUMER_LABEL="+label,
				"IDAAS_SHARD_COUNT=3", fmt.Sprint("IDAAS_SHARD_INDEX=", index))
			found := resolved(t, c, testApplications)
			if len(found.Unwatched) != 3 {
				t.Errorf("%d unwatched", len(found.Unwatched))
			}
			for _, target := range found.Targets {
				key := target.Consumer + "@" + target.Provider
				if shard, known := shards[key]; known != (i > 0) || known && shard != index {
					t.Errorf("%s is of shard %d and of %d", key, shard, index)
				}
				shards[key] = index
			}
		}
	}
	if len(shards) != 9 {
		t.Errorf("%d targets", len(shards))
	}
}

func TestIdleConsumers(t *testing.T) {
	c := all(t, "targets:\n- {consumers: {match: '^x'}, credential_providers: [p, q]}\n- {consumers: all, credential_providers: none}\n"+
		"- {consumers: {identity: agent, match: billing}, credential_providers: all}\n")
	if got := c.Watch.Idle(poller.Applications, testApplications); len(got) != 2 || !strings.HasSuffix(got[0], ":2") ||
		!strings.HasSuffix(got[1], ":4") {
		t.Error(got)
	}
}

func TestConsumersFaults(t *testing.T) {
	const at = ", credential_providers: [p]}"
	for file, want := range map[string][]string{
		"{consumers: {identity: [agent, robot]}" + at: {`targets.yaml:2="robot": unknown identity; accepted: application, agent`},
		"{consumers: {identity: }" + at:               {"targets.yaml:2: identity is not a text of 1 to 512 bytes without control characters"},
		"{consumers: {identity: []}" + at:             {"targets.yaml:2: identity is not a list with at least one item"},
		"{consumers: {match: '['}" + at: {
			"targets.yaml:2: error parsing regexp: missing closing ]: `[`; accepted: a regular expression (RE2)",
		},
		"{consumers: {name: x}" + at: {`targets.yaml:2="name": unknown key; accepted: identity, match`},
		"{consumers: some" + at:      {"targets.yaml:2: consumers is neither all nor a mapping with the keys identity, match"},
		"{consumers: [a]" + at:       {"targets.yaml:2: consumers is neither all nor a mapping with the keys identity, match"},
		"{consumers: " + at:          {"targets.yaml:2: consumers is neither all nor a mapping with the keys identity, match"},
		"{consumers: {identity: robot, match: '['},\n   consumer: a" + at: {
			"targets.yaml:2: consumers together with consumer; accepted: one of them",
			`targets.yaml:2="robot": unknown identity; accepted: application, agent`,
			"targets.yaml:2: error parsing regexp: missing closing ]: `[`; accepted: a regular expression (RE2)",
		},
		"{consumers: all, credential_providers: some}": {
			"targets.yaml:2: credential_providers is neither all nor none, it is not a list with at least one item",
		},
		"{consumer: a, alias: app_x" + at: {
			`targets.yaml:2="app_x": an alias that begins with app_, as the ids of applications do; accepted: another one`,
		},
		"{consumers: all,\n   consumer: a" + at:                {"targets.yaml:2: consumers together with consumer; accepted: one of them"},
		"{consumers: all,\n   alias: a" + at:                   {`targets.yaml:3="a": alias together with consumers; accepted: with consumer`},
		"{credential_providers: [p]}":                          {"targets.yaml:2: neither consumer nor consumers"},
		"{consumers: all}":                                     {"targets.yaml:2: credential_providers is missing"},
		"{consumers: all, credential_providers: [p/q]}":        {`targets.yaml:2="p/q": not an identifier of 1 to 64 letters, digits and . - _`},
		"{consumers: all, credential_providers: {type: saml}}": {`targets.yaml:2="saml": unknown type; accepted: jwt, oauth`},
	} {
		_, err := fileTargets(t, false, "", "targets:\n- "+file+"\n")
		faults, ok := errors.AsType[Faults](err)
		if !ok {
			t.Errorf("%s: no fault", file)
			continue
		}
		wantFaults(t, faults, want...)
	}
}

// What needs a list is refused if the management API is unknown.
func TestConsumersWithoutManagementAPI(t *testing.T) {
	_, err := load([]string{
		"IDAAS_INSTANCE_ID=i", "IDAAS_ENDPOINT=https://api.example.com", "IDAAS_ACCESS_TOKEN=a", "IDAAS_TARGETS=a:p", "IDAAS_CONSUMER_LABEL=name",
	})
	faults, _ := errors.AsType[Faults](err)
	wantFaults(t, faults, "IDAAS_MANAGEMENT_ENDPOINT: required by IDAAS_CONSUMER_LABEL=name, because IDAAS_ENDPOINT contains no region")
}
