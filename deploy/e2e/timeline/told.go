package timeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

// Transition is an alert that begins to fire or ends.
type Transition struct {
	At       time.Time
	Firing   bool
	Alert    string
	Subject  string // consumer/credential_provider, or the exporter's address, or the job
	Severity string

	labels   model.LabelSet
	hiddenBy string // the alert because of which the receivers are not told
}

// told is everything that Prometheus told, as an Alertmanager sees it: what is not repeated in time has ended, too.
type told struct {
	mu          sync.Mutex
	firing      map[string]*promise
	transitions []Transition
}

type promise struct {
	until time.Time
	of    Transition
}

func (t *told) notify(_ context.Context, _ string, alerts ...*rules.Alert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(alerts, func(a, b *rules.Alert) int { return labels.Compare(a.Labels, b.Labels) }) // of a map, in no order
	for _, a := range alerts {
		key, known := a.Labels.String(), t.firing[a.Labels.String()]
		switch {
		case !a.ResolvedAt.IsZero() && known != nil:
			t.end(key)
		case a.ResolvedAt.IsZero() && known != nil:
			known.until = a.ValidUntil
		case a.ResolvedAt.IsZero():
			subject := cmp.Or(a.Labels.Get("instance"), a.Labels.Get("job"), "-")
			if consumer := a.Labels.Get("consumer"); consumer != "" {
				subject = consumer + "/" + a.Labels.Get("credential_provider")
			}
			of := Transition{
				At: time.Now(), Firing: true, Alert: a.Labels.Get("alertname"), Subject: subject, Severity: a.Labels.Get("severity"),
				labels: model.LabelSet{},
			}
			a.Labels.Range(func(l labels.Label) { of.labels[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
			t.firing[key] = &promise{a.ValidUntil, of}
			t.transitions = append(t.transitions, of)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.firing)) {
		if time.Now().After(t.firing[key].until) {
			t.end(key)
		}
	}
}

func (t *told) end(key string) {
	of := t.firing[key].of
	of.At, of.Firing = time.Now(), false
	t.transitions = append(t.transitions, of)
	delete(t.firing, key)
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
		at                        time.Duration
		firing                    bool
		alert, severity, hiddenBy string
	}
	subjects := map[same][]string{}
	var order []same
	for _, t := range transitions {
		key := same{t.At.Sub(start).Truncate(time.Minute), t.Firing, t.Alert, t.Severity, t.hiddenBy}
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
		hidden := ""
		if key.hiddenBy != "" {
			hidden = ", hidden by " + key.hiddenBy
		}
		for _, subject := range list {
			out = append(out, line{key.at, fmt.Sprintf("%-7s %-27s  %s  %s%s", word, key.alert, subject, key.severity, hidden)})
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
