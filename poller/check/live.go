package check

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	// maxCompared is the most tokens of a target that is walked in both ways.
	maxCompared = 10_000
	// maxTries is how often that is tried: what comes or goes meanwhile makes a difference.
	maxTries = 3
)

// compare walks targets both ways, and tells whether IDAAS_WALK=live can be trusted with this instance.
func (p *preflight) compare(ctx context.Context) {
	if len(p.small) == 0 {
		p.add(Warning, stepLive, "", fmt.Sprintf("not compared: no target was read that has at most %d tokens", maxCompared), adviceLive)
		return
	}
	dead, requests, full := 0, 0, 0
	for _, t := range p.small {
		subject := t.Label + " at " + t.Provider
		var live, all *poller.Census
		var err error
		for try := range maxTries {
			if all, err = poller.Walk(ctx, p.client, nil, t); err == nil {
				live, err = poller.Walk(ctx, p.client, p.client, t)
			}
			if err != nil {
				p.fail(ctx, stepLive, subject, err)
				return
			}
			now := time.Now()
			found, want := live.At(now), all.At(now)
			found.LastActive, want.LastActive = 0, 0 // the time of the walk
			if reflect.DeepEqual(found, want) && live.Reported == all.Reported {
				break
			}
			if try == maxTries-1 {
				p.add(Failed, stepLive, subject, fmt.Sprintf("%s, but the full walk: %s", told(found), told(want)), adviceLive)
				return
			}
		}
		dead += all.Expired + all.Revoked
		requests += live.Pages
		full += all.Pages
	}
	if dead == 0 {
		p.add(Warning, stepLive, "", fmt.Sprintf("the same for %d targets, none of which has an expired or revoked token: that shows nothing", len(p.small)), adviceLive)
		return
	}
	p.add(OK, stepLive, "", fmt.Sprintf("the same as the full walk for %d of %d targets, with %d requests instead of %d", len(p.small), len(p.Targets), requests, full), "")
}

func told(s poller.States) string {
	return fmt.Sprintf("%d active, %d expired, %d revoked", s.Active, s.Expired, s.Revoked)
}

const adviceLive = "leave IDAAS_WALK at full, unless you know that the instance filters by revoked and expired, and counts what it filters right; " +
	"run this again, if tokens may just have come or gone"
