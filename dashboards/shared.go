package main

import "slices"

// trouble are the states that need attention.
const trouble = "lost|about_to_end|overdue|not_renewed|at_risk"

// states of a target, the most urgent first.
var states = []struct{ name, text, color, means string }{
	{"lost", "lost", "red", "always has a token, and has none now"},
	{"about_to_end", "about to end", "light-red", "always has a token, and its last one expires very soon"},
	{"overdue", "overdue", "dark-orange", "has no token, for longer than usual"},
	{"not_renewed", "not renewed", "orange", "was not renewed at the usual time"},
	{"at_risk", "at risk", "yellow", "its last token expires soon, and its usual time of renewal is unknown"},
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

// byState adds to a panel the number of targets in each of these states that occurs, now or over time.
func (p *panel) byState(now bool, names ...string) *panel {
	for _, s := range states {
		if slices.Contains(names, s.name) {
			p.ask("time_series", now, query{count(facts("idaas_target_state", `state="`+s.name+`"`)), s.text}).paint(s.text, s.color)
			p.Description += " " + s.text + ": " + s.means + "."
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
	return stat("Missing data", "What the other numbers do not contain.", w, "locale", "nothing").
		named("shards gone", "parts of the targets that no process reads", "purple",
			"sum("+most(lastDay("idaas_shards"))+") - (count("+group(process("idaas_shard_index"))+") or vector(0)) > 0").
		named("hidden", "targets of these shards, which are in no other number", "purple",
			"sum(max by(job,shard_index)("+lastDay("idaas_shard_index")+" * on(job,instance) group_left last_over_time(idaas_poll_targets[1d])"+
				") unless on(job,shard_index) idaas_shard_index)").
		named("down", "exporter processes that do not answer Prometheus", "purple",
			"count("+process("up")+" == 0 and on(job,instance) "+lastDay("idaas_token_exporter_build_info")+")").
		named("unknown", "targets never read", "purple", count(facts("idaas_target_state", `state="unknown"`))).
		named("stale", "targets without a complete walk for two of their poll intervals and 10 minutes; time alone does not change their state",
			"purple", "count(min without(instance,pod,node)(time()-"+facts("idaas_poll_last_success_timestamp_seconds")+
				"-2*idaas_poll_target_interval_seconds)>600)").
		named("failing", "targets whose latest walk failed", "orange",
			"count(group without(instance,pod,node,host,reason)("+facts("idaas_poll_error")+"))").
		named("lists failing", "processes that cannot list credential providers or applications: new ones are not watched", "orange",
			`count({__name__=~"idaas_(provider|consumer)_discovery_success",`+ofJob+"} == 0)").
		named("unwatched", "applications that no entry of the targets file takes", "purple",
			"sum("+most(process("idaas_consumers_unwatched"))+") > 0").
		blind()
}
