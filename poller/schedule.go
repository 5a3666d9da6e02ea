package poller

import "time"

// Calendar returns scheduled times: Next the first after its argument. There is always one.
type Calendar interface {
	Next(time.Time) time.Time
}

// Schedule is a Calendar with its text as written, which identifies it.
type Schedule struct {
	Text string
	Calendar
}

// around returns the scheduled times before and after now, and the longer of the time between them and of the one before it.
func (s Schedule) around(now time.Time) (last, next time.Time, interval time.Duration) {
	next = s.Next(now)
	var before time.Time
	// A calendar only looks forward, so the search starts ever earlier.
	for back := 2 * s.Next(next).Sub(next); before.IsZero(); back *= 2 {
		last = time.Time{}
		for due := s.Next(now.Add(-back)); !due.After(now); due = s.Next(due) {
			before, last = last, due
		}
	}
	return last, next, max(next.Sub(last), last.Sub(before))
}

// Timing is where a schedule stands.
type Timing struct {
	Schedule   Schedule
	Last, Next time.Time     // scheduled times before and after now
	Interval   time.Duration // the longer of the time between them and of the one before it
	Targets    int           // with this schedule
	Cycles     int           // scheduled times that were reached while a target had this schedule
	Skipped    int           // targets that were still in progress at one of these
	Oldest     time.Time     // since when a target has been queued or walked; zero: none is
}

// timer has the targets of one schedule.
type timer struct {
	Timing
	entries []*entry
	jobs    []*job // the oldest first, the first has not ended
}

func (t *timer) set(now time.Time) { t.Last, t.Next, t.Interval = t.Schedule.around(now) }

// timing returns the Timing as it is now.
func (t *timer) timing() Timing {
	for len(t.jobs) > 0 && t.jobs[0].ended() {
		t.jobs = t.jobs[1:]
	}
	t.Targets, t.Oldest = len(t.entries), time.Time{}
	if len(t.jobs) > 0 {
		t.Oldest = t.jobs[0].since
	}
	return t.Timing
}
