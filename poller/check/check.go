// Package check sends the requests of the exporter to one IDaaS instance, and reports findings with advice.
package check

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

// Config of a Run.
type Config struct {
	Client  idaas.Config    // without its Events, and with one retry at most
	Targets []poller.Target // of this process
	// Watch reports which lists are needed, returns the targets with lists, and the places of entries that match nothing in a list. It
	// is nil if no list is needed.
	Watch interface {
		Needs(list poller.List) bool
		Resolve(lists *poller.Lists) (poller.Resolved, error)
		Idle(list poller.List, found []poller.Listed) []string
	}
	Schedule    poller.Schedule // of targets without their own
	Live        bool            // compare live walks with full ones
	Timeout     time.Duration   // of this comparison
	Progress    io.Writer       // gets a line every 10 s
	Concurrency int             // of the exporter; Run reads one target at a time
	Warnings    []string        // about suspicious settings
}

// Status is the result of a finding.
type Status string

// Every Status.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Finding is one row of the table. Its texts are one printable line each, without secrets and hidden consumer ids.
type Finding struct {
	Status  Status `json:"status"`
	Step    string `json:"step"`
	Subject string `json:"subject"` // for example a target; may be empty
	Detail  string `json:"detail"`
	Advice  string `json:"advice"` // what to do; empty if ok or skipped
}

// Report has the findings of a Run.
type Report struct {
	Findings []Finding `json:"findings"`
}

// The steps, in this order.
const (
	stepSettings     = "settings"
	stepDiscovery    = "discovery"
	stepAccess       = "access token"
	stepProviders    = "providers"
	stepApplications = "applications"
	stepTarget       = "target"
	stepClock        = "clock"
	stepBehaviour    = "API behaviour"
	stepRequests     = "requests"
	stepLive         = "live walk" // only if Live
)

// samplePages is the maximum number of pages that are read of a target.
const samplePages = 3

// preflight is one Run, in one goroutine.
type preflight struct {
	Config
	Report
	client *idaas.Client
	method string // of authentication, or given
	read   map[poller.Key]idaas.Sample
	small  []poller.Target // to be compared
	skew   *time.Duration  // nil: unknown
	progress
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

// Run checks everything. Steps that need a failed one are skipped.
func Run(ctx context.Context, c Config) Report {
	p := &preflight{Config: c, method: c.Client.Auth.Method, read: map[poller.Key]idaas.Sample{}}
	if c.Client.AccessToken.Given() {
		p.method = given
	}
	c.Client.Retries = min(c.Client.Retries, 1)
	c.Client.Events = events{preflight: p}
	p.client = idaas.New(c.Client)
	p.now("discovering the instance")
	defer p.report(c.Progress)()

	p.found(stepSettings, "", "", "targets: %d", len(c.Targets))
	for _, w := range c.Warnings {
		p.found(stepSettings, "", "correct it, unless it is intended", "%s", w)
	}
	located := p.locate(ctx)
	if located && p.Watch != nil {
		p.discover(ctx)
	}
	if located && p.authenticate(ctx) {
		p.readTargets(ctx)
	} else {
		p.add(Skipped, stepTarget, "", "not tried after the failure above", "")
	}
	p.clock()
	if len(p.read) > 0 {
		p.behaviour()
		p.plan(time.Now())
		if p.Live {
			p.compare(ctx)
		}
	} else {
		p.add(Skipped, stepBehaviour, "", "no target was read", "")
		p.add(Skipped, stepRequests, "", "no target was read", "")
	}
	return p.Report
}

// add adds a finding. In subject and detail, which may be from a server, it replaces characters that are not printable.
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

// found adds a finding: a warning if there is advice, else ok.
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
		advice = "the check was interrupted: run it again"
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
	p.found(stepDiscovery, "token endpoint", "", "%s", cmp.Or(at.TokenEndpoint, "not needed"))
	if p.method == viaRAM || p.Watch != nil {
		p.found(stepDiscovery, "management API", "", "%s", cmp.Or(at.Management, "unknown"))
	}
	return true
}

func (p *preflight) authenticate(ctx context.Context) bool {
	p.now("requesting an access token")
	defer p.credentials(p.method == viaRAM)
	expires, scope, err := p.client.Authenticate(ctx)
	if err != nil {
		p.fail(ctx, stepAccess, p.method, err)
		return false
	}
	life := "lifetime unknown"
	if !expires.IsZero() {
		life = "expires in " + time.Until(expires).Round(time.Second).String()
	}
	advice := ""
	if p.otherAudience() {
		advice = texts.Phrases["{audience}"]
	}
	p.found(stepAccess, p.method, advice, "%s, scope %s", life, cmp.Or(scope, "unknown"))
	return true
}

// credentials reports the RAM credentials if they were used.
func (p *preflight) credentials(used bool) {
	if c := p.client.RAM(); used && c.Source != "" {
		p.found(stepAccess, "RAM credentials", "", "access key %s, %s", c.Key(), c.Source)
	}
}

// readTargets reads samples of the targets. It stops after a failure that all targets would have.
func (p *preflight) readTargets(ctx context.Context) {
	for i, t := range p.Targets {
		subject := t.Label + " at " + t.Provider
		p.now("reading target %d of %d: %s", i+1, len(p.Targets), subject)
		s, err := p.client.Sample(ctx, t, samplePages)
		if err == nil {
			p.read[t.Key()] = s
			if s.Reported <= int64(maxPages*s.Size) {
				p.small = append(p.small, t)
			}
			reported, advice := "absent", ""
			if s.Reported >= 0 {
				reported = strconv.FormatInt(s.Reported, 10)
			}
			if s.Tokens == 0 && s.Complete && !t.Found {
				advice = "the API may return an empty list for an unknown consumer: unless no token was issued yet, check the id in " +
					"IDAAS_TARGETS or IDAAS_TARGETS_FILE"
			}
			p.found(stepTarget, subject, advice, "totalCount %s, tokens read %d, pages read %d, page size %d, first page in %v",
				reported, s.Tokens, s.Pages, s.Size, s.Took.Round(time.Millisecond))
			continue
		}
		p.fail(ctx, stepTarget, subject, err)
		shared := []poller.Reason{poller.Connection, poller.Timeout, poller.Unauthorized, poller.AccessToken}
		hopeless := ctx.Err() != nil || len(p.read) == 0 && s.Pages == 0 && slices.Contains(shared, poller.ReasonOf(err))
		if left := len(p.Targets) - i - 1; left > 0 && hopeless {
			p.add(Skipped, stepTarget, "", fmt.Sprintf("%d more targets not tried: they would fail in the same way", left), "")
			return
		}
	}
}

func (p *preflight) clock() {
	if p.skew == nil {
		p.add(Skipped, stepClock, "", "no response had a time", "")
		return
	}
	side := "behind"
	if *p.skew < 0 {
		side = "ahead of"
	}
	status, advice := OK, ""
	if p.skew.Abs() > time.Minute {
		status = Failed
		advice = "synchronize this machine's clock by NTP: else tokens expire at the wrong time here, and signed credentials are refused"
	}
	p.add(status, stepClock, "", fmt.Sprintf("%v %s the server's, ±1s", p.skew.Abs().Round(time.Second), side), advice)
}

// behaviour reports whether the API counts correctly and accepts the page size.
func (p *preflight) behaviour() {
	lists, correct, absent := 0, 0, 0
	size := p.Client.PageSize
	for _, s := range p.read {
		size = min(size, s.Size)
		if s.Reported < 0 {
			absent++
		}
		if s.Complete {
			lists++
			if s.Reported == int64(s.Tokens) {
				correct++
			}
		}
	}
	advice := ""
	if absent > 0 || correct < lists {
		advice = "totalCount is unreliable, so idaas_poll_reported_tokens does not verify the counts; run this again if tokens were issued " +
			"or removed meanwhile"
	}
	p.found(stepBehaviour, "totalCount", advice, "absent for %d of %d targets, correct for %d of %d complete lists",
		absent, len(p.read), correct, lists)
	if size < p.Client.PageSize {
		advice := fmt.Sprintf("set IDAAS_PAGE_SIZE=%d, or find the limit in between", size)
		p.found(stepBehaviour, "page size", advice, "%d refused, %d accepted", p.Client.PageSize, size)
	} else {
		p.found(stepBehaviour, "page size", "", "%d accepted", size)
	}
}

// Failed reports whether a step failed.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Status == Failed })
}

// JSON writes the report as JSON: {"failed": …, "findings": […]}.
func (r Report) JSON(w io.Writer) error {
	return json.MarshalEncode(jsontext.NewEncoder(w, jsontext.WithIndent("  ")), struct {
		Failed bool `json:"failed"`
		Report
	}{r.Failed(), r})
}

// Table writes the report as a table. Equal advice of consecutive findings is written once, under the last of them.
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
