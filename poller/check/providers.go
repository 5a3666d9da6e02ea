package check

import (
	"context"
	"slices"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxNamed is the number of unwatched applications that are listed by name.
const maxNamed = 10

// discover reads the needed lists and finds the targets in them.
func (p *preflight) discover(ctx context.Context) {
	defer p.credentials(p.method != viaRAM)
	lists := &poller.Lists{}
	for _, list := range []poller.List{poller.Providers, poller.Applications} {
		if p.Watch.Needs(list) {
			lists = p.list(ctx, list, lists)
		}
	}
	found, err := p.Watch.Resolve(lists)
	if err != nil {
		p.add(Failed, stepDiscovery, "targets", err.Error(), "set match in the targets file so that fewer targets are found")
		return
	}
	p.Targets = found.Targets
	p.found(stepDiscovery, "targets", "", "with those found: %d", len(p.Targets))
	for _, t := range found.Hidden {
		p.found(stepDiscovery, t.Label+" at "+t.Provider, "give one of the two consumers another alias",
			"not watched: another consumer has the same label")
	}
	if found.Unwatched == nil {
		return
	}
	names, advice := "", ""
	for i, u := range found.Unwatched {
		advice = "add them to the targets file; those not to be watched with credential_providers: none"
		switch {
		case i < maxNamed:
			names += ", " + u.Label
		case i == maxNamed:
			names += " …"
		}
	}
	p.found(stepApplications, "unwatched", advice, "%d%s", len(found.Unwatched), strings.Replace(names, ",", ":", 1))
}

// list reads a list and returns lists with it.
func (p *preflight) list(ctx context.Context, list poller.List, lists *poller.Lists) *poller.Lists {
	step, read := stepProviders, p.client.Providers
	if list == poller.Applications {
		step, read = stepApplications, p.client.Applications
	}
	p.now("listing %s", step)
	found, err := read(ctx)
	if err != nil {
		p.fail(ctx, step, "all", err)
		return lists
	}
	enabled := slices.DeleteFunc(slices.Clone(found), func(f poller.Listed) bool { return f.Problem != "" })
	known := map[string]poller.Listed{}
	for _, item := range enabled {
		known[item.Identifier] = item
	}
	advice := ""
	if len(enabled) == 0 {
		advice = "create or enable one, or check IDAAS_INSTANCE_ID and IDAAS_MANAGEMENT_ENDPOINT: no target is found"
	}
	p.found(step, "all", advice, "enabled: %d", len(enabled))
	for _, f := range found {
		if f.Problem != "" {
			p.found(step, f.Identifier, "it is not watched: change its identifier; report an unknown Status to this project", "%s", f.Problem)
		}
	}
	for _, at := range p.Watch.Idle(list, enabled) {
		p.found(step, at, "correct its match, type or identity, unless a match will be added", "matches none of the enabled: %d", len(enabled))
	}
	return lists.With(list, poller.Belief{Known: known})
}
