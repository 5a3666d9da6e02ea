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

	adviceLive = "leave IDAAS_WALK at full, unless you know that the instance filters by revoked and expired, and counts what it filters right; " +
		"run this again, if tokens may just have come or gone"
)

// compare walks targets both ways, and tells whether IDAAS_WALK=live can be trusted with this instance.
func (p *preflight) compare(ctx context.Context) {
	dead, requests, full := 0, 0, 0
	for _, t := range p.small {
		subject := t.Label + " at " + t.Provider
		for try := 1; ; try++ {
			all, err := poller.Walk(ctx, p.client, nil, t)
			var live *poller.Census
			if err == nil {
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
				dead += all.Expired + all.Revoked
				requests += live.Pages
				full += all.Pages
				break
			}
			if try == maxTries {
				p.add(Failed, stepLive, subject, fmt.Sprintf("%s, but the full walk: %s", told(found), told(want)), adviceLive)
				return
			}
		}
	}
	switch n := len(p.small); {
	case n == 0:
		p.found(stepLive, "", adviceLive, "not compared: no target was read that has at most %d tokens", maxCompared)
	case dead == 0:
		p.found(stepLive, "", adviceLive, "the same for %d targets, none of which has an expired or revoked token: that shows nothing", n)
	default:
		p.found(stepLive, "", "", "the same as the full walk for %d of %d targets, with %d requests instead of %d", n, len(p.Targets), requests, full)
	}
}

func told(s poller.States) string {
	return fmt.Sprintf("%d active, %d expired, %d revoked", s.Active, s.Expired, s.Revoked)
}
