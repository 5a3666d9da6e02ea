package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/robfig/cron/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxWindows bounds the series of one target.
const maxWindows = 32

// parseDuration reads Prometheus' syntax.
func parseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// parseSchedule refuses, beside what cron refuses, what makes cron panic, come due never or more often than written.
func parseSchedule(spec string) (cron.Schedule, error) {
	zone, rest := "", strings.TrimSpace(spec)
	if strings.HasPrefix(rest, "TZ=") || strings.HasPrefix(rest, "CRON_TZ=") {
		zone, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
	}
	if rest == "" {
		return nil, errors.New("no schedule")
	}
	if text, ok := strings.CutPrefix(rest, "@every "); ok {
		every, err := parseDuration(strings.TrimSpace(text))
		if err != nil {
			// What cron takes beyond Prometheus' syntax, such as 1.5h.
			every, err = time.ParseDuration(strings.TrimSpace(text))
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a duration", text)
		}
		if every < time.Second {
			return nil, errors.New("due more than once a second")
		}
		rest = "@every " + every.String()
	}
	schedule, err := cron.ParseStandard(strings.TrimSpace(zone + " " + rest))
	if err != nil {
		return nil, err
	}
	if schedule.Next(time.Unix(0, 0)).IsZero() {
		return nil, errors.New("never due")
	}
	return schedule, nil
}

// parseWindows reads a comma separated list; the error names everything wrong in it.
func parseWindows(text string) ([]poller.Window, error) {
	labels := splitList(text)
	switch {
	case len(labels) == 0:
		return nil, errors.New("no window")
	case len(labels) > maxWindows:
		return nil, fmt.Errorf("more than %d windows", maxWindows)
	}
	var windows []poller.Window
	var problems []string
	for _, label := range labels {
		var err error
		if windows, err = addWindow(windows, label); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if problems != nil {
		return nil, errors.New(strings.Join(problems, ", "))
	}
	return windows, nil
}

// addWindow returns windows with the one that label spells, or as they were.
func addWindow(windows []poller.Window, label string) ([]poller.Window, error) {
	d, err := parseDuration(label)
	if err != nil {
		return windows, err
	}
	if d == 0 {
		return windows, fmt.Errorf("%s is no time at all", label)
	}
	if i := slices.IndexFunc(windows, func(w poller.Window) bool { return w.Duration == d }); i >= 0 {
		return windows, fmt.Errorf("%s is as long as %s", label, windows[i].Label)
	}
	return append(windows, poller.Window{Label: label, Duration: d}), nil
}

// splitList returns the trimmed items of a comma separated list; empty ones, as after a trailing comma, are dropped.
func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func parseInstanceID(text string) (string, error) {
	if !isIdentifier(text) {
		return "", errors.New("not an instance id")
	}
	return text, nil
}

func parseEndpoint(text string, withPath bool) (string, error) {
	if strings.ContainsAny(text, "<>") {
		return "", errors.New("what stands between < and > is to be filled in")
	}
	return poller.ParseEndpoint(text, withPath)
}

func parseAddress(text string) (string, error) {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("not an address")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("not a port number from 0 to 65535")
	}
	return text, nil
}

// withoutUserinfo makes a URL, however malformed, fit to be shown.
func withoutUserinfo(text string) string {
	if i := strings.LastIndex(text, "@"); i >= 0 {
		return "…" + text[i:]
	}
	return text
}

// isIdentifier reports whether text is what an instance or a credential provider is called by; dots alone would be
// a step in a URL path.
func isIdentifier(text string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return strings.Trim(text, ".") != "" && len(text) <= 64 && strings.Trim(text, allowed) == ""
}

// readFile returns the bytes of the file at path if they are at most most.
func readFile(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("larger than %d MiB", most>>20)
	}
	return data, err
}
