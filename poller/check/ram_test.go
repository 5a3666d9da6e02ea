package check

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// newRAMWorld is a world of a client that authenticates with RAM credentials, which the process has.
func newRAMWorld(t *testing.T, user simulator.RAMUser, now func() time.Time) *world {
	t.Helper()
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-check")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted-ram-secret")
	w := newWorld(t, simulator.WithRAM(simulator.Config{Clients: []simulator.Client{{ID: testClient}}, Now: now}, user))
	w.secrets = append(w.secrets, "planted-ram-secret")
	c := &w.Config.Client
	c.Auth, c.TokenEndpoint, c.Management = auth.Identity{Method: "ram", ClientID: testClient, Scope: simulator.ReadScope}, "", w.http.URL
	return w
}

func TestRAM(t *testing.T) {
	user := simulator.RAMUser{AccessKeyID: "LTAI-check", AccessKeySecret: "planted-ram-secret"}
	for name, tt := range map[string]struct {
		user   func(u *simulator.RAMUser)
		change func(t *testing.T, w *world)
		behind time.Duration
		want   []string // of the rows of the table; after a → what its advice has
	}{
		"right": {nil, nil, 0, []string{
			"ok  discovery  management API", "ok  access token  ram  expires in 20m0s",
			"ok  access token  RAM credentials  access key LTA…ck, ALIBABA_CLOUD_ACCESS_KEY_ID and", "ok  target  billing at github_oauth",
		}},
		"another key": {
			func(u *simulator.RAMUser) { u.AccessKeyID = "other" }, nil, 0,
			[]string{
				"failed  access token  ram  access token: 404 Not Found: InvalidAccessKeyId.NotFound",
				"RAM credentials  access key LTA…ck, ALIBABA_CLOUD", "→ that access key is disabled, deleted or mistyped",
			},
		},
		"another secret": {
			func(u *simulator.RAMUser) { u.AccessKeySecret = "other" }, nil, 0,
			[]string{
				"failed  access token  ram  access token: 400 Bad Request: SignatureDoesNotMatch",
				"→ the secret does not match its access key id",
			},
		},
		"a clock that is wrong": {nil, nil, time.Hour, []string{
			"failed  access token  ram  access token: 400 Bad Request: InvalidTimeStamp.Expired", "→ synchronize this machine's clock by NTP",
		}},
		"no policy": {
			func(u *simulator.RAMUser) { u.Actions = []string{} }, nil, 0,
			[]string{
				"failed  access token  ram  access token: 403 Forbidden: NoPermission",
				"→ in the RAM console, attach to this RAM user or role a policy that allows eiam:GenerateOauthToken",
			},
		},
		"another application": {
			nil, func(_ *testing.T, w *world) { w.Config.Client.Auth.ClientID = "app_other" }, 0,
			[]string{"failed  access token  ram  access token: 404 Not Found: EntityNotFound.Application", "→ check IDAAS_CLIENT_ID"},
		},
		"no credentials": {
			nil, func(t *testing.T, _ *world) {
				t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
				t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")
				t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
				t.Setenv("HOME", t.TempDir())
			},
			0,
			[]string{
				"failed  access token  ram  access token: no RAM credentials: no access key in the environment",
				"→ correct that source, or give this process RAM credentials",
			},
		},
		"a broken profile": {
			nil, func(t *testing.T, _ *world) {
				t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
				t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")
				t.Setenv("ALIBABA_CLOUD_CONFIG_FILE", "/nowhere/config.json")
			},
			0,
			[]string{
				"failed  access token  ram  access token: no RAM credentials: open /nowhere/config.json: no such file",
				"→ correct that source, or give",
			},
		},
		"no management API": {
			nil, func(_ *testing.T, w *world) { w.Config.Client.Management = "" }, 0,
			[]string{"ok  discovery  management API  unknown", "→ set IDAAS_MANAGEMENT_ENDPOINT to the management API (EIAM)"},
		},
		"nothing there": {
			nil, func(t *testing.T, w *world) { w.Config.Client.Management = closed(t) }, 0,
			[]string{"→ nothing listens there: check IDAAS_TOKEN_ENDPOINT (if unset, IDAAS_DOMAIN) or, for ram, IDAAS_MANAGEMENT_ENDPOINT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := user
			if tt.user != nil {
				tt.user(&u)
			}
			w := newRAMWorld(t, u, func() time.Time { return time.Now().Add(tt.behind) })
			if tt.change != nil {
				tt.change(t, w)
			}
			w.wantRows(t, tt.want)
		})
	}
}

// wantRows checks the rows of the table, without regard to blanks.
func (w *world) wantRows(t *testing.T, want []string) {
	t.Helper()
	text := table(t, w.run(t))
	squeezed := strings.Join(strings.Fields(text), " ")
	for _, row := range want {
		if !strings.Contains(squeezed, strings.Join(strings.Fields(row), " ")) {
			t.Errorf("no %q in\n%s", row, text)
		}
	}
}

// watch has a consumer at all providers beside the targets given, and entries that select nothing.
type watch struct {
	given        []poller.Target
	idle         []string
	err          error
	applications bool // are needed: each one but the first is unwatched
}

func (w watch) Needs(list poller.List) bool { return list == poller.Providers || w.applications }

func (w watch) Resolve(lists *poller.Lists) (poller.Resolved, error) {
	found := poller.Resolved{Targets: slices.Clone(w.given)}
	for _, p := range lists.Providers.Items() {
		found.Targets = append(found.Targets, poller.Target{Consumer: "app_all", Provider: p.Identifier, Label: "all", Found: true})
	}
	for i, a := range lists.Applications.Items() {
		if i == 0 {
			found.Unwatched = []poller.Unwatched{}
			found.Hidden = []poller.Target{{Consumer: "app_hidden", Provider: "p", Label: "twin"}}
			continue
		}
		found.Unwatched = append(found.Unwatched, poller.Unwatched{Label: a.Name, Listed: a})
	}
	return found, w.err
}

func (w watch) Idle(list poller.List, _ []poller.Listed) []string {
	if list != poller.Providers {
		return nil
	}
	return w.idle
}

// Targets at found providers are checked with each method. A failure does not prevent other checks.
func TestProviders(t *testing.T) {
	w := newRAMWorld(t, simulator.RAMUser{AccessKeyID: "LTAI-check", AccessKeySecret: "planted-ram-secret"}, nil)
	w.SetProvider(simulator.Provider{Identifier: "new_jwt"})
	given := w.Config.Targets
	w.Config.Watch = watch{given: given}
	w.wantRows(t, []string{
		"ok  providers  all  enabled: 3", "ok  discovery  targets  with those found: 5",
		"ok  target  all at new_jwt  totalCount 0", "@every 5m0s  targets: 5, about 5 in",
	})
	remove := w.Inject(simulator.Fault{
		Operation: simulator.Providers, Kind: simulator.Status, Status: http.StatusForbidden,
		Code: "NoPermission", Shape: simulator.ShapeGateway,
	})
	w.wantRows(t, []string{
		"failed  providers  all  credential providers, page 1: 403 Forbidden: NoPermission",
		"→ in the RAM console, attach", "ok  target  billing at github_oauth",
	})
	remove()
	w.Inject(simulator.Fault{
		Operation: simulator.Access, Kind: simulator.Status, Status: http.StatusBadRequest,
		Code: "EntityNotFound.Application",
	})
	w.wantRows(t, []string{"ok  providers  all", "failed  access token  ram", "→ check IDAAS_CLIENT_ID"})
}

// Providers that are not watched are a warning with their names; too many targets are a failure.
func TestProvidersThatAreNotWatched(t *testing.T) {
	listed := func(id, status string) string {
		return `{"CredentialProviderIdentifier":"` + id + `","CredentialProviderType":"jwt","Status":"` + status + `"}`
	}
	for name, tt := range map[string]struct {
		list string
		idle []string
		err  error
		want []string
	}{
		"none": {"", []string{"targets.yaml:2"}, nil, []string{
			"warning  providers  all  enabled: 0", "→ create or enable one", "warning  providers  targets.yaml:2",
		}},
		"none enabled": {listed("a", "disabled"), nil, nil, []string{"warning  providers  all  enabled: 0"}},
		"none matches": {listed("a", "enabled"), []string{"targets.yaml:2", "targets.yaml:7"}, nil, []string{
			"ok  providers  all  enabled: 1", "warning  providers  targets.yaml:2  matches none of the enabled: 1",
			"warning  providers  targets.yaml:7", "→ correct its match, type or identity",
		}},
		"unknown status": {listed("a", "enabled") + "," + listed("b", "ENABLED"), nil, nil, []string{
			"ok  providers  all  enabled: 1", `warning  providers  b  unknown Status "ENABLED"; known: enabled, disabled`, "→ it is not watched",
		}},
		"no identifier": {listed("a", "enabled") + "," + listed(`b c\u001b`, "enabled"), nil, nil, []string{
			"ok  providers  all  enabled: 1", "warning  providers  b c  not an identifier of 1 to 64 letters",
		}},
		"too many": {listed("a", "enabled"), nil, errors.New("over 3 targets"), []string{"failed  discovery  targets  over 3", "→ set match"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRAMWorld(t, simulator.RAMUser{AccessKeyID: "LTAI-check", AccessKeySecret: "planted-ram-secret"}, nil)
			w.Config.Watch = watch{given: w.Config.Targets, idle: tt.idle, err: tt.err}
			w.Inject(simulator.Fault{
				Operation: simulator.Providers, Kind: simulator.Status, Status: http.StatusOK,
				Body: `{"CredentialProviders":[` + tt.list + "]}",
			})
			w.wantRows(t, tt.want)
		})
	}
}

// Applications are listed if they are needed. Those that no entry matches are a warning with ten names.
func TestApplications(t *testing.T) {
	user := simulator.RAMUser{AccessKeyID: "LTAI-check", AccessKeySecret: "planted-ram-secret"}
	for name, tt := range map[string]struct {
		applications int
		actions      []string
		want         []string
	}{
		"none": {0, nil, []string{"warning  applications  all  enabled: 0", "→ create or enable one"}},
		"all watched": {1, nil, []string{
			"ok  applications  all  enabled: 1",
			"warning  discovery  twin at p  not watched: another consumer", "ok  applications  unwatched  0",
		}},
		"some unwatched": {3, nil, []string{"warning  applications  unwatched  2: name-01, name-02", "→ add them to the targets file"}},
		"many unwatched": {30, nil, []string{"warning  applications  unwatched  29: name-01, name-02", "name-10 …"}},
		"refused": {
			3,
			[]string{"eiam:ListCredentialProviders", "eiam:GenerateOauthToken"},
			[]string{
				"failed  applications  all  applications, page 1: 403 Forbidden: NoPermission", "eiam:ListApplications (for consumers",
				"ok  target  billing",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			user := user
			user.Actions = tt.actions
			w := newRAMWorld(t, user, nil)
			w.Config.Watch = watch{given: w.Config.Targets, applications: true}
			for i := range tt.applications {
				w.SetApplication(simulator.Application{ID: fmt.Sprintf("app_%02d", i), Name: fmt.Sprintf("name-%02d", i)})
			}
			w.wantRows(t, tt.want)
		})
	}
}
