package poller

import "time"

// Calendar has scheduled times. Next returns the first after its argument; there is always one.
type Calendar interface {
	Next(time.Time) time.Time
}

// Schedule is a Calendar, identified by its text in the settings.
type Schedule struct {
	Text string
	Calendar
}

// around returns the scheduled times before and after now, and the interval: the longer one of the current and the previous.
func (s Schedule) around(now time.Time) (last, next time.Time, interval time.Duration) {
	next = s.Next(now)
	var before time.Time
	// A calendar searches forward only.
	for back := 2 * s.Next(next).Sub(next); before.IsZero(); back *= 2 {
		last = time.Time{}
		for due := s.Next(now.Add(-back)); !due.After(now); due = s.Next(due) {
			before, last = last, due
		}
	}
	return last, next, max(next.Sub(last), last.Sub(before))
}

// Timing is the current state of a schedule.
type Timing struct {
	Schedule   Schedule
	Last, Next time.Time     // scheduled times before and after now
	Interval   time.Duration // the longer one of the current and the previous
	Targets    int           // with this schedule
	Cycles     int           // scheduled times reached while a target had this schedule
	Skipped    int           // targets still in progress at one of these
	Oldest     time.Time     // scheduled time of the oldest walk in progress; zero: none
}

// timer has the targets of one schedule.
type timer struct {
	Timing
	entries []*entry
	jobs    []*job // oldest first; some have ended
}

func (t *timer) set(now time.Time) { t.Last, t.Next, t.Interval = t.Schedule.around(now) }

// timing returns the current Timing.
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
