package check

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Each remedy has an existing reason, is not hidden by an earlier one, and has all placeholders replaced.
func TestRemedies(t *testing.T) {
	for i, r := range texts.Remedies {
		if r.Reason != "" && !slices.Contains(poller.Reasons(), r.Reason) {
			t.Errorf("no reason is %q", r.Reason)
		}
		reason := r.Reason
		if reason == "" {
			reason = poller.Loop // no remedy has it
		}
		p := preflight{method: given}
		got := p.advice(stepTarget, &poller.Error{Reason: reason, Err: errors.New(r.Text)})
		if first := strings.SplitN(r.Advice, "{", 2)[0]; r.Advice == "" || !strings.HasPrefix(got, first) || strings.ContainsAny(got, "{}") {
			t.Errorf("%d: for %s %q: %q", i, reason, r.Text, got)
		}
	}
	if last := texts.Remedies[len(texts.Remedies)-1]; last.Reason != "" || last.Text != "" {
		t.Errorf("the last is for %q %q only", last.Reason, last.Text)
	}
}
