package timeline

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// gateway gets 4 tokens of 15 minutes each minute until stop, one of which is revoked each hour. They are removed after 3 hours.
func gateway(w *World, stop time.Duration) {
	for at := -2 * hour; at < stop; at += minute {
		var ids []string
		issue := func() {
			for range 4 {
				ids = append(ids, w.Issue("gateway:orders_jwt", at, 15*minute))
			}
			if at%hour == 0 {
				w.API.Revoke(ids[0])
			}
		}
		if at <= 0 {
			issue()
		} else {
			w.At(at, "", issue)
		}
		w.At(at+3*hour, "", func() {
			for _, id := range ids {
				w.API.Remove(id)
			}
		})
	}
	w.At(stop, "the gateway gets no more tokens", func() {})
}

var liveWalks = []Scenario{
	{
		Name: "live_walks",
		Story: "Walked live while tokens come and go and the clock of the API is 4 minutes behind, then ahead: " +
			"nothing but the clock is reported. Then there are no new tokens.",
		Lasts:   12 * hour,
		Environ: []string{"IDAAS_WALK=live", "IDAAS_PAGE_SIZE=10"},
		API:     func(c *simulator.Config) { c.Latency = 500 * time.Millisecond },
		Play: func(w *World) {
			gateway(w, 8*hour)
			w.Every(hour+30*time.Second, 2*hour, 9*hour+minute, func() { w.count("gateway", "orders_jwt") })
			w.Clock(2*hour, -4*minute, "the clock of the API is 4 minutes behind")
			w.Clock(4*hour, 4*minute, "the clock of the API is 4 minutes ahead")
			w.Clock(6*hour, 0, "the clock of the API is right")
		},
	},
	{
		Name: "live_walks_of_lies",
		Story: "Walked live by an API that ignores the filter for revoked tokens, and caps totals at 200: " +
			"the counts stay right, and the total is reported as wrong. Then there are no new tokens.",
		Lasts:   12 * hour,
		Environ: []string{"IDAAS_WALK=live", "IDAAS_PAGE_SIZE=10"},
		API: func(c *simulator.Config) {
			c.IgnoredFilters = []string{"revoked"}
			c.Total = func(total, _, _ int64) string { return strconv.FormatInt(min(total, 200), 10) }
		},
		Play: func(w *World) {
			gateway(w, 6*hour)
			w.Every(5*hour+30*time.Second, 2*hour, 9*hour+minute, func() { w.count("gateway", "orders_jwt") })
		},
	},
}

// scrape returns the metrics of the first exporter.
func (w *World) scrape() string {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) { return w.dial(ctx, address) }
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	response, err := client.Get("http://" + w.addresses[0] + "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// count notes how many tokens the exporter shows and how many the API has, and how often a live walk was repeated in full.
func (w *World) count(consumer, provider string) {
	found := regexp.MustCompile(
		`(?ms)^idaas_authentication_tokens\{\S* (\d+)$.*^idaas_poll_live_fallbacks_total (\d+)$`,
	).FindStringSubmatch(w.scrape())
	count := w.API.Count(consumer, provider, time.Now()).Total
	w.notes = append(w.notes, line{w.Now(), fmt.Sprintf("-- tokens: %s, by the API: %d; walked in full: %s", found[1], count, found[2])})
}
