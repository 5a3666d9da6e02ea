package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

const (
	week     = 7 * 24 * time.Hour
	maxTimes = 20_000 // scheduled times that are looked at: a week has 10,080 minutes

	fewPolls    = 3  // within the lifetime of a token; with fewer, tokens that expire and pauses are noticed late
	enoughPolls = 10 // the same, as suggested

	adviceOften = "the requests take longer than scheduled: poll less often (IDAAS_POLL_SCHEDULE, or poll_schedule in the targets file), " +
		"or increase IDAAS_RATE_LIMIT up to the quota of the API, IDAAS_PAGE_SIZE (up to 100) or, if responses are slow, " +
		"IDAAS_POLL_CONCURRENCY"
)

// suggestions are intervals of a poll_schedule, the longest first.
var suggestions = []struct {
	interval time.Duration
	text     string
}{
	{time.Hour, "@hourly"},
	{15 * time.Minute, "@every 15m"},
	{5 * time.Minute, "@every 5m"},
	{time.Minute, "@every 1m"},
	{10 * time.Second, "@every 10s"},
	{time.Second, "@every 1s"},
}

// frequency describes the scheduled times of the next week, or the next interval if that is longer.
type frequency struct {
	hourly            float64 // on average
	shortest, longest time.Duration
}

func frequencyOf(s poller.Calendar, now time.Time) frequency {
	first := s.Next(now)
	f := frequency{shortest: math.MaxInt64}
	for n, last := 1, first; n <= maxTimes && last.Sub(first) < week; n++ {
		next := s.Next(last)
		f.shortest, f.longest = min(f.shortest, next.Sub(last)), max(f.longest, next.Sub(last))
		f.hourly = float64(n) / next.Sub(first).Hours()
		last = next
	}
	return f
}

// load has the requests of the targets of a schedule or of a provider.
type load struct {
	frequency
	targets, requests, longest int           // requests per cycle, also of the longest list
	hourly                     float64       // requests
	unsure                     bool          // there may be more requests
	lifetime                   time.Duration // the shortest of the newest tokens of its targets; 0: unknown
	short                      int           // targets with a lifetime of fewer than fewPolls intervals
}

func (l *load) add(pages int, exact bool, hourly float64) {
	l.targets++
	l.requests += pages
	l.longest = max(l.longest, pages)
	l.hourly += hourly
	l.unsure = l.unsure || !exact
}

func (l *load) about() string {
	if l.unsure {
		return "at least"
	}
	return "about"
}

// pagesOf estimates the pages of a target from a sample, which is zero if the target was not read.
func pagesOf(s idaas.Sample) (pages int, exact bool) {
	if s.Complete || s.Pages == 0 {
		return max(1, s.Pages), s.Complete
	}
	// A page may have fewer tokens than requested.
	pages = max(s.Pages+1, (int(s.Reported)*s.Pages+s.Tokens-1)/max(1, s.Tokens))
	return pages, s.Reported >= int64(s.Tokens)
}

// plan reports the requests of full walks by schedule and by provider, with the rate limit.
func (p *preflight) plan(now time.Time) {
	schedules, providers, all := map[poller.Schedule]*load{}, map[string]*load{}, &load{}
	var firsts time.Duration
	for _, t := range p.Targets {
		s := p.read[t.Key()]
		firsts += s.Took
		schedule := cmp.Or(t.Schedule, p.Schedule)
		if schedules[schedule] == nil {
			schedules[schedule] = &load{frequency: frequencyOf(schedule, now)}
		}
		provider := cmp.Or(providers[t.Provider], &load{frequency: frequency{shortest: math.MaxInt64}})
		providers[t.Provider] = provider
		f := schedules[schedule].frequency
		cycles := f.hourly
		if t.Found && s.Complete && s.Tokens == 0 {
			cycles = min(cycles, 1) // as the poller does
		}
		pages, exact := pagesOf(s)
		for _, l := range []*load{schedules[schedule], provider, all} {
			l.add(pages, exact, float64(pages)*cycles)
		}
		provider.shortest = min(provider.shortest, f.shortest)
		if s.Lifetime > 0 {
			provider.lifetime = min(s.Lifetime, cmp.Or(provider.lifetime, s.Lifetime))
			if s.Lifetime < fewPolls*f.longest {
				provider.short++
			}
		}
	}
	order := func(a, b poller.Schedule) int {
		return cmp.Or(cmp.Compare(schedules[a].shortest, schedules[b].shortest), cmp.Compare(a.Text, b.Text))
	}
	for _, schedule := range slices.SortedFunc(maps.Keys(schedules), order) {
		p.planSchedule(schedule.Text, schedules[schedule], firsts/time.Duration(len(p.read)))
	}
	advice, allowed := "", p.Client.RateLimit*time.Hour.Seconds()
	if all.hourly > allowed*1.001 {
		advice = adviceOften
	}
	p.found(stepRequests, "all", advice, "%s %s an hour, without those for access tokens; the limit of %g/s allows %s",
		all.about(), decimal(all.hourly), p.Client.RateLimit, decimal(allowed))
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		p.planProvider(name, providers[name])
	}
}

// planSchedule reports a cycle. took is the duration of a request.
func (p *preflight) planSchedule(text string, l *load, took time.Duration) {
	paced := time.Duration(float64(l.requests) / p.Client.RateLimit * float64(time.Second))
	cycle := max(paced, took*time.Duration(max(l.longest, l.requests/max(1, p.Concurrency))))
	advice := ""
	if cycle > l.shortest {
		advice = adviceOften
	}
	p.found(stepRequests, text, advice, "targets: %d, %s %d in %v, every %v, %s an hour", l.targets, l.about(), l.requests,
		cycle.Round(time.Millisecond), l.shortest, decimal(l.hourly))
}

// planProvider reports the requests of a provider, and suggests a schedule that fits the lifetime of its tokens.
func (p *preflight) planProvider(name string, l *load) {
	detail := fmt.Sprintf("targets: %d, %s %s an hour", l.targets, l.about(), decimal(l.hourly))
	if l.lifetime == 0 {
		p.found(stepRequests, name, "", "%s, lifetime of tokens unknown", detail)
		return
	}
	if days := l.lifetime.Hours() / 24; days < 2 {
		detail += fmt.Sprintf(", tokens live %v", l.lifetime.Round(time.Second))
	} else {
		detail += ", tokens live " + decimal(days) + "d"
	}
	better := suggestions[len(suggestions)-1]
	for _, s := range slices.Backward(suggestions) {
		if s.interval*enoughPolls <= l.lifetime {
			better = s
		}
	}
	change := float64(l.requests)*float64(time.Hour)/float64(better.interval) - l.hourly
	effect := "costs about " + decimal(change)
	if change < 0 {
		effect = "saves about " + decimal(-change)
	}
	suggestion := fmt.Sprintf("poll_schedule: '%s' for %s in the targets file %s requests an hour", better.text, name, effect)
	switch {
	case l.short > 0:
		p.found(stepRequests, name, suggestion, "%s: shorter than %d polls for %d of the targets", detail, fewPolls, l.short)
	case change < 0 && better.interval >= 2*l.shortest:
		p.found(stepRequests, name, "", "%s; %s", detail, suggestion)
	default:
		p.found(stepRequests, name, "", "%s", detail)
	}
}

// decimal is f with at most two decimal places.
func decimal(f float64) string { return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64) }
