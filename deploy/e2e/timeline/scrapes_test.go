package timeline

import "time"

// deaf has the exporter not answer at addresses from one time on for a while.
func (w *World) deaf(from, lasts time.Duration) {
	w.At(from, "", func() { w.Hear(false) })
	w.At(from+lasts, "", func() { w.Hear(true) })
}

// troubled has tokens in every state that is an alert.
func troubled(w *World) {
	usual(w)
	w.Issue("at_risk:crm_oauth", -25*day, 30*day)
	w.Issue("about_to_end:crm_oauth", -30*day+20*hour, 30*day)
	w.Issue("lost:crm_oauth", -40*day, 30*day)
}

var scrapes = []Scenario{
	{
		Name: "scrapes_fail",
		Story: "One scrape fails; then every other for two hours; then all for an hour. " +
			"Nothing that is told ends meanwhile, nothing is told of tokens that are well.",
		Lasts: 7 * hour,
		Play: func(w *World) {
			troubled(w)
			w.At(hour, "one scrape fails", func() {})
			w.deaf(hour, minute)
			w.At(2*hour, "every other scrape fails", func() {})
			for at := 2 * hour; at < 4*hour; at += 2 * minute {
				w.deaf(at, minute)
			}
			w.At(4*hour, "every scrape succeeds", func() {})
			w.At(5*hour, "no scrape succeeds", func() {})
			w.deaf(5*hour, hour)
			w.At(6*hour, "every scrape succeeds", func() {})
		},
	},
	{
		Name: "rare_scrapes",
		Story: "Scraped every 10 minutes, which is longer than Prometheus looks back: " +
			"token alerts come all the same, and it is told that scrapes are rare.",
		Lasts: 4 * hour, Scrape: 10 * minute,
		Play: troubled,
	},
	{
		Name:  "prometheus_restarts",
		Story: "Prometheus is gone for 2 minutes, and for an hour.",
		Lasts: 4 * hour,
		Play: func(w *World) {
			troubled(w)
			w.RestartPrometheus(hour+10*time.Second, 2*minute)
			w.RestartPrometheus(2*hour+10*time.Second, hour)
		},
	},
}
