package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Consumers and credential providers of the demo company.
const (
	demoBilling  = "billing"
	demoCheckout = "checkout-api"
	demoImporter = "app_k4xw2c9t6jrg8fep3lm7s0"
	demoCI       = "ci-runner@example.com"
	demoReport   = "nightly-report"
	demoAgent    = "ai-support-agent"
	demoRefunds  = "app_v6c3nyt8hq2kr5dw9xfm4j" // an agent
	demoPlatform = "app_p7d3hxq5vw2ny6tka9zr4e" // gets the tokens of consumers that are not an application

	demoOrders    = "orders_jwt"
	demoWarehouse = "warehouse_jwt"
	demoGitHub    = "github_oauth"
	demoCRM       = "crm_oauth"

	demoDay = 24 * time.Hour
)

// Demo is a simulated company whose tokens change with time.
type Demo struct {
	Handler      *Server
	InstanceID   string
	ClientID     string
	ClientSecret string

	AccessKeyID, AccessKeySecret string // of the management API
	Found                        string // entries of targets that are found
	Targets                      []DemoTarget
}

// DemoTarget is one consumer at one credential provider of a Demo.
type DemoTarget struct {
	Consumer string
	Provider string
}

// NewDemo returns a Demo that starts at now() and uses now as its clock; nil: time.Now. It has no goroutine: tokens are computed for each
// request.
func NewDemo(now func() time.Time) *Demo {
	if now == nil {
		now = time.Now
	}
	d := &Demo{
		InstanceID:   "idaas_ue2jvisn35ea5lmthk267demo01",
		ClientID:     "app_tokenexporter5demo7m2m",
		ClientSecret: "CS3kV9xQ2mT7pLw8RzYb4Hn6",

		AccessKeyID: "LTAI5tDemoAccessKey", AccessKeySecret: "demo-access-key-secret",
		Found: "targets: [{consumers: {match: '-agent$', identity: agent}, credential_providers: [" + demoOrders + "]}]",

		Targets: []DemoTarget{
			{demoBilling, demoOrders},
			{demoBilling, demoCRM},
			{demoCheckout, demoOrders},
			{demoCheckout, demoWarehouse},
			{demoCI, demoGitHub},
			{demoCI, demoOrders},
			{demoReport, demoWarehouse},
			{demoReport, demoCRM},
			{demoAgent, demoCRM},
			{demoAgent, demoOrders},
			{demoImporter, demoWarehouse},
		},
	}
	d.Handler = New(WithRAM(Config{
		InstanceID: d.InstanceID,
		Clients:    []Client{{ID: d.ClientID, Secret: d.ClientSecret}},
		Latency:    25 * time.Millisecond,
		Now:        now,
	}, RAMUser{AccessKeyID: d.AccessKeyID, AccessKeySecret: d.AccessKeySecret}))
	start := now()
	for _, t := range d.Targets {
		d.Handler.Add(t.Consumer, t.Provider)
	}

	// Services with short JWTs that are replaced long before they expire.
	d.rotate(demoBilling, demoOrders, rotation{every: 5 * time.Minute, lifetime: 15 * time.Minute, kept: time.Hour})
	d.rotate(demoCheckout, demoOrders, rotation{every: 30 * time.Second, lifetime: 15 * time.Minute, kept: 45 * time.Minute})
	d.rotate(demoCheckout, demoWarehouse, rotation{every: 20 * time.Minute, lifetime: time.Hour, kept: 6 * time.Hour})
	// Every job revokes its token at its end.
	d.rotate(demoCI, demoOrders, rotation{
		every: 3 * time.Minute, lifetime: 15 * time.Minute, kept: 2 * time.Hour, revokedAfter: 8 * time.Minute,
	})
	// Some of the agent's tokens were leaked into a log and revoked immediately.
	d.rotate(demoAgent, demoOrders, rotation{every: 4 * time.Minute, lifetime: 15 * time.Minute, kept: time.Hour, revokeEach: 6})

	d.add(demoBilling, demoCRM,
		grant{created: start.Add(-130 * demoDay), expires: start.Add(-40 * demoDay)},
		grant{created: start.Add(-42 * demoDay), expires: start.Add(48 * demoDay)})
	// About to end: a token of three months that is not renewed.
	d.add(demoCI, demoGitHub,
		grant{created: start.Add(-178 * demoDay), expires: start.Add(-88 * demoDay), revoked: true},
		grant{created: start.Add(-90*demoDay + 6*time.Hour), expires: start.Add(6 * time.Hour)})
	// Lost: the job that renews the token each day did not run.
	for day := range 10 {
		expires := start.Add(-25*time.Minute - time.Duration(day)*demoDay)
		d.add(demoReport, demoWarehouse, grant{created: expires.Add(-demoDay), expires: expires})
	}
	// Paused: a job at midnight UTC.
	d.rotate(demoReport, demoCRM, rotation{every: demoDay, lifetime: 45 * time.Minute, kept: 35 * demoDay})
	d.add(demoAgent, demoCRM,
		grant{created: start.Add(-210 * demoDay)},
		grant{created: start.Add(-95 * demoDay)},
		grant{created: start.Add(-94 * demoDay), revoked: true})

	// A new agent is found two minutes after the start. Nobody watches the old synchronization.
	d.rotate(demoRefunds, demoOrders, rotation{every: 4 * time.Minute, lifetime: 15 * time.Minute, kept: time.Hour})
	for _, a := range []Application{
		{ID: d.ClientID, Name: "token-exporter", Created: start.Add(-300 * demoDay)},
		{ID: demoImporter, Name: "stock-importer", Created: start.Add(-200 * demoDay)},
		{ID: "app_m5u8rzq2kf6wd9hx4tbn7c", Name: "old-sync", Created: start.Add(-400 * demoDay)},
		{ID: demoRefunds, Name: "refund-agent", Identity: "agent", Created: start.Add(105 * time.Second)},
	} {
		d.Handler.SetApplication(a)
	}

	d.disturb(start)
	return d
}

// disturb makes one target fail in one minute of four, alternately broken and throttled, and soon after its first walk.
func (d *Demo) disturb(start time.Time) {
	in := func(from time.Duration) func(time.Time) bool {
		return func(now time.Time) bool { return (now.Sub(start)-from)/time.Minute%8 == 0 && now.Sub(start) >= from }
	}
	d.Handler.Inject(Fault{
		Consumer: demoReport, Provider: demoCRM, When: in(10 * time.Second),
		Kind: Status, Status: 503, Code: "service_unavailable",
	})
	d.Handler.Inject(Fault{
		Consumer: demoReport, Provider: demoCRM, When: in(4*time.Minute + 10*time.Second),
		Kind: Throttle, Code: "Throttling.Api", Shape: ShapeGateway, TimeLeftAPI: 500 * time.Millisecond,
	})
}

// rotation is a continuous series of JWTs.
type rotation struct {
	every, lifetime time.Duration
	kept            time.Duration // after their expiration, until they are removed
	revokedAfter    time.Duration // 0: never
	revokeEach      int64         // every n-th is revoked immediately; 0: none
}

func (d *Demo) rotate(consumer, provider string, r rotation) {
	derive := func(now time.Time) []*stored {
		newest := now.UnixNano() / int64(r.every)
		oldest := newest - int64((r.lifetime+r.kept)/r.every) + 1
		tokens := make([]*stored, 0, newest-oldest+1)
		for i := oldest; i <= newest; i++ {
			created := time.Unix(0, i*int64(r.every))
			t := demoToken(consumer, provider, i)
			t.Created, t.Updated, t.Expires = created, created, created.Add(r.lifetime)
			revokedAt := created.Add(r.revokedAfter)
			if r.revokedAfter > 0 && !revokedAt.After(now) || r.revokeEach > 0 && i%r.revokeEach == 0 {
				t.Revoked, t.Updated = true, revokedAt
			}
			tokens = append(tokens, &stored{firstStored + i, t})
		}
		return tokens
	}
	s := d.Handler
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(consumer, provider).derive = derive
}

// grant is one token that is not replaced. A zero expires is never.
type grant struct {
	created, expires time.Time
	revoked          bool
}

func (d *Demo) add(consumer, provider string, grants ...grant) {
	for _, g := range grants {
		t := demoToken(consumer, provider, g.created.Unix())
		t.Created, t.Updated, t.Expires, t.Revoked = g.created, g.created, g.expires, g.revoked
		d.Handler.Add(consumer, provider, t)
	}
}

// demoToken is a token without its times.
func demoToken(consumer, provider string, number int64) Token {
	t := Token{
		ID:           "atntkn_01k" + demoID(consumer, provider, fmt.Sprint(number)),
		ProviderID:   "atp_01k" + demoID(provider),
		Type:         "jwt",
		ConsumerType: "custom",
		CreatorType:  "application",
		CreatorID:    demoPlatform,
	}
	if provider == demoGitHub || provider == demoCRM {
		t.Type = "oauth_access_token"
	}
	if consumer == demoImporter || consumer == demoRefunds {
		t.ConsumerType = "application"
	}
	return t
}

func demoID(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])[:23]
}
