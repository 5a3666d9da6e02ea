package main

import "slices"

// trouble are the states that need attention.
const trouble = "lost|about_to_end|overdue|not_renewed|at_risk"

// states of a target, the most urgent first.
var states = []struct{ name, text, color, means string }{
	{"lost", "lost", "red", "always has a token, and has none now"},
	{"about_to_end", "about to end", "red", "always has a token, and its last one expires very soon"},
	{"overdue", "overdue", "orange", "has no token, for longer than usual"},
	{"not_renewed", "not renewed", "orange", "was not renewed at the usual time"},
	{"at_risk", "at risk", "orange", "its last token expires soon, and its usual time of renewal is unknown"},
	{"unknown", "unknown", "purple", "was never read"},
	{"ok", "ok", "green", "has a token"},
	{"paused", "paused", "blue", "has no token, as usual at this time"},
	{"empty", "empty", "text", "never had a token"},
	{"retired", "retired", "text", "had no token for over 35 days"},
}

// stateMaps show a state as text.
func stateMaps() (list []object) {
	for _, s := range states {
		list = append(list, shown(s.name, s.text, s.color))
	}
	return list
}

// byState adds to a panel the number of targets in each of these states that occurs.
func (p *panel) byState(names ...string) *panel {
	for _, s := range states {
		if slices.Contains(names, s.name) {
			p.named(s.text, s.means, s.color, count(facts("idaas_target_state", `state="`+s.name+`"`)))
		}
	}
	return p
}

// named adds a value with its own name and color to a panel.
func (p *panel) named(name, means, color, expr string) *panel {
	p.Description += " " + name + ": " + means + "."
	return p.ask("time_series", true, query{expr, name}).paint(name, color)
}

// blind adds a value to a panel that otherwise shows that all is well when no exporter is scraped.
func (p *panel) blind() *panel {
	return p.ask("time_series", true, query{"absent(" + process("idaas_token_exporter_build_info") + ")", "no exporter"}).
		override("no exporter", property("color", object{"mode": "fixed", "fixedColor": "purple"}),
			property("mappings", []object{shown("1", "no data", "purple")}))
}

// missing shows what the other numbers do not contain.
func missing(w int) *panel {
	day := func(metric string) string { return "last_over_time(" + metric + "[1d])" }
	return stat("Missing data", "What the other numbers do not contain.", w, "locale", "nothing").
		named("shards gone", "parts of the targets that no process reads; their targets are in no number", "purple",
			"sum("+most(day(process("idaas_shards")))+") - (count("+group(process("idaas_shard_index"))+") or vector(0)) > 0").
		named("down", "exporter processes that do not answer Prometheus", "purple",
			"count("+process("up")+" == 0 and on(job,instance) "+day("idaas_token_exporter_build_info")+")").
		named("unknown", "targets never read", "purple", count(facts("idaas_target_state", `state="unknown"`))).
		named("stale", "targets without a complete walk for two poll intervals and 10 minutes; time alone does not change their state", "purple",
			"count(time() - "+facts("idaas_poll_last_success_timestamp_seconds")+" > on(job,instance) group_left 2 * "+
				"idaas_poll_interval_seconds + 600)").
		named("failing", "targets whose latest walk failed", "orange",
			"count(group without(instance,pod,node,host,reason)("+facts("idaas_poll_error")+"))").
		blind()
}
