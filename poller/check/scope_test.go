package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// If the scope may be the cause, the advice is about the scope.
func TestAudienceFailures(t *testing.T) {
	advice := []string{"another audience", "set IDAAS_SCOPE='urn:cloud:idaas:pam|authentication_token:read'"}
	checkFindings(t, map[string]expected{
		"other audience, refused": {
			change: otherAudience(tokenFault(400, "invalid_audience")), step: stepAccess, advice: advice,
		},
		"other audience, no grant": {change: otherAudience(tokenFault(400, "access_denied")), step: stepAccess, advice: advice},
		"other audience, unknown":  {change: otherAudience(nil), step: stepAccess, detail: "invalid_scope", advice: advice},
		"other audience, wrong secret": {
			change: otherAudience(tokenFault(401, "invalid_client")), step: stepAccess,
			advice: []string{"IDAAS_CLIENT_SECRET"},
		},
		"other audience, then 403": {
			api: accountScopes, change: otherAudience(listFault(403, "x")), step: stepTarget, detail: "403",
			advice: advice,
		},
		"other audience, then 401": {
			api: accountScopes, change: otherAudience(listFault(401, "")), step: stepTarget, detail: "401",
			advice: advice,
		},
		"other audience, then 404": {
			api: accountScopes, change: otherAudience(listFault(404, "x")), step: stepTarget,
			advice: []string{"IDAAS_INSTANCE_ID"},
		},
		"other audience, ready token": {
			change: func(t *testing.T, w *world) {
				w.readyToken(t)
				otherAudience(nil)(t, w)
			},
			step: stepAccess, status: OK, detail: "scope unknown",
		},
	})
}

// A scope of another audience is a warning even if its access token is granted.
func TestScopeOfAnotherAudience(t *testing.T) {
	w := newWorld(t, accountScopes)
	otherAudience(nil)(t, w)
	r := w.run(t)
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Step == stepAccess }); r.Findings[i].Status != Warning ||
		!strings.Contains(r.Findings[i].Advice, "set IDAAS_SCOPE=") {
		t.Error(table(t, r))
	}
}

// accountScopes is an API at which the client has a scope of another audience, as in the vendor's examples.
var accountScopes = simulator.Config{Clients: []simulator.Client{{
	ID: testClient, Secret: testSecret,
	Scopes: []string{"urn:alibaba:cloud|.all"},
}}}

// otherAudience lets the client request that scope, and then changes the world.
func otherAudience(change func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.Config.Client.Auth.Scope = "urn:alibaba:cloud|.all"
		if change != nil {
			change(t, w)
		}
	}
}
