package config

import (
	"bytes"
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

// option sets a value of a target.
type option func(*poller.Target)

// ownKeys are the keys of an entry, or of a credential provider, that replace settings.
var ownKeys = []string{"expiring_within", "at_risk_before", "about_to_end_before", "lost_after", "poll_schedule"}

// options returns the options of the ownKeys.
func (l *targetList) options(fields map[string]*yaml.Node) (options []option) {
	if n := fields["expiring_within"]; n != nil {
		var labels []string
		for _, item := range l.list(n, "expiring_within") {
			labels = append(labels, l.text(item, "window"))
		}
		windows, err := parseWindows(strings.Join(labels, ","))
		if err != nil && labels != nil {
			l.fault(l.at(n), "", err.Error())
		}
		options = append(options, func(t *poller.Target) { t.Windows = windows })
	}
	for _, key := range ownKeys[1:] {
		n := fields[key]
		text := l.text(n, key)
		if text == "" {
			continue
		}
		accepted := "'20%,7d'"
		before, err := parseBefore(text)
		set := func(t *poller.Target) { t.Thresholds.AtRisk = before }
		switch key {
		case "about_to_end_before":
			set = func(t *poller.Target) { t.Thresholds.AboutToEnd = before }
		case "lost_after":
			var after time.Duration
			if after, err = parseDuration(text); err == nil && (after < time.Second || after > year) {
				err = errors.New("out of range")
			}
			accepted = "a duration from 1s to 1y"
			set = func(t *poller.Target) { t.Thresholds.LostAfter, t.Thresholds.LostAlone = after, true }
		case "poll_schedule":
			var schedule poller.Schedule
			if schedule, err = l.schedule(text); err != nil && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
				err = fmt.Errorf("%w; put it in quotes", err)
			}
			accepted = "'*/5 * * * *', '@hourly', '@every 90s'"
			set = func(t *poller.Target) { t.Schedule = schedule }
		}
		if err != nil {
			l.fault(l.at(n), text, key+": "+err.Error()+"; accepted: "+accepted)
		}
		options = append(options, set)
	}
	return options
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

// target returns the target of p at a provider. The options of its entry precede those of the provider and the settings.
func (w Watchlist) target(p pair, provider string) poller.Target {
	t := w.defaults
	t.Provider = provider
	for _, set := range slices.Concat(w.providers[provider], p.options) {
		set(&t)
	}
	return t
}

// addProviders adds the options of single providers.
func (l *targetList) addProviders(n *yaml.Node) {
	values := l.mapping(n, 0)
	for _, provider := range slices.Sorted(maps.Keys(values)) {
		value := values[provider]
		if err := poller.CheckIdentifier(provider); err != nil {
			l.fault(l.at(value), l.shown(provider), err.Error())
		}
		l.providers[provider] = l.options(l.mapping(value, 0, ownKeys...))
	}
}
