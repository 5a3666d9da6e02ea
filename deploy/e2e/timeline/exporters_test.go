package timeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

var exporters = []Scenario{
	{
		Name: "restarts",
		Story: "The exporter is restarted without a state file, while tokens are about to end and lost: no alert ends for it. " +
			"Then it is gone for three hours.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			usual(w)
			w.Issue("ending:crm_oauth", -9*day-10*hour, 10*day)
			w.Issue("lost:crm_oauth", -12*day, 10*day)
			p := w.Exporter("exporter:9877")
			for _, at := range []time.Duration{hour, 3 * hour, 8 * hour} {
				w.At(at+25*time.Second, "the exporter is restarted", func() { p.Restart() })
			}
			w.At(4*hour, "the exporter is gone", p.Stop)
			w.At(7*hour, "the exporter is back", func() { p.Start() })
		},
	},
	{
		Name:  "state_file",
		Story: "A token ends, and the exporter is gone for two hours: from its state file it knows since when there is none.",
		Lasts: 8 * hour,
		Play: func(w *World) {
			w.Issue("ending:crm_oauth", -10*day+hour, 10*day)
			p := w.Exporter("exporter:9877", "IDAAS_STATE_FILE="+filepath.Join(w.data, "state"))
			w.At(3*hour, "the exporter is gone", p.Stop)
			w.At(5*hour, "the exporter is back", func() { p.Start() })
		},
	},
	{
		Name:  "rolling_restart",
		Story: "An upgrade replaces pods one after the other, each under a new address, with a state file; and a second replica for a while.",
		Lasts: 5 * hour,
		Play: func(w *World) {
			usual(w)
			w.Issue("ending:crm_oauth", -9*day, 10*day-2*hour)
			state := "IDAAS_STATE_FILE=" + filepath.Join(w.data, "state")
			p := w.Exporter("10.0.0.1:9877", state)
			w.At(hour+25*time.Second, "the pod is replaced", func() {
				p.Stop()
				w.addresses = nil
				p = w.Exporter("10.0.0.2:9877", state)
			})
			var second *Process
			w.At(2*hour+25*time.Second, "a second replica starts", func() { second = w.Exporter("10.0.0.3:9877") })
			w.At(4*hour+25*time.Second, "the second replica is taken away", func() {
				second.Stop()
				w.addresses = w.addresses[:1]
				w.discover()
			})
		},
	},
	{
		Name: "shards",
		Story: "Three shards: one is taken away and forgotten, one does not answer, one gets a wrong secret. " +
			"That explains why its targets fail, but not why one of another shard does.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			for _, name := range many(9, "crm_oauth") {
				w.Issue(name, -10*day, 30*day)
			}
			var shards []*Process
			for _, index := range []string{"0", "1", "2"} {
				shards = append(shards, w.Exporter("shard-"+index+":9877", "IDAAS_SHARD_COUNT=3", "IDAAS_SHARD_INDEX="+index))
			}
			w.At(hour+10*time.Second, "shard 2 is gone, and Prometheus does not know it any more", func() {
				shards[2].Stop()
				w.addresses = w.addresses[:2]
				w.discover()
			})
			w.At(2*hour+10*time.Second, "shard 2 is back", func() {
				w.addresses = append(w.addresses, "shard-2:9877")
				shards[2].Start()
				w.discover()
			})
			w.At(3*hour+10*time.Second, "shard 1 does not answer", func() { shards[1].Stop() })
			w.At(4*hour+10*time.Second, "shard 1 answers again", func() { shards[1].Start() })
			good := shards[0].environ
			wrong := append(slices.Clone(good), "IDAAS_CLIENT_SECRET=wrong")
			w.At(5*hour+10*time.Second, "shard 0 is started with a wrong secret", func() { shards[0].Restart(wrong...) })
			forbidden := simulator.Fault{Operation: simulator.List, Consumer: "app_000", Kind: simulator.Status, Status: 403, Code: "forbidden"}
			w.Break(6*hour+10*time.Second, 2*hour, "the grant for app_000 is gone", forbidden)
			w.At(7*hour+10*time.Second, "shard 0 is started with the right one", func() { shards[0].Restart(good...) })
		},
	},
	{
		Name:  "targets_reloaded",
		Story: "A target is added to the file; then the file is broken for some hours; then mended with a target less.",
		Lasts: 6 * hour,
		Play: func(w *World) {
			file := filepath.Join(w.data, "targets.yaml")
			write := func(consumers ...string) {
				text := "targets:\n"
				for _, c := range consumers {
					text += "  - {consumer: " + c + ", credential_providers: [crm_oauth]}\n"
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					w.Fatal(err)
				}
			}
			w.Issue("billing:crm_oauth", -10*day, 30*day)
			w.Issue("new:crm_oauth", -9*day, 10*day)
			write("billing")
			w.Exporter("exporter:9877", "IDAAS_TARGETS_FILE="+file)
			w.At(hour, "new, which is at risk, is added to the targets", func() { write("billing", "new") })
			w.At(2*hour, "the targets file is broken", func() { write("billing", "new", strings.Repeat("[", 3)) })
			w.At(4*hour, "the targets file is mended, without new", func() { write("billing") })
		},
	},
}
