package check

import (
	"context"
	"slices"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// providers lists them, and has the targets at those looked at too.
func (p *preflight) providers(ctx context.Context) {
	p.now("listing credential providers")
	found, err := p.client.Providers(ctx)
	p.credentials(p.method != viaRAM)
	if err != nil {
		p.fail(ctx, stepProviders, "all", err)
		return
	}
	enabled := slices.DeleteFunc(slices.Clone(found), func(f poller.Listed) bool { return f.Problem != "" })
	targets, err := p.Watch.Targets(enabled)
	if err != nil {
		p.add(Failed, stepProviders, "all", err.Error(), "set match in the targets file so that fewer targets are found")
		return
	}
	p.Targets = targets
	advice := ""
	if len(enabled) == 0 {
		advice = "create or enable a credential provider, or check IDAAS_INSTANCE_ID and IDAAS_MANAGEMENT_ENDPOINT: nothing is watched by " +
			"credential_providers: all"
	}
	p.found(stepProviders, "all", advice, "enabled: %d; targets with them: %d", len(enabled), len(p.Targets))
	for _, f := range found {
		if f.Problem != "" {
			p.found(stepProviders, f.Identifier, "it is not watched: change its identifier; report an unknown Status to this project", "%s", f.Problem)
		}
	}
	for _, at := range p.Watch.Idle(enabled) {
		p.found(stepProviders, at, "correct its match or type, unless a matching credential provider is yet to come",
			"matches none of the enabled: %d", len(enabled))
	}
}
