package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// ways tells what the instance does where the API's documents are silent.
func (p *preflight) ways() {
	var tokens, never, seconds, ended, differ, silent, withID, perPage int
	example, seen, size := "", map[string]int{}, p.Client.PageSize
	ends := map[string]int{}
	for _, r := range p.read {
		tokens += r.Tokens
		never += r.WithoutExpiration
		seconds += r.InSeconds
		size = min(size, r.Size)
		if r.RequestID {
			withID++
		}
		for _, name := range r.RateLimit {
			seen[name]++
		}
		if r.Reported < 0 {
			silent++
		}
		if !r.Complete {
			perPage = max(perPage, r.perPage())
			continue
		}
		ended++
		ends[r.End]++
		if r.Reported >= 0 && r.Reported != int64(r.Tokens) {
			differ++
			example = fmt.Sprintf("%s: %d reported, %d read", r.subject, r.Reported, r.Tokens)
		}
	}
	tell := func(status Status, subject, detail, advice string) { p.add(stepWays, status, subject, detail, advice) }

	tell(OK, "expirationTime", fmt.Sprintf("absent or 0 in %d of %s, in seconds in %d", never, count(tokens, "token"), seconds), "")

	const keepFull = "keep IDAAS_WALK=full: a live walk trusts totalCount"
	switch {
	case silent > 0:
		tell(Warning, "totalCount", fmt.Sprintf("absent for %d of %s", silent, count(len(p.read), "target")), keepFull)
	case differ > 0:
		tell(Warning, "totalCount", fmt.Sprintf("wrong for %d of %s read to the end, as %s", differ, count(ended, "list"), example),
			"check again, as tokens may have come or gone meanwhile; if it stays, "+keepFull)
	case ended > 0:
		tell(OK, "totalCount", "right for the "+count(ended, "list")+" read to the end", "")
	}
	if ended > 0 {
		tell(OK, "end of a list", "nextToken "+tally(ends), "")
	} else {
		tell(Skipped, "end of a list", "none within "+count(samplePages, "page")+": neither end nor totalCount judged", "")
	}

	switch {
	case size < p.Client.PageSize:
		tell(Warning, "page size", fmt.Sprintf("%d refused, fell back to %d", p.Client.PageSize, size),
			fmt.Sprintf("set IDAAS_PAGE_SIZE=%d, or find the limit in between", size))
	case perPage > 0 && perPage < size:
		tell(OK, "page size", fmt.Sprintf("%d accepted, but no more than %d tokens a page", size, perPage), "")
	default:
		tell(OK, "page size", fmt.Sprintf("%d accepted", size), "")
	}

	limits := "no rate-limit headers"
	if len(seen) > 0 {
		limits = tally(seen)
	}
	tell(OK, "headers", fmt.Sprintf("request id for %d of %s; %s", withID, count(len(p.read), "target"), limits), "")
}

func tally(seen map[string]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", what, seen[what]))
	}
	return strings.Join(parts, ", ")
}

// perPage is how many tokens a page of an unfinished list has.
func (r reading) perPage() int { return (r.Tokens + r.Pages - 1) / r.Pages }

// pages returns how many requests a full walk takes; it may be more unless sure.
func (r reading) pages() (n int, sure bool) {
	switch {
	case r.Complete:
		return r.Pages, true
	case r.Reported < 0 || r.Tokens == 0:
		return r.Pages + 1, false
	}
	per := int64(r.perPage())
	return max(r.Pages+1, int((r.Reported+per-1)/per)), true
}

// predict tells what full walks of all targets take, by the schedule and the rate limit.
func (p *preflight) predict() {
	requests, longest, about := len(p.Targets)-len(p.read), 1, "about "
	if requests > 0 {
		about = "at least "
	}
	for _, r := range p.read {
		n, sure := r.pages()
		requests += n
		longest = max(longest, n)
		if !sure {
			about = "at least "
		}
	}
	mean := p.listTime.Seconds() / float64(p.listed)
	paced := float64(requests) / p.Client.RateLimit
	answered := mean * max(float64(longest), float64(requests)/float64(max(1, p.Concurrency)))
	took := time.Duration(max(paced, answered) * float64(time.Second))
	cycles, interval := agenda(p.Schedule, time.Now())

	cycle := fmt.Sprintf("%s%s in %s, due every %s", about, count(requests, "request"), short(took), short(interval))
	switch {
	case interval == 0 || took <= interval:
		p.add(stepRequests, OK, "a cycle", cycle, "")
	case paced >= answered:
		p.add(stepRequests, Warning, "a cycle", cycle, "poll less often (IDAAS_POLL_SCHEDULE), or raise IDAAS_RATE_LIMIT as far as the "+
			"API's quota allows, or IDAAS_PAGE_SIZE up to 100; more shards would share this rate limit")
	default:
		p.add(stepRequests, Warning, "a cycle", cycle, "poll less often (IDAAS_POLL_SCHEDULE), raise IDAAS_POLL_CONCURRENCY, or split "+
			"the targets by IDAAS_SHARD_COUNT")
	}

	const day = 24 * time.Hour
	walks, renewals := cycles*requests, 0
	if p.life > 0 && !p.ready() {
		// Renewed at two thirds of its life, but not before it is needed.
		renewals = min(walks, int(day/max(time.Second, p.life*2/3)))
	}
	p.add(stepRequests, OK, "a day", fmt.Sprintf("%s%s, %d of them for access tokens; %.0f would fit the limit of %g/s",
		about, count(walks+renewals, "request"), renewals, p.Client.RateLimit*day.Seconds(), p.Client.RateLimit), "")
}

// agenda returns how often s comes due within a day of now, and the shortest time between.
func agenda(s poller.Schedule, now time.Time) (cycles int, shortest time.Duration) {
	const mostADay = 24 * 60 * 60
	for due := s.Next(now); !due.IsZero() && cycles < mostADay; cycles++ {
		next := s.Next(due)
		if gap := next.Sub(due); gap > 0 && (shortest == 0 || gap < shortest) {
			shortest = gap
		}
		if due.Sub(now) > 24*time.Hour {
			break
		}
		due = next
	}
	return cycles, shortest
}
