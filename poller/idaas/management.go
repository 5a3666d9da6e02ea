package idaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// viaRAM is the method whose access tokens come from the management API, not from the token endpoint.
const viaRAM = "ram"

// manage builds a signed request to the management API.
func (c *Client) manage(ctx context.Context, call *call, at Instance, action string, query url.Values) (*http.Request, error) {
	if at.Management == "" {
		return nil, fail(poller.AccessToken, "%s: %s tells no region: set IDAAS_MANAGEMENT_ENDPOINT", call.what, at.Endpoint)
	}
	call.gate = c.management
	if err := call.gate.wait(ctx); err != nil {
		return nil, err
	}
	query.Set("InstanceId", at.ID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.Management+"/?"+query.Encode(), http.NoBody)
	var used ram.Credentials
	if err == nil {
		used, err = c.ram.get(ctx)
	}
	if err != nil {
		return nil, fail(poller.AccessToken, "%s: %w", call.what, err)
	}
	call.hide = hidden(used.Sign(req, action, "2021-12-01"))
	call.renew = func(ctx context.Context) bool {
		c.ram.drop(func(ram.Credentials) bool { return true })
		found, err := c.ram.get(ctx)
		return err == nil && found != used
	}
	return req, nil
}

// tokenByRAM builds the call GenerateOauthToken.
func (c *Client) tokenByRAM(ctx context.Context, call *call, at Instance) (*http.Request, error) {
	query := url.Values{"ApplicationId": {c.config.Auth.ClientID}}
	for i, item := range strings.Fields(c.config.Auth.Scope) {
		audience, value, ok := strings.Cut(item, "|")
		if !ok || i > 0 && query.Get("Audience") != audience {
			return nil, fail(poller.AccessToken, "access token: IDAAS_SCOPE is not a list of audience|permission of one audience")
		}
		query.Set("Audience", audience)
		query.Set(fmt.Sprintf("ScopeValues.%d", i+1), value)
	}
	return c.manage(ctx, call, at, "GenerateOauthToken", query)
}

// providerPage is an answer of ListCredentialProviders, as far as it is used.
type providerPage struct {
	CredentialProviders []struct{ CredentialProviderIdentifier, CredentialProviderType, Status string }
	NextToken           string
	TotalCount          *int
}

// Providers returns the enabled credential providers of the instance, each once, in order. A list that is not surely whole is
// an error: what it lacks would be dropped.
func (c *Client) Providers(ctx context.Context) ([]poller.Provider, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{"MaxResults": {"100"}} // of any status, as TotalCount may be
	types, listed, seen := map[string]string{}, map[string]bool{}, map[string]bool{}
	for number := 1; ; number++ {
		var page providerPage
		call := &call{operation: OpDiscovery, what: fmt.Sprintf("credential providers, page %d", number), retries: c.config.Retries}
		call.build = func(ctx context.Context) (*http.Request, error) {
			return c.manage(ctx, call, at, "ListCredentialProviders", query)
		}
		call.decode = func(body []byte) error {
			page = providerPage{}
			err := json.Unmarshal(body, &page)
			if err == nil && page.CredentialProviders == nil && (page.TotalCount == nil || *page.TotalCount != 0) {
				err = errors.New("neither CredentialProviders nor a TotalCount of 0")
			}
			for _, p := range page.CredentialProviders {
				if p.CredentialProviderIdentifier == "" {
					err = errors.New("a provider without a CredentialProviderIdentifier")
				}
			}
			return err
		}
		if err := c.do(ctx, call, new(bytes.Buffer)); err != nil {
			return nil, err
		}
		for _, p := range page.CredentialProviders {
			if listed[p.CredentialProviderIdentifier] = true; p.Status == "enabled" {
				types[p.CredentialProviderIdentifier] = p.CredentialProviderType
			}
		}
		switch next := page.NextToken; {
		case next == "" && page.TotalCount != nil && len(listed) < *page.TotalCount:
			return nil, fail(poller.Malformed, "%s: it was the last, but of %d providers only %d came", call.what, *page.TotalCount, len(listed))
		case next == "":
			var found []poller.Provider
			for _, identifier := range slices.Sorted(maps.Keys(types)) {
				found = append(found, poller.Provider{Identifier: identifier, Type: types[identifier]})
			}
			return found, nil
		case seen[next], number == maxEmpty:
			return nil, fail(poller.Loop, "%s: its NextToken was given before, or there is always one", call.what)
		}
		seen[page.NextToken] = true
		query.Set("NextToken", page.NextToken)
	}
}
