package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

const (
	maxPages = 100 // of a target that is compared
	maxTries = 3   // of a comparison, since tokens may be issued or removed meanwhile

	adviceLive = "set IDAAS_WALK=full, unless the instance filters by revoked and expired, and counts correctly; " +
		"run this again if tokens were issued or removed meanwhile"
)

var errLong = fmt.Errorf("more than %d pages", maxPages)

// bounded is a Client whose walks fail after maxPages.
type bounded struct{ client *idaas.Client }

func (b bounded) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return bound(b.client.Pages(ctx, t))
}

func (b bounded) LivePages(ctx context.Context, t poller.Target, prev *poller.Census, always bool) iter.Seq2[poller.Page, error] {
	return bound(b.client.LivePages(ctx, t, prev, always))
}

func bound(pages iter.Seq2[poller.Page, error]) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		n := 0
		for page, err := range pages {
			if n++; n > maxPages && err == nil && page.Dead == nil {
				page, err = poller.Page{}, errLong
			}
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// compare walks targets in full and live, and reports whether IDAAS_WALK=live is correct with this instance.
func (p *preflight) compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	dead, requests, full, compared := 0, 0, 0, 0
	for i, t := range p.small {
		subject := t.Label + " at " + t.Provider
		p.now("comparing walks of target %d of %d: %s", i+1, len(p.small), subject)
		for try := 1; ; try++ {
			all, _, err := poller.Walk(ctx, bounded{p.client}, nil, t)
			var live *poller.Census
			var unproved *poller.Unproved
			if err == nil {
				live, unproved, err = poller.Walk(ctx, bounded{p.client}, bounded{p.client}, t)
			}
			if errors.Is(err, errLong) {
				break
			}
			if errors.Is(err, context.DeadlineExceeded) {
				p.add(Failed, stepLive, subject, fmt.Sprintf("not finished within %v", p.Timeout),
					"increase IDAAS_POLL_TIMEOUT, or run this with fewer targets")
				return
			}
			if err != nil {
				p.fail(ctx, stepLive, subject, err)
				return
			}
			now := time.Now()
			found, want := live.At(now), all.At(now)
			found.LastActive, want.LastActive = 0, 0 // the time of the walk
			if unproved == nil && reflect.DeepEqual(found, want) && live.Reported == all.Reported {
				dead += all.Expired + all.Revoked
				requests += live.Pages
				full += all.Pages
				compared++
				break
			}
			if try == maxTries {
				detail := fmt.Sprintf("%s; by the full walk: %s", counts(found), counts(want))
				if unproved != nil {
					detail = "live walk repeated in full: " + unproved.Why
				}
				p.add(Failed, stepLive, subject, detail, adviceLive)
				return
			}
		}
	}
	switch {
	case compared == 0:
		p.found(stepLive, "", adviceLive, "not compared: no target was read that has at most %d pages", maxPages)
	case dead == 0:
		p.found(stepLive, "", adviceLive, "the same for %d targets, but none has an expired or revoked token", compared)
	default:
		p.found(stepLive, "", "", "the same as the full walk for %d of %d targets, with %d requests instead of %d",
			compared, len(p.Targets), requests, full)
	}
}

func counts(s poller.States) string {
	return fmt.Sprintf("%d active, %d expired, %d revoked", s.Active, s.Expired, s.Revoked)
}

// progress is the current step of a Run, and the number of its requests.
type progress struct {
	step     atomic.Value // string
	requests atomic.Int64
}

// now sets the current step.
func (p *progress) now(format string, args ...any) { p.step.Store(fmt.Sprintf(format, args...)) }

// report writes a line to out every 10 s until stop is called.
func (p *progress) report(out io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var reporting sync.WaitGroup
	reporting.Go(func() {
		for {
			select {
			case <-time.After(10 * time.Second):
				fmt.Fprintf(out, "%s; requests so far: %d\n", p.step.Load(), p.requests.Load())
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); reporting.Wait() }
}
