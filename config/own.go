package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// ownKeys are the keys of an entry, or of a credential provider, that replace settings.
var ownKeys = []string{"expiring_within", "at_risk_before", "about_to_end_before", "lost_after", "poll_schedule"}

// own returns a target with the values of the ownKeys.
func (l *targetList) own(fields map[string]*yaml.Node) (own poller.Target) {
	if n := fields["expiring_within"]; n != nil {
		var labels []string
		for _, item := range l.list(n, "expiring_within") {
			labels = append(labels, l.text(item, "window"))
		}
		var err error
		if own.Windows, err = parseWindows(strings.Join(labels, ",")); err != nil && labels != nil {
			l.fault(l.at(n), "", err.Error())
		}
	}
	t := &own.Thresholds
	t.AtRisk = parsed(l, fields, "at_risk_before", "'20%,7d'", parseBefore)
	t.AboutToEnd = parsed(l, fields, "about_to_end_before", "'20%,7d'", parseBefore)
	t.LostAfter = parsed(l, fields, "lost_after", "a duration from 1s to 1y", func(text string) (time.Duration, error) {
		after, err := parseDuration(text)
		if err == nil && (after < time.Second || after > year) {
			err = errors.New("out of range")
		}
		return after, err
	})
	t.LostAlone = t.LostAfter > 0
	own.Schedule = parsed(l, fields, "poll_schedule", "'*/5 * * * *', '@hourly', '@every 90s'", l.schedule)
	return own
}

// parsed returns the value of a key; zero if it is absent or invalid.
func parsed[T any](l *targetList, fields map[string]*yaml.Node, key, accepted string, parse func(string) (T, error)) (value T) {
	n := fields[key]
	text := l.text(n, key)
	if text == "" {
		return value
	}
	value, err := parse(text)
	if err != nil {
		problem := key + ": " + err.Error()
		if key == "poll_schedule" && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
			problem += "; put it in quotes"
		}
		l.fault(l.at(n), text, problem+"; accepted: "+accepted)
	}
	return value
}

const maxSchedules = 50

// schedule returns the same schedule for the same text.
func (l *targetList) schedule(text string) (poller.Schedule, error) {
	s, ok := l.schedules[text]
	if ok {
		return s, nil
	}
	s, err := parseSchedule(text)
	if err == nil && len(l.schedules) == maxSchedules {
		err = fmt.Errorf("more than %d schedules", maxSchedules)
	}
	if err == nil {
		l.schedules[text] = s
	}
	return s, err
}

// unquoted matches a line with a value that begins with @ or *, as schedules do, but is not an alias.
var unquoted = regexp.MustCompile(`(^|[-:,?[{]|&\w+)\s*(@|\*\W)`)

// adviseQuotes returns the error of the YAML library for data with advice if such a value is the reason.
func adviseQuotes(err error, data []byte) error {
	line := 0
	_, unknown := fmt.Sscanf(fmt.Sprint(err), "yaml: line %d:", &line)
	if lines := bytes.Split(data, []byte("\n")); unknown == nil && line > 0 && line <= len(lines) && unquoted.Match(lines[line-1]) {
		return fmt.Errorf("%w; put it in quotes", err)
	}
	return err
}

// parseBefore parses a part of a lifetime and a maximum, such as "20%,7d".
func parseBefore(text string) (poller.Before, error) {
	part, most, _ := strings.Cut(text, ",")
	percent, isPercent := strings.CutSuffix(strings.TrimSpace(part), "%")
	number, err := strconv.ParseFloat(percent, 64)
	d, durationErr := parseDuration(strings.TrimSpace(most))
	if !isPercent || err != nil || !(number > 0 && number <= 100) || durationErr != nil || d <= 0 {
		return poller.Before{}, errors.New("not a percentage above 0 and a duration")
	}
	return poller.Before{Part: number / 100, Most: d}, nil
}

// target returns the target of p at a provider. The values of its entry precede those of the provider and the settings.
func (w Watchlist) target(p pair, provider string) poller.Target {
	t := w.defaults
	t.Provider = provider
	for _, own := range []poller.Target{w.providers[provider], p.own} {
		if own.Windows != nil {
			t.Windows = own.Windows
		}
		t.Schedule = cmp.Or(own.Schedule, t.Schedule)
		t.Thresholds = poller.Thresholds{
			AtRisk:     cmp.Or(own.Thresholds.AtRisk, t.Thresholds.AtRisk),
			AboutToEnd: cmp.Or(own.Thresholds.AboutToEnd, t.Thresholds.AboutToEnd),
			LostAfter:  cmp.Or(own.Thresholds.LostAfter, t.Thresholds.LostAfter),
			LostAlone:  own.Thresholds.LostAlone || t.Thresholds.LostAlone,
		}
	}
	return t
}

// addProviders adds the values of single providers.
func (l *targetList) addProviders(n *yaml.Node) {
	values := l.mapping(n, 0)
	for _, provider := range slices.Sorted(maps.Keys(values)) {
		value := values[provider]
		if err := poller.CheckIdentifier(provider); err != nil {
			l.fault(l.at(value), l.shown(provider), err.Error())
		}
		l.providers[provider] = l.own(l.mapping(value, 0, ownKeys...))
	}
}
