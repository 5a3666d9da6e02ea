package idaas

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func identifiers(found []poller.Listed) []string {
	var names []string
	for _, p := range found {
		names = append(names, p.Type+" "+p.Identifier)
	}
	return names
}

// All pages are read, with any method of authentication. Disabled providers are omitted.
func TestProviders(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.WithRAM(simulator.Config{}, simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}))
		c := a.client(func(c *Config) { c.Management = "http://management.test" })
		if found, err := c.Providers(t.Context()); err != nil || len(found) != 0 {
			t.Errorf("none: %v %v", found, err)
		}
		var want []string
		for i := range 250 {
			p := simulator.Provider{Identifier: fmt.Sprintf("provider-%03d", i), Type: []string{"jwt", "oauth"}[i%2], Disabled: i%10 == 0}
			a.SetProvider(p)
			if !p.Disabled {
				want = append(want, p.Type+" "+p.Identifier)
			}
		}
		found, err := c.Providers(t.Context())
		if err != nil || !slices.Equal(identifiers(found), want) {
			t.Errorf("%v, %d found: %v", err, len(found), identifiers(found))
		}
		if n := a.Requests(simulator.Providers); n != 1+3 {
			t.Errorf("%d requests, want 1 and 3", n)
		}
		if n := a.Requests(simulator.Access); n != 0 {
			t.Errorf("%d token requests", n)
		}
	})
}

// A list that may be incomplete is an error.
func TestBadProviders(t *testing.T) {
	const entry = `{"CredentialProviderIdentifier":"a","CredentialProviderType":"jwt","Status":"enabled"}`
	withKeys(t, testKeyID, testKeySecret, "")
	for body, want := range map[string]poller.Reason{
		`{}`:                             poller.Malformed,
		`null`:                           poller.Malformed,
		`{"CredentialProviders":{}}`:     poller.Malformed,
		`{"credentialProviders":[]}`:     poller.Malformed,
		`{"CredentialProviders":[{}]}`:   poller.Malformed,
		`{"CredentialProviders":[null]}`: poller.Malformed,
		`{"Code":"X","Message":"y"}`:     poller.Malformed,
		`<html>`:                         poller.Malformed,
		`{"CredentialProviders":[],"TotalCount":1}`:                   poller.Malformed,
		`{"CredentialProviders":[],"TotalCount":0,"Code":"X"}`:        poller.Malformed,
		`{"Code":"X","Message":"y","TotalCount":0}`:                   poller.Malformed,
		`{"CredentialProviders":[` + entry + `],"TotalCount":2}`:      poller.Malformed,
		`{"CredentialProviders":[` + entry + `],"NextToken":"again"}`: poller.Loop,
		`{"CredentialProviders":[` + entry + `],"TotalCount":1}`:      "",
		`{"CredentialProviders":[` + entry + `,` + entry + `]}`:       "",
		`{"TotalCount":0}`: "",
		`{"CredentialProviders":null,"TotalCount":0,"NextToken":null}`:                   "",
		strings.Replace(`{"CredentialProviders":[`+entry+`]}`, "enabled", "disabled", 1): "",
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(simulator.Config{}))
			a.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Status, Status: 200, Body: body})
			found, err := a.client(byRAM).Providers(t.Context())
			if want == "" && err != nil || want != "" && (err == nil || poller.ReasonOf(err) != want) || want != "" && found != nil {
				t.Errorf("%s: %v, %v", body, found, err)
			}
			if n := a.Requests(simulator.Providers); n > 2 {
				t.Errorf("%s: %d requests", body, n)
			}
		})
	}
}

func TestProvidersRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		user   simulator.RAMUser
		reason poller.Reason
		text   string
	}{
		"key": {
			simulator.RAMUser{AccessKeyID: "another"},
			poller.AccessToken,
			"credential providers, page 1: 404 Not Found: InvalidAccessKeyId.NotFound: ",
		},
		"secret": {simulator.RAMUser{AccessKeyID: testKeyID}, poller.AccessToken, "SignatureDoesNotMatch"},
		"policy": {
			simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret, Actions: []string{}},
			poller.Forbidden,
			"Action: eiam:ListCredentialProviders",
		},
	} {
		t.Run(name, func(t *testing.T) {
			withKeys(t, testKeyID, testKeySecret, "")
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.WithRAM(simulator.Config{}, tt.user))
				_, err := a.client(byRAM).Providers(t.Context())
				if poller.ReasonOf(err) != tt.reason || !strings.Contains(fmt.Sprint(err), tt.text) {
					t.Errorf("%v: %v", poller.ReasonOf(err), err)
				}
			})
		})
	}
}

// A call ends with its context, also while the API hangs. A hanging request is retried.
func TestProvidersHang(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.WithRAM(simulator.Config{}, simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}))
		remove := a.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Hang})
		c := a.client(byRAM)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Providers(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		a.SetProvider(simulator.Provider{Identifier: "found"})
		go func() {
			time.Sleep(15 * time.Second)
			remove()
		}()
		if found, err := c.Providers(t.Context()); err != nil || len(found) != 1 {
			t.Errorf("%v %v", found, err)
		}
	})
}

// An endless list is an error.
func TestProvidersWithoutEnd(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		pages := 0
		a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			pages++
			fmt.Fprintf(w, `{"CredentialProviders":[],"NextToken":"%d"}`, pages)
		}))
		if _, err := a.client(byRAM).Providers(t.Context()); poller.ReasonOf(err) != poller.Loop || pages != maxEmpty {
			t.Errorf("%d pages: %v", pages, err)
		}
	})
}

// Pages are one list only if they have the same totalCount.
func TestPagesOfProvidersDisagree(t *testing.T) {
	const entry = `{"CredentialProviderIdentifier":"%c","CredentialProviderType":"jwt","Status":"enabled"}`
	withKeys(t, testKeyID, testKeySecret, "")
	for name, tt := range map[string]struct {
		totals []string // of the pages, each with two providers
		want   poller.Reason
	}{
		"right":                       {[]string{"4", "4"}, ""},
		"no total":                    {[]string{"", ""}, ""},
		"a total on one page":         {[]string{"", "4"}, ""},
		"a larger one on the first":   {[]string{"5", ""}, poller.Malformed},
		"a larger one on the last":    {[]string{"", "5"}, poller.Malformed},
		"fewer on the last":           {[]string{"5", "4"}, poller.Malformed},
		"more on the last":            {[]string{"4", "6"}, poller.Malformed},
		"none in the middle":          {[]string{"6", "0", "6"}, poller.Malformed},
		"more come than the total":    {[]string{"3", "3"}, ""},
		"the page's instead of all's": {[]string{"2", "2"}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{}
			pages := 0
			a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := 0
				_, _ = fmt.Sscan(r.URL.Query().Get("NextToken"), &n)
				total, next := tt.totals[n], ""
				if total != "" {
					total = `,"TotalCount":` + total
				}
				if n < len(tt.totals)-1 {
					next = fmt.Sprintf(`,"NextToken":"%d"`, n+1)
				}
				pages++
				fmt.Fprintf(w, `{"CredentialProviders":[`+entry+`,`+entry+`]%s%s}`, 'a'+2*n, 'b'+2*n, total, next)
			}))
			found, err := a.client(byRAM, retries(0)).Providers(t.Context())
			if tt.want == "" && (err != nil || len(found) != 2*len(tt.totals)) || tt.want != "" && (err == nil || poller.ReasonOf(err) != tt.want) {
				t.Errorf("%s: %v, %v", name, found, err)
			}
		})
	}
}

// A provider that cannot be watched has a Problem. A disabled one is omitted.
func TestProvidersWithAProblem(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	for _, tt := range []struct{ identifier, kind, status, problem string }{
		{"a", "jwt", "enabled", ""},
		{"a", "oauth", "enabled", ""},
		{"a", "", "enabled", ""},
		{"a", "saml", "enabled", `unknown CredentialProviderType "saml"; known: jwt, oauth`},
		{"a", "JWT", "enabled", `unknown CredentialProviderType "JWT"; known: jwt, oauth`},
		{"a", "saml", "disabled", "left out"},
		{"a", "jwt", "ENABLED", `unknown Status "ENABLED"; known: enabled, disabled`},
		{"a", "jwt", "", `unknown Status ""; known: enabled, disabled`},
		{"a b", "jwt", "enabled", "not an identifier of 1 to 64 letters, digits and . - _"},
		{"..", "jwt", "Enabled", "not an identifier of 1 to 64 letters, digits and . - _"},
		{strings.Repeat("a", 65), "jwt", "enabled", "not an identifier of 1 to 64 letters, digits and . - _"},
		{"a b", "jwt", "disabled", "left out"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(simulator.Config{}))
			entry := fmt.Sprintf(`{"CredentialProviderIdentifier":%q,"CredentialProviderType":%q,"Status":%q}`, tt.identifier, tt.kind, tt.status)
			body := `{"CredentialProviders":[` + entry + `],"TotalCount":1}`
			a.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Status, Status: 200, Body: body})
			var want []poller.Listed
			if tt.problem != "left out" {
				want = append(want, poller.Listed{Identifier: tt.identifier, Type: tt.kind, Problem: tt.problem})
			}
			if found, err := a.client(byRAM).Providers(t.Context()); err != nil || !slices.Equal(found, want) {
				t.Errorf("%q %q: %+v, %v", tt.identifier, tt.status, found, err)
			}
		})
	}
}
