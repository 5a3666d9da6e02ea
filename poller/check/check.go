// Package check is the preflight: it asks one IDaaS instance as the exporter would, and tells what it found and what to do.
package check

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

// Config of a Run.
type Config struct {
	Client  idaas.Config    // its Events are not used, and of its Retries one at most
	Targets []poller.Target // of this process
	// Watch, nil where no list is needed, reports which are, returns the targets with lists, and the places of entries that select
	// nothing in a list.
	Watch interface {
		Needs(list poller.List) bool
		Resolve(lists *poller.Lists) (poller.Resolved, error)
		Idle(list poller.List, found []poller.Listed) []string
	}
	Schedule    poller.Calendar
	Live        bool          // walks are to be live
	Timeout     time.Duration // of the comparison with live walks
	Progress    io.Writer     // gets a line every 10 s
	Concurrency int           // targets walked at once when polling; a Run reads one after the other
	Warnings    []string      // about settings that are legal but odd
}

// Status is how a finding turned out.
type Status string

// Every Status.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Finding is one line of the table. Its texts are printable, one line each, and hold no secret and no raw consumer id.
type Finding struct {
	Status  Status `json:"status"`
	Step    string `json:"step"`
	Subject string `json:"subject"` // what of the step: a target, a client, …; may be empty
	Detail  string `json:"detail"`  // what was found
	Advice  string `json:"advice"`  // what to do; empty when ok or skipped
}

// Report is what a Run found.
type Report struct{ Findings []Finding }

// The steps, in their order.
const (
	stepSettings     = "settings"
	stepDiscovery    = "discovery"
	stepAccess       = "access token"
	stepProviders    = "providers"
	stepApplications = "applications"
	stepTarget       = "target"
	stepClock        = "clock"
	stepWays         = "instance's ways"
	stepRequests     = "requests"
	stepLive         = "live walk" // only if Live
)

// samplePages of a list are read at most.
const samplePages = 3

// preflight is one Run. Everything happens in one goroutine.
type preflight struct {
	Config
	Report
	client *idaas.Client
	method string // to get an access token, or given
	read   []idaas.Sample
	small  []poller.Target // of those read, the ones to be walked both ways
	skew   *time.Duration  // the one least in doubt; nil: unknown
	waiting
}

// events updates a preflight.
type events struct {
	idaas.NoEvents
	*preflight
}

// Skew keeps the smallest skew, which has the smallest error.
func (e events) Skew(d time.Duration) {
	if e.skew == nil || d.Abs() < e.skew.Abs() {
		e.skew = &d
	}
}

// Request counts an attempt.
func (e events) Request(string, string, time.Duration) { e.requests.Add(1) }

// Run looks at everything. It always returns: what cannot be looked at is skipped.
func Run(ctx context.Context, c Config) Report {
	p := &preflight{Config: c, method: c.Client.Auth.Method}
	if c.Client.AccessToken.Given() {
		p.method = given
	}
	c.Client.Retries = min(c.Client.Retries, 1)
	c.Client.Events = events{preflight: p}
	p.client = idaas.New(c.Client)
	p.now("finding the instance")
	defer p.report(c.Progress)()

	p.found(stepSettings, "", "", "targets: %d", len(c.Targets))
	for _, w := range c.Warnings {
		p.found(stepSettings, "", "change it, unless it is meant so", "%s", w)
	}
	located := p.locate(ctx)
	if located && p.Watch != nil {
		p.discover(ctx)
	}
	if located && p.authenticate(ctx) {
		p.readTargets(ctx)
	} else {
		p.add(Skipped, stepTarget, "", "not tried without what failed", "")
	}
	p.clock()
	if len(p.read) > 0 {
		p.ways()
		p.predict()
		if p.Live {
			p.compare(ctx)
		}
	} else {
		p.add(Skipped, stepWays, "", "no target was read", "")
		p.add(Skipped, stepRequests, "", "no target was read", "")
	}
	return p.Report
}

// add adds a finding. Its subject and its detail, which may be what a server says of itself, are made safe for a terminal.
func (p *preflight) add(status Status, step, subject, detail, advice string) {
	printable := func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}
	subject, detail = strings.Map(printable, subject), strings.Map(printable, detail)
	p.Findings = append(p.Findings, Finding{status, step, subject, detail, advice})
}

// found adds what is well or, if there is advice on it, not quite.
func (p *preflight) found(step, subject, advice, format string, args ...any) {
	status := OK
	if advice != "" {
		status = Warning
	}
	p.add(status, step, subject, fmt.Sprintf(format, args...), advice)
}

func (p *preflight) fail(ctx context.Context, step, subject string, err error) {
	advice := p.advice(step, err)
	if ctx.Err() != nil {
		advice = "this was interrupted: run it again, and let it finish"
	}
	p.add(Failed, step, subject, err.Error(), advice)
}

func (p *preflight) locate(ctx context.Context) bool {
	at, err := p.client.Locate(ctx)
	if err != nil {
		p.fail(ctx, stepDiscovery, p.Client.Domain, err)
		return false
	}
	p.found(stepDiscovery, "instance", "", "%s", at.ID)
	p.found(stepDiscovery, "API", "", "%s", at.Endpoint)
	p.found(stepDiscovery, "token endpoint", "", "%s", cmp.Or(at.TokenEndpoint, "none needed"))
	if p.method == viaRAM || p.Watch != nil {
		p.found(stepDiscovery, "management API", "", "%s", cmp.Or(at.Management, "unknown"))
	}
	return true
}

func (p *preflight) authenticate(ctx context.Context) bool {
	p.now("getting an access token")
	expires, scope, err := p.client.Authenticate(ctx)
	if err != nil {
		p.fail(ctx, stepAccess, p.method, err)
		p.credentials(p.method == viaRAM)
		return false
	}
	life := "lifetime unknown"
	if !expires.IsZero() {
		life = "good for " + time.Until(expires).Round(time.Second).String()
	}
	advice := ""
	if p.otherAudience() {
		advice = known.Phrases["{audience}"]
	}
	p.found(stepAccess, p.method, advice, "%s, scope %s", life, cmp.Or(scope, "unknown"))
	p.credentials(p.method == viaRAM)
	return true
}

// credentials reports which RAM credentials were used.
func (p *preflight) credentials(used bool) {
	if c := p.client.RAM(); used && c.Source != "" {
		p.found(stepAccess, "RAM credentials", "", "access key %s, %s", c.Key(), c.Source)
	}
}

// readTargets samples one target after the other, unless the first failure shows that the others would fail too.
func (p *preflight) readTargets(ctx context.Context) {
	for i, t := range p.Targets {
		subject := t.Label + " at " + t.Provider
		p.now("reading target %d of %d: %s", i+1, len(p.Targets), subject)
		s, err := p.client.Sample(ctx, t, samplePages)
		if err == nil {
			p.read = append(p.read, s)
			if s.Reported <= int64(maxPages*s.Size) {
				p.small = append(p.small, t)
			}
			reported, advice := "absent", ""
			if s.Reported >= 0 {
				reported = strconv.FormatInt(s.Reported, 10)
			}
			if s.Tokens == 0 && s.Complete && !t.Found {
				advice = "the API may answer an unknown consumer with an empty list, too: unless none was issued yet, check the id in " +
					"IDAAS_TARGETS or IDAAS_TARGETS_FILE"
			}
			p.found(stepTarget, subject, advice, "totalCount %s, tokens read %d, pages read %d, page size %d, first page in %v",
				reported, s.Tokens, s.Pages, s.Size, s.Took.Round(time.Millisecond))
			continue
		}
		p.fail(ctx, stepTarget, subject, err)
		// Failures that any target would have.
		shared := []poller.Reason{poller.Connection, poller.Timeout, poller.Unauthorized, poller.AccessToken}
		hopeless := ctx.Err() != nil || len(p.read) == 0 && s.Pages == 0 && slices.Contains(shared, poller.ReasonOf(err))
		if left := len(p.Targets) - i - 1; left > 0 && hopeless {
			p.add(Skipped, stepTarget, "", fmt.Sprintf("the other %d not tried: they would likely fail the same way", left), "")
			return
		}
	}
}

func (p *preflight) clock() {
	if p.skew == nil {
		p.add(Skipped, stepClock, "", "no answer told the time", "")
		return
	}
	side := "behind"
	if *p.skew < 0 {
		side = "ahead of"
	}
	status, advice := OK, ""
	if p.skew.Abs() > time.Minute {
		status = Failed
		advice = "set this machine's clock by NTP: tokens would seem to expire at the wrong time, and signed credentials be refused"
	}
	p.add(status, stepClock, "", fmt.Sprintf("%v %s the server's, give or take 1s", p.skew.Abs().Round(time.Second), side), advice)
}

// ways tells what the instance does where the API's documents are silent.
func (p *preflight) ways() {
	var tokens, never, seconds, right, silent, withID int
	var ends, limits []string
	size := p.Client.PageSize
	for _, s := range p.read {
		tokens += s.Tokens
		never += s.WithoutExpiration
		seconds += s.InSeconds
		size = min(size, s.Size)
		limits = append(limits, s.RateLimit...)
		if s.RequestID {
			withID++
		}
		if s.Reported < 0 {
			silent++
		}
		if s.Complete {
			ends = append(ends, "nextToken "+s.End)
		}
		if s.Complete && s.Reported == int64(s.Tokens) {
			right++
		}
	}
	p.found(stepWays, "expirationTime", "", "absent, null or 0 for %d of %d tokens, in seconds for %d", never, tokens, seconds)
	advice := ""
	if silent > 0 || right < len(ends) {
		advice = "totalCount cannot be relied on: idaas_poll_reported_tokens is then no check of the counts; " +
			"run this again, if tokens may just have come or gone"
	}
	p.found(stepWays, "totalCount", advice, "absent for %d of %d targets, right for %d of %d lists read to the end",
		silent, len(p.read), right, len(ends))
	p.found(stepWays, "end of a list", "", "%s", cmp.Or(distinct(ends), fmt.Sprintf("not seen within %d pages", samplePages)))
	if size < p.Client.PageSize {
		advice := fmt.Sprintf("set IDAAS_PAGE_SIZE=%d, or find the limit in between", size)
		p.found(stepWays, "page size", advice, "%d refused, fell back to %d", p.Client.PageSize, size)
	} else {
		p.found(stepWays, "page size", "", "%d accepted", size)
	}
	headers := cmp.Or(distinct(limits), "no rate-limit headers")
	p.found(stepWays, "headers", "", "request id for %d of %d targets; %s", withID, len(p.read), headers)
}

func distinct(texts []string) string {
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}

const day = 24 * time.Hour

// predict tells what full walks of all targets take, by the schedule and the rate limit.
func (p *preflight) predict() {
	requests, longest, about := len(p.Targets)-len(p.read), 1, "about"
	if requests > 0 {
		about = "at least"
	}
	var firsts time.Duration
	for _, s := range p.read {
		pages := s.Pages
		if !s.Complete {
			// By the tokens a page had, which may be fewer than were asked for.
			pages = max(pages+1, (int(s.Reported)*s.Pages+s.Tokens-1)/max(1, s.Tokens))
			if s.Reported < int64(s.Tokens) {
				about = "at least"
			}
		}
		requests += pages
		longest = max(longest, pages)
		firsts += s.Took
	}
	paced := time.Duration(float64(requests) / p.Client.RateLimit * float64(time.Second))
	inTurn := max(longest, requests/max(1, p.Concurrency))
	cycle := max(paced, firsts/time.Duration(len(p.read))*time.Duration(inTurn))
	cycles, interval := agenda(p.Schedule, time.Now())

	advice := ""
	if interval > 0 && cycle > interval {
		advice = "a cycle cannot end before the next is due: poll less often (IDAAS_POLL_SCHEDULE), or raise IDAAS_RATE_LIMIT as far as " +
			"the API's quota allows, IDAAS_PAGE_SIZE (100 at most) or, if answers are slow, IDAAS_POLL_CONCURRENCY"
	}
	p.found(stepRequests, "a cycle", advice, "%s %d in %v, due every %v", about, requests, cycle.Round(time.Millisecond), interval)
	p.found(stepRequests, "a day", "", "%s %d, besides a few for access tokens; %.0f would fit the limit of %g/s",
		about, cycles*requests, p.Client.RateLimit*day.Seconds(), p.Client.RateLimit)
}

// agenda returns how often s comes due within a day of now, and the shortest time between.
func agenda(s poller.Calendar, now time.Time) (cycles int, shortest time.Duration) {
	due := s.Next(now)
	shortest = s.Next(due).Sub(due)
	for !due.IsZero() && due.Sub(now) <= day && cycles < int(day/time.Second) {
		next := s.Next(due)
		shortest = min(shortest, next.Sub(due))
		due = next
		cycles++
	}
	return cycles, shortest
}

// Failed reports whether anything did.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Status == Failed })
}

// JSON writes the report for machines: {"failed": …, "findings": […]}.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"failed": r.Failed(), "findings": r.Findings})
}

// Table writes the report for people. Advice stands under the last of the findings in a row that it is for.
func (r Report) Table(w io.Writer) error {
	const row = "%-8s  %-15s  %-40s  %s\n"
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, row, "STATUS", "STEP", "SUBJECT", "FOUND")
	for i, f := range r.Findings {
		fmt.Fprintf(out, row, f.Status, f.Step, f.Subject, f.Detail)
		if f.Advice != "" && (i == len(r.Findings)-1 || r.Findings[i+1].Advice != f.Advice) {
			fmt.Fprintf(out, "          → %s\n", f.Advice)
		}
	}
	return out.Flush()
}
