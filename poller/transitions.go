package poller

// change is a change of a target by a walk: it fails for a reason, or recovers from it. Without a reason nothing has changed.
type change struct {
	recovered bool
	reason    Reason
}

func changed(before, after *Reading) change {
	switch f, was := after.Failure, before.Failure; {
	case f != nil && (was == nil || was.Reason != f.Reason):
		return change{false, f.Reason}
	case f == nil && was != nil:
		return change{true, was.Reason}
	}
	return change{}
}

// logTransition logs the result of a walk, at debug level unless it is the first change of its kind.
func (p *Poller) logTransition(c change, after *Reading, first bool) {
	log := p.config.Log.With("consumer", after.Target.Label, "credential_provider", after.Target.Provider)
	failed, recovered := log.Debug, log.Debug
	if first {
		failed, recovered = log.Warn, log.Info
	}
	switch f := after.Failure; {
	case c.recovered:
		recovered("target recovered", "after", c.reason)
	case c.reason != "":
		failed("target failed", "reason", f.Reason, "error", f.Text)
	case f != nil:
		log.Debug("target failed again", "reason", f.Reason, "error", f.Text)
	default:
		log.Debug("target walked", "took", after.Census.Took, "pages", after.Census.Pages)
	}
}

// logMore logs how many targets had the same change after the first.
func (p *Poller) logMore(changes map[change]int) {
	for _, reason := range Reasons() {
		if n := changes[change{false, reason}]; n > 1 {
			p.config.Log.Warn("more targets failed", "reason", reason, "more", n-1)
		}
		if n := changes[change{true, reason}]; n > 1 {
			p.config.Log.Info("more targets recovered", "after", reason, "more", n-1)
		}
	}
}
