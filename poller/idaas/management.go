package idaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

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
	Code, Message       string // of an error object
}

// Providers returns the enabled credential providers of the instance, each once, in order, and with a Problem those that cannot be
// watched. A list that may be incomplete is an error.
func (c *Client) Providers(ctx context.Context) ([]poller.Provider, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{"MaxResults": {"100"}} // of any status, as TotalCount may be
	enabled, listed, seen, total := map[string]poller.Provider{}, map[string]bool{}, map[string]bool{}, -1
	for number := 1; ; number++ {
		var page providerPage
		call := &call{operation: OpDiscovery, what: fmt.Sprintf("credential providers, page %d", number), retries: c.config.Retries}
		call.build = func(ctx context.Context) (*http.Request, error) {
			return c.manage(ctx, call, at, "ListCredentialProviders", query)
		}
		call.decode = func(body []byte) error {
			page = providerPage{}
			switch err := json.Unmarshal(body, &page); {
			case err != nil:
				return err
			case len(page.CredentialProviders) == 0 && page.Code != "":
				return fmt.Errorf("no list, but %s: %s", page.Code, page.Message)
			case page.CredentialProviders == nil && (page.TotalCount == nil || *page.TotalCount != 0):
				return errors.New("neither CredentialProviders nor a TotalCount of 0")
			case page.TotalCount != nil && total >= 0 && total != *page.TotalCount:
				return fmt.Errorf("TotalCount %d, but %d on the pages before", *page.TotalCount, total)
			}
			for _, p := range page.CredentialProviders {
				if p.CredentialProviderIdentifier == "" {
					return errors.New("a provider without a CredentialProviderIdentifier")
				}
			}
			return nil
		}
		if err := c.do(ctx, call, new(bytes.Buffer)); err != nil {
			return nil, err
		}
		for _, p := range page.CredentialProviders {
			id := p.CredentialProviderIdentifier
			if listed[id] = true; p.Status != "disabled" {
				found := poller.Provider{Identifier: id, Type: p.CredentialProviderType}
				if err := poller.CheckIdentifier(id); err != nil {
					found.Problem = err.Error()
				} else if p.Status != "enabled" {
					found.Problem = fmt.Sprintf("unknown Status %q; known: enabled, disabled", p.Status)
				} else if p.CredentialProviderType != "" && !slices.Contains(poller.ProviderTypes, p.CredentialProviderType) {
					found.Problem = fmt.Sprintf("unknown CredentialProviderType %q; known: %s",
						p.CredentialProviderType, strings.Join(poller.ProviderTypes, ", "))
				}
				enabled[id] = found
			}
		}
		if page.TotalCount != nil {
			total = *page.TotalCount
		}
		switch next := page.NextToken; {
		case next == "" && len(listed) < total:
			return nil, fail(poller.Malformed, "%s: it was the last, but of %d providers only %d came", call.what, total, len(listed))
		case next == "":
			return poller.Belief[poller.Provider]{Known: enabled}.Items(), nil
		case seen[next], number == maxEmpty:
			return nil, fail(poller.Loop, "%s: its NextToken was given before, or there is always one", call.what)
		}
		seen[page.NextToken] = true
		query.Set("NextToken", page.NextToken)
	}
}
