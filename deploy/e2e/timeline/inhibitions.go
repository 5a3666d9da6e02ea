package timeline

import (
	"fmt"
	"os"
	"slices"
	"time"

	alertmanager "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// inhibitions is what an Alertmanager's configuration says of alerts that others hide.
type inhibitions struct {
	Route route
	Rules []alertmanager.InhibitRule `yaml:"inhibit_rules"`
}

// route is how an Alertmanager groups notifications.
type route struct {
	GroupBy   []model.LabelName `yaml:"group_by"`
	GroupWait model.Duration    `yaml:"group_wait"`
}

func readInhibitions(file string) (i inhibitions, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, &i)
	}
	return i, err
}

// hide says of each transition which alert hides it from the receivers when they would be told, and of each hidden alert when
// it is not hidden any more, which is when they are.
func (i inhibitions) hide(transitions []Transition, start time.Time) (shown []line) {
	type alert struct {
		*Transition
		ends time.Time
	}
	firing := map[string]int{}
	var alerts []alert
	for n := range transitions {
		t := &transitions[n]
		if key := t.labels.String(); t.Firing {
			firing[key] = len(alerts)
			alerts = append(alerts, alert{t, start.AddDate(10, 0, 0)})
		} else {
			alerts[firing[key]].ends = t.At
		}
	}
	hiddenBy := func(a alert, at time.Time) string {
		for _, rule := range i.Rules {
			if !labels.Matchers(rule.TargetMatchers).Matches(a.labels) || labels.Matchers(rule.SourceMatchers).Matches(a.labels) {
				continue
			}
			for _, by := range alerts {
				if !at.Before(by.At) && at.Before(by.ends) && labels.Matchers(rule.SourceMatchers).Matches(by.labels) &&
					!slices.ContainsFunc(rule.Equal, func(l string) bool {
						return a.labels[model.LabelName(l)] != by.labels[model.LabelName(l)]
					}) {
					return by.Alert
				}
			}
		}
		return ""
	}
	var ends []time.Time
	for _, a := range alerts {
		ends = append(ends, a.ends)
	}
	slices.SortFunc(ends, time.Time.Compare)
	for _, a := range alerts {
		told := a.At.Add(time.Duration(i.Route.GroupWait))
		if a.hiddenBy = hiddenBy(a, told); a.hiddenBy == "" {
			continue
		}
		for _, at := range ends {
			if at.After(told) && at.Before(a.ends) && hiddenBy(a, at) == "" {
				shown = append(shown, line{at.Sub(start), fmt.Sprintf("%-7s %-27s  %s  %s", "shown", a.Alert, a.Subject, a.Severity)})
				break
			}
		}
	}
	return shown
}
