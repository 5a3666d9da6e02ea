// Package check is the preflight: it asks one IDaaS instance as the exporter would, and tells what it found and what to do.
package check

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

// Config of a Run.
type Config struct {
	Client      idaas.Config    // its Events and Log are not used, and of its Retries one at most
	Targets     []poller.Target // of this process
	Schedule    poller.Schedule
	Concurrency int      // targets walked at once when polling; a Run reads one after the other
	Warnings    []string // about settings that are legal but odd
}

// The steps, in their order.
const (
	stepSettings  = "settings"
	stepDiscovery = "discovery"
	stepAccess    = "access token"
	stepTarget    = "target"
	stepClock     = "clock"
	stepWays      = "instance's ways"
	stepRequests  = "requests"
)

const (
	// samplePages of a list are read, and one of each list after the first closeTargets.
	samplePages  = 3
	closeTargets = 20

	maxSkew = time.Minute
)

// preflight is one Run. Everything happens in one goroutine.
type preflight struct {
	Config
	client   *idaas.Client
	findings []Finding
	read     []reading
	life     time.Duration  // of a fetched access token; 0: unknown
	skew     *time.Duration // the one least in doubt; nil: unknown
	listed   int            // requests of the list call that were answered well
	listTime time.Duration
}

// reading is what was read of a target.
type reading struct {
	subject string
	idaas.Sample
}

// Run looks at everything. It always returns: what cannot be looked at is skipped.
func Run(ctx context.Context, c Config) Report {
	p := &preflight{Config: c}
	c.Client.Retries = min(c.Client.Retries, 1)
	c.Client.Log = slog.New(slog.DiscardHandler)
	c.Client.Events = idaas.Events{Skew: p.tellSkew, Request: p.tellRequest}
	p.client = idaas.New(c.Client)

	p.add(stepSettings, OK, "", count(len(c.Targets), "target"), "")
	for _, w := range c.Warnings {
		p.add(stepSettings, Warning, "", w, "change it, unless it is meant so")
	}
	switch {
	case !p.locate(ctx):
		p.skip(stepAccess, stepDiscovery+" failed")
		p.skip(stepTarget, stepDiscovery+" failed")
	case !p.authenticate(ctx):
		p.skip(stepTarget, stepAccess+" failed")
	default:
		p.readTargets(ctx)
	}
	p.clock()
	if len(p.read) == 0 {
		p.skip(stepWays, "no target was read")
		p.skip(stepRequests, "no target was read")
	} else {
		p.ways()
		p.predict()
	}
	return Report{p.findings}
}

// add adds a finding; what a server says of itself is made safe for a terminal.
func (p *preflight) add(step string, status Status, subject, detail, advice string) {
	clean := func(text string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, text)
	}
	p.findings = append(p.findings, Finding{status, step, clean(subject), clean(detail), clean(advice)})
}

func (p *preflight) skip(step, why string) { p.add(step, Skipped, "", why, "") }

func (p *preflight) fail(ctx context.Context, step, subject string, err error) {
	if ctx.Err() != nil {
		p.add(step, Failed, subject, "interrupted", "run it again, and let it finish")
		return
	}
	p.add(step, Failed, subject, err.Error(), p.advice(step, err))
}

func (p *preflight) tellSkew(d time.Duration) {
	if p.skew == nil || d.Abs() < p.skew.Abs() {
		p.skew = &d
	}
}

func (p *preflight) tellRequest(operation, code string, took time.Duration) {
	if operation == idaas.OpList && code == "200" {
		p.listed++
		p.listTime += took
	}
}

func (p *preflight) locate(ctx context.Context) bool {
	at, err := p.client.Locate(ctx)
	if err != nil {
		p.fail(ctx, stepDiscovery, p.Client.Domain, err)
		return false
	}
	p.add(stepDiscovery, OK, "instance", at.ID, "")
	p.add(stepDiscovery, OK, "API", at.Endpoint, "")
	if at.TokenEndpoint != "" {
		p.add(stepDiscovery, OK, "token endpoint", at.TokenEndpoint, "")
	}
	return true
}

func (p *preflight) authenticate(ctx context.Context) bool {
	subject := p.Client.Auth.Method
	if p.ready() {
		subject = "given"
	}
	t, err := p.client.Authenticate(ctx)
	if err != nil {
		p.fail(ctx, stepAccess, subject, err)
		return false
	}
	life, scope := "lifetime unknown", ", scope unknown"
	if !t.Expires.IsZero() {
		p.life = time.Until(t.Expires)
		life = "good for " + short(p.life)
	}
	if t.Scope != "" {
		scope = ", scope " + t.Scope
	}
	p.add(stepAccess, OK, subject, life+scope, "")
	return true
}

// readTargets samples one target after the other, until failures show that the others would fail too.
func (p *preflight) readTargets(ctx context.Context) {
	inARow := 0 // failures that may be any target's
	for i, t := range p.Targets {
		pages := samplePages
		if i >= closeTargets {
			pages = 1
		}
		subject := t.Label + " at " + t.Provider
		s, err := p.client.Sample(ctx, t, pages)
		if err == nil {
			inARow = 0
			p.read = append(p.read, reading{subject, s})
			p.tellSample(subject, s)
			continue
		}
		p.fail(ctx, stepTarget, subject, err)
		anyones, sure := common(err)
		if !anyones {
			inARow = 0
			continue
		}
		inARow++
		if left := len(p.Targets) - i - 1; left > 0 && (ctx.Err() != nil || sure && len(p.read) == 0 || inARow == 3) {
			p.skip(stepTarget, count(left, "more target")+" not tried: they would fail the same way")
			return
		}
	}
}

// common reports whether a failure may be any target's, and surely is if no target was read before.
func common(err error) (anyones, sure bool) {
	switch poller.ReasonOf(err) {
	case poller.Connection, poller.Unauthorized, poller.AccessToken, poller.Throttled:
		return true, true
	case poller.Timeout, poller.ServerError, poller.Malformed:
		return true, false
	}
	return strings.Contains(idaas.CodeOf(err), "instance"), true
}

func (p *preflight) tellSample(subject string, s idaas.Sample) {
	if s.Tokens == 0 && s.Complete {
		p.add(stepTarget, Warning, subject, "no tokens", "the API answers an unknown consumer with an empty list: "+
			"unless none was issued yet, check the id in IDAAS_TARGETS or IDAAS_TARGETS_FILE")
		return
	}
	reported := "totalCount absent"
	if s.Reported >= 0 {
		reported = count(int(s.Reported), "token") + " reported"
	}
	p.add(stepTarget, OK, subject, fmt.Sprintf("%s, %d read: %s of %d, the first in %s",
		reported, s.Tokens, count(s.Pages, "page"), s.Size, short(s.Took)), "")
}

func (p *preflight) clock() {
	if p.skew == nil {
		p.skip(stepClock, "no answer told the time")
		return
	}
	detail := short(p.skew.Abs()) + " behind the server's, give or take 1s"
	if *p.skew < 0 {
		detail = short(p.skew.Abs()) + " ahead of the server's, give or take 1s"
	}
	if p.skew.Abs() <= maxSkew {
		p.add(stepClock, OK, "", detail, "")
		return
	}
	p.add(stepClock, Failed, "", detail, "set this machine's clock by NTP: tokens would be seen to expire at the wrong time, and signed "+
		"or timed credentials be refused")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
