package config

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// ownKeys are the keys of an entry, or of a credential provider, that replace settings.
var ownKeys = []string{"expiring_within", "at_risk_before", "about_to_end_before", "lost_after"}

// own returns what puts the values of ownKeys into a target.
func (l *targetList) own(fields map[string]*yaml.Node) (sets []func(*poller.Target)) {
	if n := fields["expiring_within"]; n != nil {
		var labels []string
		for _, item := range l.list(n, "expiring_within") {
			labels = append(labels, l.text(item, "window"))
		}
		windows, err := parseWindows(strings.Join(labels, ","))
		if err != nil && labels != nil {
			l.fault(l.at(n), "", err.Error())
		}
		sets = append(sets, func(t *poller.Target) { t.Windows = windows })
	}
	for _, key := range ownKeys[1:] {
		n := fields[key]
		text := l.text(n, key)
		if text == "" {
			continue
		}
		var before poller.Before
		var after time.Duration
		var err error
		accepted := "a duration from 1s to 1y"
		if key == "lost_after" {
			if after, err = parseDuration(text); err == nil && (after < time.Second || after > 365*24*time.Hour) {
				err = errors.New("out of range")
			}
		} else {
			accepted = "'" + acceptsBefore + "'"
			before, err = parseBefore(text)
		}
		if err != nil {
			l.fault(l.at(n), text, key+": "+err.Error()+"; accepted: "+accepted)
		}
		sets = append(sets, func(t *poller.Target) {
			switch key {
			case "at_risk_before":
				t.Thresholds.AtRisk = before
			case "about_to_end_before":
				t.Thresholds.AboutToEnd = before
			default:
				t.Thresholds.LostAfter, t.Thresholds.LostAlone = after, true
			}
		})
	}
	return sets
}

const acceptsBefore = "20%,7d"

// parseBefore reads a part of a lifetime and the most that counts, such as "20%,7d".
func parseBefore(text string) (poller.Before, error) {
	part, most, _ := strings.Cut(text, ",")
	percent, isPercent := strings.CutSuffix(strings.TrimSpace(part), "%")
	number, err := strconv.ParseFloat(percent, 64)
	d, durationErr := parseDuration(strings.TrimSpace(most))
	if !isPercent || err != nil || !(number > 0 && number <= 100) || durationErr != nil || d <= 0 {
		return poller.Before{}, errors.New("not a percentage over 0 and a duration")
	}
	return poller.Before{Part: number / 100, Most: d}, nil
}

// target returns the target of p at a provider: what its entry sets, else what is set for the provider, else the settings.
func (w Watchlist) target(p pair, provider string) poller.Target {
	t := p.Target
	t.Provider, t.Windows, t.Thresholds = provider, w.defaults.Windows, w.defaults.Thresholds
	for _, set := range slices.Concat(w.providers[provider], p.own) {
		set(&t)
	}
	return t
}

// addProviders reads what is set for single providers, for all targets there.
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
