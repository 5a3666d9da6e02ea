package timeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/rules"
)

// Transition is an alert that begins to fire or ends.
type Transition struct {
	At       time.Time
	Firing   bool
	Alert    string
	Subject  string // consumer/credential_provider, or the exporter's address, or the job
	Severity string
}

// told is everything that Prometheus told, as an Alertmanager would see it.
type told struct {
	mu          sync.Mutex
	firing      map[string]bool
	transitions []Transition
}

func (t *told) notify(_ context.Context, _ string, alerts ...*rules.Alert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range alerts {
		key, firing := a.Labels.String(), a.ResolvedAt.IsZero()
		if t.firing[key] == firing {
			continue
		}
		t.firing[key] = firing
		subject := a.Labels.Get("instance")
		if consumer := a.Labels.Get("consumer"); consumer != "" {
			subject = consumer + "/" + a.Labels.Get("credential_provider")
		} else if subject == "" {
			subject = a.Labels.Get("job")
		}
		t.transitions = append(t.transitions, Transition{time.Now(), firing, a.Labels.Get("alertname"), subject, a.Labels.Get("severity")})
	}
}

// line is one line of a timeline.
type line struct {
	at   time.Duration
	text string
}

// few is how many subjects of one alert are told one by one when they come in the same minute.
const few = 4

// lines tells the transitions, and many of one alert in one minute as one.
func lines(start time.Time, transitions []Transition) []line {
	type same struct {
		at              time.Duration
		firing          bool
		alert, severity string
	}
	subjects := map[same][]string{}
	var order []same
	for _, t := range transitions {
		key := same{t.At.Sub(start).Truncate(time.Minute), t.Firing, t.Alert, t.Severity}
		if subjects[key] == nil {
			order = append(order, key)
		}
		subjects[key] = append(subjects[key], t.Subject)
	}
	var out []line
	for _, key := range order {
		list := subjects[key]
		slices.Sort(list)
		if len(list) > few {
			list = []string{fmt.Sprintf("%d targets, %s to %s", len(list), list[0], list[len(list)-1])}
		}
		word := "ends"
		if key.firing {
			word = "firing"
		}
		for _, subject := range list {
			out = append(out, line{key.at, fmt.Sprintf("%-7s %-27s  %s  %s", word, key.alert, subject, key.severity)})
		}
	}
	return out
}

// clock is a time since the start, as 3d 08h 15m.
func clock(d time.Duration) string {
	m := int(d / time.Minute)
	return fmt.Sprintf("%2dd %02dh %02dm", m/1440, m/60%24, m%60)
}

// text is the timeline: what happened and what was told, in order.
func text(story string, all []line) string {
	slices.SortStableFunc(all, func(a, b line) int { return int(a.at/time.Minute - b.at/time.Minute) })
	var b strings.Builder
	for l := range strings.Lines(story) {
		fmt.Fprintf(&b, "# %s\n", strings.TrimSpace(l))
	}
	for _, l := range all {
		fmt.Fprintf(&b, "%s  %s\n", clock(l.at), l.text)
	}
	return b.String()
}
