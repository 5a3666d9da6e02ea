package poller

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An outage has two log lines per reason: for the first target, and for the number of the others. So has its end.
func TestOutageHasFewLines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason func(target int) Reason
		hangs  bool
		want   string
	}{
		{"one reason", func(int) Reason { return Connection }, false, `
WARN target failed reason=connection
WARN more targets failed reason=connection more=99
INFO target recovered after=connection
INFO more targets recovered after=connection more=99`},
		{"two reasons", func(i int) Reason { return []Reason{Forbidden, Timeout}[i%2] }, false, `
WARN target failed reason=forbidden
WARN target failed reason=timeout
WARN more targets failed reason=forbidden more=49
WARN more targets failed reason=timeout more=49
INFO target recovered after=forbidden
INFO target recovered after=timeout
INFO more targets recovered after=forbidden more=49
INFO more targets recovered after=timeout more=49`},
		{"another target hangs", func(int) Reason { return Connection }, true, `
WARN target failed reason=connection
WARN more targets failed reason=connection more=99
INFO target recovered after=connection
INFO more targets recovered after=connection more=99`},
		{"one target", func(i int) Reason { return map[int]Reason{7: Malformed}[i] }, false, `
WARN target failed reason=malformed
INFO target recovered after=malformed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSource{}
				names := make([]string, 100)
				for i := range names {
					names[i] = fmt.Sprintf("consumer%03d", i)
					f.set(names[i], pages(1, time.Second))
				}
				p := newTestPoller(t, f, 2, append(names, "hanging")...)
				f.set("hanging", pages(1, time.Second))
				var log strings.Builder
				p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
				stop := run(p)
				time.Sleep(4 * time.Minute)
				synctest.Wait()
				log.Reset() // of the start
				if tt.hangs {
					f.set("hanging", hanging)
				}
				for i, name := range names {
					if r := tt.reason(i); r != "" {
						f.set(name, failing(&Error{r, errors.New("out of order")}))
					}
				}
				time.Sleep(15 * time.Minute)
				for _, name := range names {
					f.set(name, pages(1, time.Second))
				}
				time.Sleep(15 * time.Minute)
				stop()
				got := regexp.MustCompile(`(?m)^time=\S+ level=(\S+) msg="([^"]*)"(?: consumer=\S+ credential_provider=\S+)?( \S+?)(?: error=.*)?$`).
					ReplaceAllString(strings.TrimSpace(log.String()), "$1 $2$3")
				got = regexp.MustCompile(`(?m)^time=\S+ level=(\S+) msg="([^"]*)"`).ReplaceAllString(got, "$1 $2")
				// Sorted, since two walks end at the same time.
				lines := func(text string) []string { return slices.Sorted(strings.Lines(strings.TrimSpace(text) + "\n")) }
				if !slices.Equal(lines(got), lines(tt.want)) {
					t.Errorf("the log:\n%s\nwant:\n%s", got, tt.want)
				}
			})
		})
	}
}
