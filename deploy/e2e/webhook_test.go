package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// webhook is where Alertmanager's notifications arrive, and keeps the score.
type webhook struct {
	t     *testing.T
	url   string
	began time.Time

	mu     sync.Mutex
	firing map[string]bool // by title; false: resolved
	faults []string        // of what arrived
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{t: t, began: time.Now(), firing: map[string]bool{}}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

type notified struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func (w *webhook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var message struct {
		Alerts []notified `json:"alerts"`
	}
	err := json.NewDecoder(r.Body).Decode(&message)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.faults = append(w.faults, err.Error())
	}
	for _, a := range message.Alerts {
		w.faults = append(w.faults, faults(a)...)
		name, now := path.Base(r.URL.Path)+" "+title(a.Labels), a.Status == "firing"
		if w.firing[name] == now {
			continue // a reminder, or the end of what was hidden while it lasted
		}
		w.firing[name] = now
		w.say(map[bool]string{true: "FIRED", false: "resolved"}[now], name)
	}
}

// say adds a line to the printed timeline.
func (w *webhook) say(what, text string) {
	fmt.Fprintf(w.t.Output(), "%6.1f s  %-8s  %s\n", time.Since(w.began).Seconds(), what, text)
}

// faults tells what is wrong with an alert, whichever it is.
func faults(a notified) (found []string) {
	for name, text := range a.Annotations {
		for _, bad := range []string{"{{", "}}", "<no value>", "<error", "NaN", "%!"} {
			if strings.Contains(text, bad) {
				found = append(found, fmt.Sprintf("%s: %s has %q: %s", title(a.Labels), name, bad, text))
			}
		}
	}
	if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
		found = append(found, title(a.Labels)+": no summary or no description")
	}
	if file, ok := ours(a.Annotations["runbook_url"]); !ok || !exists(file) {
		found = append(found, title(a.Labels)+": its runbook is not there: "+a.Annotations["runbook_url"])
	}
	return found
}

// title names an alert by all its labels; those that only say where it comes from are last.
func title(labels map[string]string) string {
	order := []string{"severity", "alertname", "consumer", "credential_provider"}
	text := fmt.Sprintf("%-8s %s", labels["severity"], labels["alertname"])
	if labels["consumer"] != "" {
		text += " " + labels["consumer"] + "@" + labels["credential_provider"]
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !slices.Contains(order, name) {
			text += fmt.Sprintf(" %s=%s", name, labels[name])
		}
	}
	return text
}

// now lists the alerts that were notified and have not been resolved.
func (w *webhook) now() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, firing := range w.firing {
		if firing {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// ever lists all alerts that were notified.
func (w *webhook) ever() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.firing))
}

// told waits until an alert was notified, whatever has become of it.
func (w *webhook) told(within time.Duration, name string) {
	w.t.Helper()
	eventually(w.t, within, name, func() error {
		if !slices.Contains(w.ever(), name) {
			return errors.New("nobody was told")
		}
		return nil
	})
}

// await waits until exactly these alerts are firing, as far as the receivers know.
func (w *webhook) await(within time.Duration, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	eventually(w.t, within, "alerts at the receivers", func() error {
		if have := w.now(); !slices.Equal(have, want) {
			return different(have, want)
		}
		return nil
	})
}

func different(have, want []string) error {
	side := func(list []string) string {
		return cmp.Or(strings.Join(list, "\n   "), "none")
	}
	missing, more := without(want, have), without(have, want)
	return fmt.Errorf("\nmissing:\n   %s\ntoo many:\n   %s", side(missing), side(more))
}

func without(list, others []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(others, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

// ours is the file that a link into this repository leads to.
func ours(link string) (file string, ok bool) {
	const prefix = "https://github.com/idaas-exporter/idaas-token-exporter/blob/main/"
	file, ok = strings.CutPrefix(link, prefix)
	file, _, _ = strings.Cut(file, "#")
	return filepath.Join(root, file), ok
}
