package idaas

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	testKeyID     = "LTAI-test"
	testKeySecret = "ram+s3cret/="
)

// withKeys sets RAM credentials in the environment.
func withKeys(t *testing.T, id, secret, token string) {
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)
	t.Setenv("ALIBABA_CLOUD_SECURITY_TOKEN", token)
}

func byRAM(c *Config) {
	c.Auth = auth.Identity{Method: "ram", ClientID: testClient, Scope: testScope}
	c.TokenEndpoint, c.Management = "", "http://management.test"
}

func TestRAM(t *testing.T) {
	user := simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}
	role := simulator.RAMUser{AccessKeyID: "STS.test", AccessKeySecret: testKeySecret, SecurityToken: "session-token+/="}
	old := role
	role.Expires, old.Expires = time.Date(2020, 1, 1, 1, 0, 0, 0, time.UTC), time.Date(2019, 12, 31, 0, 0, 0, 0, time.UTC)
	listsOnly := user
	listsOnly.Actions = []string{"eiam:ListCredentialProviders"}
	for _, tt := range []struct {
		name              string
		user              simulator.RAMUser
		id, secret, token string
		change            func(*Config)
		behind            time.Duration // of the local clock
		refused           string        // empty: accepted
	}{
		{name: "an access key", user: user, id: testKeyID, secret: testKeySecret},
		{name: "a role", user: role, id: "STS.test", secret: testKeySecret, token: role.SecurityToken},
		{
			name: "several permissions", user: user, id: testKeyID, secret: testKeySecret,
			change: func(c *Config) { c.Auth.Scope += " urn:cloud:idaas:pam|.all" },
		},
		{name: "a clock five minutes off", user: user, id: testKeyID, secret: testKeySecret, behind: 5 * time.Minute},
		{
			name: "a clock an hour off", user: user, id: testKeyID, secret: testKeySecret, behind: time.Hour,
			refused: "400 Bad Request: InvalidTimeStamp.Expired: ",
		},
		{name: "another key", user: user, id: "LTAI-other", secret: testKeySecret, refused: "404 Not Found: InvalidAccessKeyId.NotFound: "},
		{name: "another secret", user: user, id: testKeyID, secret: "other", refused: "400 Bad Request: SignatureDoesNotMatch: "},
		{
			name: "another session", user: role, id: "STS.test", secret: testKeySecret, token: "other",
			refused: "400 Bad Request: InvalidSecurityToken.MismatchWithAccessKey: ",
		},
		{
			name: "an old session", user: old, id: "STS.test", secret: testKeySecret, token: role.SecurityToken,
			refused: "400 Bad Request: InvalidSecurityToken.Expired: ",
		},
		{
			name: "another policy", user: listsOnly, id: testKeyID, secret: testKeySecret,
			refused: "403 Forbidden: NoPermission: You are not authorized to perform this operation. Action: eiam:GenerateOauthToken",
		},
		{
			name: "another application", user: user, id: testKeyID, secret: testKeySecret,
			change: func(c *Config) { c.Auth.ClientID = "app_other" }, refused: "404 Not Found: EntityNotFound.Application: ",
		},
		{
			name: "another instance", user: user, id: testKeyID, secret: testKeySecret, change: func(c *Config) { c.InstanceID = "idaas_other" },
			refused: "404 Not Found: EntityNotFound.Instance: ",
		},
		{
			name: "a scope that is none", user: user, id: testKeyID, secret: testKeySecret, change: func(c *Config) { c.Auth.Scope = "read" },
			refused: "IDAAS_SCOPE is not a list of",
		},
		{
			name: "two audiences", user: user, id: testKeyID, secret: testKeySecret, change: func(c *Config) { c.Auth.Scope += " other|read" },
			refused: "IDAAS_SCOPE is not a list of",
		},
		{
			name: "no management API", user: user, id: testKeyID, secret: testKeySecret, change: func(c *Config) { c.Management = "" },
			refused: "no region in http://api.test; set IDAAS_MANAGEMENT_ENDPOINT",
		},
		{name: "half a key", user: user, id: testKeyID, refused: "no RAM credentials: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withKeys(t, tt.id, tt.secret, tt.token)
			t.Setenv("HOME", t.TempDir())
			t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.WithRAM(simulator.Config{Now: func() time.Time { return time.Now().Add(tt.behind) }}, tt.user))
				options := []func(*Config){byRAM}
				if tt.change != nil {
					options = append(options, tt.change)
				}
				p := a.poller(a.client(options...), 1, a.fill(1, 4)...)
				p.Once(t.Context())
				r := p.Snapshot().Readings[0]
				if tt.refused == "" {
					a.checkCounts(t, r)
				} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.refused) {
					t.Errorf("%+v", r.Failure)
				}
				if n := a.Requests(simulator.Access); n > 1 || tt.refused == "" && n != 1 {
					t.Errorf("%d token requests", n)
				}
				for _, secret := range []string{tt.secret, tt.token} {
					if secret != "" && secret != "other" {
						if found := leaks(a.shown(p), forms(secret)); len(found) > 0 {
							t.Errorf("shown as %v:\n%s", found, a.shown(p))
						}
					}
				}
			})
		})
	}
}

// Refused credentials are found again, so no restart is necessary after a rotation. An access token is renewed early, by one request.
func TestRAMRotation(t *testing.T) {
	withKeys(t, testKeyID, "old", "")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.WithRAM(simulator.Config{AccessTokenLifetime: time.Minute}, simulator.RAMUser{
			AccessKeyID: testKeyID, AccessKeySecret: testKeySecret,
		}))
		targets := a.fill(1, 4)
		c := a.client(byRAM)
		if r := a.poll(t, c, targets...)[0]; r.Failure == nil {
			t.Fatal("the old secret is taken")
		}
		withKeys(t, testKeyID, testKeySecret, "")
		time.Sleep(time.Minute)
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		time.Sleep(45 * time.Second)
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		if n := a.Requests(simulator.Access); n != 3 {
			t.Errorf("%d token requests, want 3", n)
		}
	})
}

// Secrets in responses of the management API are not shown.
func TestRAMSecretsSentBack(t *testing.T) {
	const session = "session-token+/="
	withKeys(t, testKeyID, testKeySecret, session)
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.WithRAM(simulator.Config{}, simulator.RAMUser{
			AccessKeyID: testKeyID, AccessKeySecret: testKeySecret, SecurityToken: session,
		}))
		for _, secret := range []string{testKeySecret, session} {
			all := forms(secret)
			for _, status := range []int{200, 403} {
				for _, echo := range echoes {
					a.log.reset()
					remove := a.Inject(simulator.Fault{Kind: simulator.Status, Status: status, Body: strings.ReplaceAll(echo, "%s", all["json"])})
					c := a.client(byRAM, retries(0))
					p := a.poller(c, 1, target("someone", "provider"))
					p.Once(t.Context())
					_, err := c.Providers(t.Context())
					remove()
					if err == nil {
						t.Errorf("%d %s: no failure", status, echo)
					}
					if found := leaks(a.shown(p)+fmt.Sprint(err), all); len(found) > 0 {
						t.Errorf("status %d, %s: shown as %v:\n%s%v", status, echo, found, a.shown(p), err)
					}
				}
			}
		}
	})
}
